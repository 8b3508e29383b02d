"""Write what is derived: docs/tables.md from contracts/, docs/settings.md from settings.py.

.venv/bin/python scripts/docs.py; tests/unit/test_docs.py fails where it was forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, Field, fields

from agentmon.contracts.tables import MESSAGE_TABLES, ORIGIN_FIRST, ORIGIN_LAST, PAYLOAD, TABLES, Column, Table
from agentmon.lake.types import duckdb_type
from agentmon.settings import Settings, project_root

DERIVED = "<!-- Derived: scripts/docs.py writes this file. -->"


def pages() -> dict[str, str]:
    """The derived pages, by their path in the project."""
    return {"docs/tables.md": tables(), "docs/settings.md": settings()}


def tables() -> str:
    """Every table with its columns, types as `agentmon sql` sees them."""
    parts = [
        "# Tables\n",
        DERIVED,
        "\nDelta tables under `AGENTMON_HOME/lake`, open to anything that reads Delta.",
        "Types are those of `agentmon sql`. Columns are added, never renamed or retyped. Times are UTC.\n",
        f"## Columns of every message\n\n{', '.join(MESSAGE_TABLES)}:",
        "one message, one row, in one of them; each has these.",
        "Quarantine has the raw bytes as `raw` in place of `payload`.\n",
        _columns([*ORIGIN_FIRST, *ORIGIN_LAST[:-1], PAYLOAD, ORIGIN_LAST[-1]]),
    ]
    return "\n".join([*parts, *(_table(table) for table in TABLES.values())])


def _table(table: Table) -> str:
    own = [c for c in table.columns if table.name not in MESSAGE_TABLES or c.name in table.own_column_names]
    example = f"```sql\n{table.example}\n```\n"
    return f"## {table.name}\n\n{table.comment}. Partitioned by {table.partition}.\n\n{_columns(own)}\n{example}"


def _columns(columns: Iterable[Column]) -> str:
    return _rows(
        ("column", "type", "what it is"), ((f"`{c.name}`", _code(duckdb_type(c.type)), c.comment) for c in columns)
    )


def settings() -> str:
    """Every environment variable with its default."""
    rows = ((f"`{f.metadata['env']}`", _default(f), f.metadata["takes"], f.metadata["about"]) for f in fields(Settings))
    return "\n".join([
        "# Settings\n",
        DERIVED,
        "\nFor one command `agentmon --set NAME=VALUE …`, else the environment, where an empty variable counts as not set,",
        "else `agentmon.toml` beside pyproject.toml, with the same names: `AGENTMON_WINDOW = 30`. The job reads them when",
        "it starts. `agentmon config` shows each with where it comes from.\n",
        _rows(("variable", "default", "takes", "what it is"), rows),
    ])  # fmt: skip


def _default(field: Field[object]) -> str:
    if field.default is MISSING:
        return "`.agentmon` in the checkout"
    value = str(field.default).lower() if isinstance(field.default, bool) else field.default
    return "" if value is None else f"`{value:.15g}`" if isinstance(value, float) else f"`{value}`"


def _code(text: str) -> str:
    return f"`{text}`"


def _rows(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def main() -> None:
    for path, text in pages().items():
        (project_root() / path).write_text(text)


if __name__ == "__main__":
    main()
