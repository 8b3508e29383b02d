"""Summaries and sessions opened for a figure over all of the lake, or over the windows of some time.

The views are `sealed` and `sessions` of connection.py, at one version and without the partition's column, and
`agent_summaries`: summaries, with `buckets`, which added up are each agent's histogram. Two more are as narrow as the log
allows: `nameless_sessions`, rows without a session_id among others; and `rewarded_summaries`, which `narrow` makes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import _duckdb as duckdb

from agentmon.contracts.tables import TABLES, Column
from agentmon.lake.connection import SEALED, Connection, connect, no_lake, query
from agentmon.lake.files import is_local
from agentmon.lake.reading import reading
from agentmon.lake.snapshot import (
    File,
    NotPlainError,
    between,
    has_nulls,
    is_sealed,
    newest_of_each_run,
    read_snapshot,
)
from agentmon.lake.types import duckdb_type

#: (since, until), both inclusive.
Span = tuple[datetime, datetime]
#: Of so many files each is opened once, and its rows are kept meanwhile; of fewer each figure reads what it needs.
_MANY_FILES = 100


class _Part(NamedTuple):
    """Files of a view, and how their rows are shown; by_name: they may lack columns, so each is asked for its own."""

    files: Sequence[File]
    shown: str = "FROM {source}"
    by_name: bool = False


@dataclass(frozen=True)
class SealedLake:
    """An open lake. `sealed`: the newest whole batch of each run of the job.

    `summaries` are the files of that table, None where Delta's own reader knows them.
    """

    con: Connection
    sealed: Mapping[str, int]
    summaries: list[File] | None

    @property
    def materialized(self) -> str:
        """How a query names the rows that it reads twice, for DuckDB: of very many files each is best opened once."""
        return "MATERIALIZED" if len(self.summaries or ()) >= _MANY_FILES else "NOT MATERIALIZED"

    def narrow(self, spans: Sequence[Span]) -> None:
        """Make `rewarded_summaries`: all rows whose window lies within one of the spans, and others."""
        if self.summaries is None:
            self.con.execute("CREATE VIEW rewarded_summaries AS FROM summaries")
        else:
            files = between(self.summaries, spans)
            _view(self.con, "rewarded_summaries", "summaries", _sealed_parts(files, self.sealed))


@contextmanager
def open_figures(
    lake: str, *, tables: Sequence[str] = SEALED, ledger: bool = False, within: Span | None = None
) -> Iterator[SealedLake]:
    """Of the two tables those that are asked for, and all of the `ledger` only where asked.

    within: of the summaries only rows whose window overlaps that time matter; files that have none are left out. Raises
    NoLakeError where there is no lake yet.
    """
    if is_local(lake):
        with connect(delta=False) as con:
            pinned = _pin(con, lake, tables)
            if pinned is not None:
                if ledger:
                    _view(con, "ledger", "ledger", [_Part(pinned["ledger"])])
                if within is not None:
                    pinned["summaries"] = between(pinned["summaries"], [within])
                yield _open_files(con, pinned)
                return
    with reading(lake, *tables) as con:
        if "sessions" in tables:
            con.execute("CREATE VIEW nameless_sessions AS FROM sessions")
        con.execute(f"CREATE VIEW agent_summaries AS {query('agent_summaries').format(source=_days(within))}")
        yield SealedLake(con, _sealed(con), None)


def _days(within: Span | None) -> str:
    """The summaries whose partitions can have windows of that time; a window is at most a day long."""
    if within is None:
        return "summaries"
    since, until = (moment.astimezone(UTC).date() for moment in within)
    return f"(FROM summaries WHERE event_date BETWEEN DATE '{since}' - 1 AND DATE '{until}')"


def _pin(con: Connection, lake: str, tables: Sequence[str]) -> dict[str, list[File]] | None:
    """The tables' files, and the ledger's; None where Delta's own reader is needed."""
    try:
        # The ledger first: a batch writes it last, so whatever it has is in the tables pinned after it.
        ledger = read_snapshot(con, lake, "ledger")
        if ledger is None:
            raise no_lake(lake)
        return {"ledger": ledger, **{table: read_snapshot(con, lake, table) or [] for table in tables}}
    except NotPlainError:
        return None


def _open_files(con: Connection, pinned: Mapping[str, list[File]]) -> SealedLake:
    if len(pinned["summaries"]) >= _MANY_FILES:
        # Each is read once: what it says of itself need not be kept.
        con.execute("SET parquet_metadata_cache = false")
    # The whole ledger is a file a batch: what was sealed last is in a few of them.
    _view(con, "newest_seals", "ledger", [_Part(newest_of_each_run(pinned["ledger"]))])
    con.execute(query("sealed").format(ledger="newest_seals"))
    sealed = _sealed(con)
    if "sessions" in pinned:
        _view(con, "sessions", "sessions", _sealed_parts(pinned["sessions"], sealed))
        nameless = [file for file in pinned["sessions"] if has_nulls(file, "session_id")]
        _view(con, "nameless_sessions", "sessions", _sealed_parts(nameless, sealed))
    older, newer = _parted(pinned["summaries"], lambda file: has_nulls(file, "agent_duration_count"))
    parts = [
        *_sealed_parts(newer, sealed, "SELECT *, agent_duration_buckets AS buckets FROM {source}"),
        *_sealed_parts(older, sealed, query("agent_summaries"), by_name=True),
    ]
    _view(con, "agent_summaries", "summaries", parts)
    return SealedLake(con, sealed, pinned["summaries"])


def _sealed(con: Connection) -> dict[str, int]:
    return dict(con.execute("SELECT query_id, batch_id FROM sealed").fetchall())


def _parted(files: Iterable[File], apart: Callable[[File], bool]) -> tuple[list[File], list[File]]:
    """Those that are set apart, and the others."""
    sides: tuple[list[File], list[File]] = [], []
    for file in files:
        sides[not apart(file)].append(file)
    return sides


def _sealed_parts(
    files: Iterable[File], sealed: Mapping[str, int], shown: str = "FROM {source}", *, by_name: bool = False
) -> list[_Part]:
    """Those rows of the files that belong to whole batches; they are asked for it only where the log can't tell."""
    whole, others = _parted(files, lambda file: is_sealed(file, sealed))
    asked = shown.replace("{source}", f"({query('sealed_view')})")
    return [_Part(whole, shown, by_name), _Part(others, asked, by_name)]


def _view(con: Connection, name: str, table: str, parts: Sequence[_Part]) -> None:
    """A view over files of a table, with today's columns. Columns are only ever added: the oldest file has the fewest."""
    # The partition's is in the names of the files: taking it from a thousand of them is 0.1 s of CPU.
    columns = [column for column in TABLES[table].columns if column.name != TABLES[table].partition]
    parts = [part for part in parts if part.files] or parts[:1]
    for by_name in (False, True):
        shown = (
            part.shown.replace("{source}", _source(con, f"{name}_{nth}", part.files, columns, by_name or part.by_name))
            for nth, part in enumerate(parts)
        )
        try:
            con.execute(f"CREATE TEMP VIEW {name} AS " + "\nUNION ALL\n".join(shown))
        except duckdb.BinderException:
            # Some are older than a column.
            if by_name:
                raise
        else:
            return


def _source(con: Connection, name: str, files: Sequence[File], columns: Sequence[Column], by_name: bool) -> str:
    """Rows of the files; by_name: columns that a file lacks are null in it, for which each is opened once more.

    Their paths are a variable of that name: a thousand of them in the text are read again with each query.
    """
    wanted = ", ".join(f'"{c.name}"::{duckdb_type(c.type)} AS "{c.name}"' for c in columns)
    nulls = ", ".join(f'NULL::{duckdb_type(c.type)} AS "{c.name}"' for c in columns)
    if not files:
        return f"(SELECT {nulls} WHERE false)"
    paths = [file.path for file in sorted(files, key=lambda file: file.written_ms)]
    # As one text: binding a list of a thousand takes 10 ms.
    con.execute(f"SET VARIABLE {name} = from_json($paths, '[\"VARCHAR\"]')", {"paths": json.dumps(paths)})
    if not by_name:
        return f"(SELECT {wanted} FROM read_parquet(getvariable('{name}'), hive_partitioning = false))"
    named = f"(FROM read_parquet(getvariable('{name}'), hive_partitioning = false, union_by_name = true))"
    return f"(SELECT {wanted} FROM ((SELECT {nulls} WHERE false) UNION ALL BY NAME {named}))"
