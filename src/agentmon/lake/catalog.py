"""What the tables are: from contracts/, no lake needed."""

from __future__ import annotations

from collections.abc import Iterator

from agentmon.contracts.tables import TABLES
from agentmon.errors import UsageError
from agentmon.lake.selection import Rows
from agentmon.lake.types import duckdb_type

COLUMNS = ["table", "column", "type", "comment"]


def describe_tables(name: str | None = None) -> Rows:
    """Every column of every table, or of one: table, column, type as `sql` sees it, comment."""
    if name is not None and name not in TABLES:
        raise UsageError(f"no table named {name}: there are {', '.join(TABLES)}")
    return Rows(COLUMNS, _columns(name))


def _columns(name: str | None) -> Iterator[tuple[str, str, str, str]]:
    for table in TABLES.values():
        if name in (None, table.name):
            yield from ((table.name, c.name, duckdb_type(c.type), c.comment) for c in table.columns)
