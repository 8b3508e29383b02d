"""Summaries and sessions opened for a figure over all of the lake: every file is read, whatever its day.

The views are those of connection.py, `sealed`, `summaries` and `sessions`, at one version.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import duckdb

from agentmon.contracts.tables import TABLES
from agentmon.lake.connection import Connection, connect, literal, no_lake, query
from agentmon.lake.files import is_local
from agentmon.lake.reading import reading
from agentmon.lake.snapshot import File, NotPlainError, newest_of_each_run, read_snapshot
from agentmon.lake.types import duckdb_type

_SEALED = ("summaries", "sessions")


@contextmanager
def open_figures(lake: str, *, ledger: bool = False) -> Iterator[Connection]:
    """With all of the `ledger` too only where asked. Raises NoLakeError where there is no lake yet."""
    pinned = _pin(lake)
    if pinned is None:
        with reading(lake, *_SEALED) as con:
            yield con
        return
    with connect(delta=False) as con:
        if ledger:
            _view(con, "ledger", "ledger", pinned["ledger"])
        # The whole ledger is a file a batch: what was sealed last is in a few of them.
        _view(con, "newest_seals", "ledger", newest_of_each_run(pinned["ledger"]))
        con.execute(query("sealed").format(ledger="newest_seals"))
        for table in _SEALED:
            _view(con, f"delta_{table}", table, pinned[table])
            con.execute(f"CREATE VIEW {table} AS {query('sealed_view').format(table=table)}")
        yield con


def _pin(lake: str) -> dict[str, list[File]] | None:
    """The tables' files; None where Delta's own reader is needed."""
    if not is_local(lake):
        return None
    try:
        # The ledger first: a batch writes it last, so whatever it has is in the tables pinned after it.
        ledger = read_snapshot(lake, "ledger")
        if ledger is None:
            raise no_lake(lake)
        return {"ledger": ledger, **{table: read_snapshot(lake, table) or [] for table in _SEALED}}
    except NotPlainError:
        return None


def _view(con: Connection, name: str, table: str, files: Sequence[File]) -> None:
    """A view over files of a table, with today's columns. Columns are only ever added: the oldest file has the fewest."""
    wanted = TABLES[table]
    if not files:
        columns = ", ".join(f'"{c.name}" {duckdb_type(c.type)}' for c in wanted.columns)
        con.execute(f"CREATE TEMP TABLE {name} ({columns})")
        return
    columns = ", ".join(f'"{c.name}"::{duckdb_type(c.type)} AS "{c.name}"' for c in wanted.columns)
    paths = ", ".join(literal(file.path) for file in sorted(files, key=lambda file: file.written_ms))
    read = f"read_parquet([{paths}], hive_partitioning = true, hive_types = {{'{wanted.partition}': DATE}}"
    try:
        con.execute(f"CREATE TEMP VIEW {name} AS SELECT {columns} FROM {read})")
    except duckdb.BinderException:
        # Some are older than a column, so the columns of each have to be looked at: that opens every file once more.
        nulls = ", ".join(f'NULL::{duckdb_type(c.type)} AS "{c.name}"' for c in wanted.columns)
        all_columns = f"(SELECT {nulls} WHERE false) UNION ALL BY NAME (FROM {read}, union_by_name = true))"
        con.execute(f"CREATE TEMP VIEW {name} AS SELECT {columns} FROM ({all_columns})")
