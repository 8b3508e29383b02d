"""An open lake for a reader that needs certain tables, whether they exist yet or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import _duckdb as duckdb

from agentmon.contracts.tables import TABLES
from agentmon.errors import AgentmonError
from agentmon.lake.connection import Connection, open_lake
from agentmon.lake.types import duckdb_type

P = ParamSpec("P")
T = TypeVar("T")

_ATTEMPTS = 3
#: How DuckDB says that a file of its snapshot is gone.
_VANISHED = ("No such file", "No files found", "Cannot open file")


@contextmanager
def reading(lake: str, *tables: str) -> Iterator[Connection]:
    """As `open_lake`; a table that the job has not made yet is an empty one with the same columns."""
    with open_lake(lake, ("ledger", *tables)) as con:
        there = {name for (name,) in con.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()}
        for name in tables:
            if name not in there:
                columns = ", ".join(f'"{c.name}" {duckdb_type(c.type)}' for c in TABLES[name].columns)
                con.execute(f"CREATE TEMP TABLE {name} ({columns})")
        yield con


def again(read: Callable[P, T]) -> Callable[P, T]:
    """Read anew where a file vanished while it was read: a VACUUM that keeps too little takes it from under a reader."""

    @wraps(read)
    def reading_again(*arguments: P.args, **options: P.kwargs) -> T:
        for _ in range(_ATTEMPTS):
            try:
                return read(*arguments, **options)
            except (duckdb.Error, AgentmonError) as error:
                if not any(sign in str(error) for sign in _VANISHED):
                    raise
        return read(*arguments, **options)

    return reading_again
