"""Results as a table, JSON or CSV. Data goes to stdout; what is said about it goes to stderr.

JSON is strictly valid and says times in ISO 8601, UTC; CSV says the same values as text. Both stream.
Data in a table comes from agents and from whoever talks to them: it is shown, never obeyed.
"""

from __future__ import annotations

import base64
import csv
import json
import math
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TextIO

FORMATS = ("table", "json", "csv")

#: A table's cell ends here: a thought of a megabyte is for JSON.
_CELL = 200
_PRECISE = 2**53
#: A column of texts that are no longer than this is never cut.
_SHORT = 12


def plain(value: Any) -> Any:
    """A value as JSON has it: times in ISO 8601 with Z, bytes in base64, no NaN and no infinity.

    >>> plain(datetime(2026, 11, 1, 12, tzinfo=UTC)), plain(float("nan")), plain({1: b"\\x00"})
    ('2026-11-01T12:00:00Z', None, {'1': 'AA=='})
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return _iso(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return plain(float(value)) if value % 1 or abs(value) > _PRECISE else int(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    return str(value)


def _iso(moment: datetime) -> str:
    # A TIMESTAMP without a zone comes from a user's SQL; everything here is UTC.
    aware = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.isoformat().replace("+00:00", "Z")


def to_json(value: Any) -> str:
    """One value as a JSON text that any strict reader takes."""
    return _safe_utf8(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def write_json(columns: Sequence[str], rows: Iterable[Sequence[Any]], out: TextIO | None = None) -> None:
    """A list of row objects, one object a line."""
    out = out or sys.stdout
    start = "[\n"
    for row in rows:
        entry = plain(dict(zip(columns, row, strict=True)))
        out.write(f"{start}  {_safe_utf8(json.dumps(entry, ensure_ascii=False, allow_nan=False))}")
        start = ",\n"
    out.write("[]\n" if start == "[\n" else "\n]\n")


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]], out: TextIO | None = None) -> None:
    """A header and a line per row; null is empty, what is nested is JSON text."""
    writer = csv.writer(out or sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_cell(value) for value in row] for row in rows)


def _csv_cell(value: Any) -> Any:
    if value is None or (type(value) is str and value.isascii()):
        return value  # most of what there is: a large result is written twice as fast
    simple = plain(value)
    if isinstance(simple, bool):
        return "true" if simple else "false"
    if isinstance(simple, dict | list):
        return _safe_utf8(json.dumps(simple, ensure_ascii=False))
    return _safe_utf8(simple) if isinstance(simple, str) else simple


def _safe_utf8(text: str) -> str:
    """Lone surrogates have no UTF-8: they become escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def shown(text: str, limit: int = _CELL) -> str:
    """Foreign text for a terminal: on one line, with nothing in it that a terminal would obey.

    Control characters (escapes, bells), marks that turn the reading direction, and lone surrogates
    are shown as codes.

    >>> shown("a\\x1b[31m\\nb"), shown("x" * 5, 3)
    ('a\\\\x1b[31m b', 'xx…')
    """
    cut = text[: limit - 1] + "…" if len(text) > limit else text
    return "".join(map(_visible, cut))


def _visible(char: str) -> str:
    if " " <= char <= "~":
        return char
    if char in "\n\r\t":
        return " "
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}"
    return char


def cell(value: Any) -> str:
    """A value as a table shows it: short numbers, times to the second, a dash for null."""
    if value is None:
        return "–"  # noqa: RUF001 - a dash, as tables have it
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    simple = plain(value)
    return shown(simple if isinstance(simple, str) else json.dumps(simple, ensure_ascii=False))


def write_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], out: TextIO | None = None) -> None:
    """A table as wide as the terminal (or 160 columns in a pipe); columns without any value are left out."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    found = [list(row) for row in rows]
    kept = [at for at in range(len(columns)) if not found or any(row[at] is not None for row in found)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for at in kept:
        numeric = any(_is_number(row[at]) for row in found)
        narrow = numeric or any(isinstance(row[at], datetime | bool) for row in found)
        narrow = narrow or _width(columns[at], found, at) <= _SHORT  # a long text beside it gives way
        table.add_column(
            Text(shown(columns[at])), justify="right" if numeric else "left", no_wrap=True, overflow="ellipsis",
            min_width=_width(columns[at], found, at) if narrow else None,
        )  # fmt: skip
    for row in found:
        # Text, not str: rich reads [brackets] in a str as markup.
        table.add_row(*(Text(cell(row[at])) for at in kept))
    console(out).print(table)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _width(name: str, rows: Iterable[Sequence[Any]], at: int) -> int:
    return max([len(name), *(len(cell(row[at])) for row in rows)])


def console(out: TextIO | None = None) -> Any:
    """Rich on stdout: colours on a terminal only, and no meaning found in data."""
    from rich.console import Console

    out = out or sys.stdout
    width = None if out.isatty() else 160
    return Console(file=out, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def write(form: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], out: TextIO | None = None) -> None:
    """Rows in one of FORMATS."""
    {"table": write_table, "json": write_json, "csv": write_csv}[form](columns, rows, out)


def note(text: str) -> None:
    """Say something about the data."""
    sys.stderr.write(f"{text}\n")


def some_columns(names: Sequence[str], wanted: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[list[Any]]:
    """Rows with some columns only, in the order wanted: what a table of limited width shows."""
    places = [names.index(name) for name in wanted]
    for row in rows:
        yield [row[at] for at in places]
