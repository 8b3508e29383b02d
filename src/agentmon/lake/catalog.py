"""What the tables are: from contracts/, no lake needed."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from agentmon.contracts.tables import TABLES
from agentmon.errors import UsageError
from agentmon.lake.selection import Rows
from agentmon.lake.types import duckdb_type

COLUMNS = ["table", "column", "type", "comment"]


def describe_tables(name: str | None = None) -> Rows:
    """Every column of every table, or of one: table, column, type as `sql` sees it, comment."""
    if name is not None and name not in TABLES:
        near = get_close_matches(name, TABLES, n=1)
        meant = f"did you mean {near[0]}? There are" if near else "there are"
        raise UsageError(f"no table named {name}: {meant} {', '.join(TABLES)}")
    return Rows(COLUMNS, _columns(name))


def _columns(name: str | None) -> Iterator[tuple[str, str, str, str]]:
    for table in TABLES.values():
        if name in (None, table.name):
            yield from ((table.name, c.name, duckdb_type(c.type), c.comment) for c in table.columns)
