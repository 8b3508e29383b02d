"""Summaries and sessions opened for a figure over all of the lake: every file is read, whatever its day.

The views are those of connection.py, `sealed`, `summaries` and `sessions`, at one version, without the partition's
column. Two more are as narrow as the log allows: `nameless_sessions`, rows without a session_id among others, and
`rewarded_summaries`, which `narrow` makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import _duckdb as duckdb

from agentmon.contracts.tables import TABLES
from agentmon.lake.connection import Connection, connect, literal, no_lake, query
from agentmon.lake.files import is_local
from agentmon.lake.reading import reading
from agentmon.lake.snapshot import (
    File,
    NotPlainError,
    between,
    newest_of_each_run,
    read_snapshot,
    windows_since,
    with_nulls,
)
from agentmon.lake.types import duckdb_type

_SEALED = ("summaries", "sessions")
#: Rows of the summaries that are looked at for an agent's newest rewards: some 30 commits, a few closed days.
_LATELY = 10_000


@dataclass(frozen=True)
class Figures:
    """An open lake; `summaries` are the files of that table, None where Delta's own reader knows them.

    lately: when the newest windows begin, thousands of them.
    """

    con: Connection
    summaries: list[File] | None
    lately: datetime

    def narrow(self, spans: Sequence[tuple[datetime, datetime]]) -> None:
        """Make `rewarded_summaries`: all rows whose window lies within one of the spans, and others."""
        if self.summaries is None:
            self.con.execute("CREATE VIEW rewarded_summaries AS FROM summaries")
        else:
            _sealed_view(self.con, "rewarded_summaries", "summaries", between(self.summaries, spans))


@contextmanager
def open_figures(lake: str, *, ledger: bool = False) -> Iterator[Figures]:
    """With all of the `ledger` too only where asked. Raises NoLakeError where there is no lake yet."""
    if is_local(lake):
        with connect(delta=False) as con:
            pinned = _pin(con, lake)
            if pinned is not None:
                if ledger:
                    _view(con, "ledger", "ledger", pinned["ledger"])
                # The whole ledger is a file a batch: what was sealed last is in a few of them.
                _view(con, "newest_seals", "ledger", newest_of_each_run(pinned["ledger"]))
                con.execute(query("sealed").format(ledger="newest_seals"))
                for table in _SEALED:
                    _sealed_view(con, table, table, pinned[table])
                _sealed_view(con, "nameless_sessions", "sessions", with_nulls(pinned["sessions"], "session_id"))
                yield Figures(con, pinned["summaries"], windows_since(pinned["summaries"], _LATELY))
                return
    with reading(lake, *_SEALED) as con:
        con.execute("CREATE VIEW nameless_sessions AS FROM sessions")
        yield Figures(con, None, datetime.now(UTC) - timedelta(days=1))


def _pin(con: Connection, lake: str) -> dict[str, list[File]] | None:
    """The tables' files; None where Delta's own reader is needed."""
    try:
        # The ledger first: a batch writes it last, so whatever it has is in the tables pinned after it.
        ledger = read_snapshot(con, lake, "ledger")
        if ledger is None:
            raise no_lake(lake)
        return {"ledger": ledger, **{table: read_snapshot(con, lake, table) or [] for table in _SEALED}}
    except NotPlainError:
        return None


def _sealed_view(con: Connection, name: str, table: str, files: Sequence[File]) -> None:
    """A view over those rows of files of a table that belong to whole batches."""
    _view(con, name, table, files, query("sealed_view"))


def _view(con: Connection, name: str, table: str, files: Sequence[File], shown: str = "FROM {source}") -> None:
    """A view over files of a table, with today's columns. Columns are only ever added: the oldest file has the fewest."""
    # The partition's is in the names of the files: taking it from a thousand of them is 0.1 s of CPU.
    wanted = [column for column in TABLES[table].columns if column.name != TABLES[table].partition]
    if not files:
        columns = ", ".join(f'"{c.name}" {duckdb_type(c.type)}' for c in wanted)
        con.execute(f"CREATE TEMP TABLE {name} ({columns})")
        return
    columns = ", ".join(f'"{c.name}"::{duckdb_type(c.type)} AS "{c.name}"' for c in wanted)
    paths = ", ".join(literal(file.path) for file in sorted(files, key=lambda file: file.written_ms))
    read = f"read_parquet([{paths}], hive_partitioning = false"
    view = f"CREATE TEMP VIEW {name} AS {shown}"
    try:
        con.execute(view.replace("{source}", f"(SELECT {columns} FROM {read}))"))
    except duckdb.BinderException:
        # Some are older than a column, so the columns of each have to be looked at: that opens every file once more.
        nulls = ", ".join(f'NULL::{duckdb_type(c.type)} AS "{c.name}"' for c in wanted)
        all_columns = f"(SELECT {nulls} WHERE false) UNION ALL BY NAME (FROM {read}, union_by_name = true))"
        con.execute(view.replace("{source}", f"(SELECT {columns} FROM ({all_columns}))"))
