"""An open lake for a reader that needs certain tables, whether they exist yet or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from agentmon.contracts.tables import TABLES
from agentmon.lake.connection import Connection, open_lake
from agentmon.lake.types import duckdb_type


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


def first_line(error: Exception) -> str:
    """What DuckDB says, without its picture of the query."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
