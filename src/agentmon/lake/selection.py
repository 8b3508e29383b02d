"""Which rows a reader asks for, and the rows that it gets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

#: Bounds that leave nothing out: no event is older or newer (contracts: event times lie after 2000).
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
END = datetime(9999, 1, 1, tzinfo=UTC)
#: More rows than any table has; DuckDB's LIMIT takes it.
ALL = 2**62


@dataclass(frozen=True)
class Selection:
    """Filters of a reading command: since is inclusive, until exclusive, limit None is all."""

    agent: str | None = None
    session: str | None = None
    since: datetime = BEGINNING
    until: datetime = END
    limit: int | None = None


class Rows:
    """A result's columns and, once, its rows. After the last row, `cut` says whether the limit left more out."""

    def __init__(self, columns: list[str], rows: Iterable[tuple[Any, ...]], limit: int | None = None) -> None:
        self.columns = columns
        self.limit = limit
        self.cut = False
        self._rows = iter(rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for number, row in enumerate(self._rows):
            if self.limit is not None and number == self.limit:
                self.cut = True
                return
            yield row

    def dicts(self) -> list[dict[str, Any]]:
        """All rows by column name; for small results."""
        return [dict(zip(self.columns, row, strict=True)) for row in self]


def one_more(limit: int | None) -> int:
    """How many rows to ask for, so that it shows whether a limit leaves some out."""
    return ALL if limit is None else min(limit + 1, ALL)
