"""Results as a table, JSON or CSV. Data goes to stdout; what is said about it goes to stderr.

JSON is strictly valid and says times in ISO 8601, UTC; CSV says the same values as text. Both stream.
Data in a table comes from agents and from whoever talks to them: it is shown, never obeyed.
"""

from __future__ import annotations

import base64
import codecs
import csv
import json
import math
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from io import TextIOWrapper
from typing import Any, TextIO

FORMATS = ("table", "json", "csv")

#: A table's cell ends here: a thought of a megabyte is for JSON.
_CELL = 200
#: Control characters that JSON may have as they are, and marks that turn the reading direction.
_OBEYED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
#: What is left of a column of long texts, of the first and of others, before another column is left out.
_FIRST_TEXT, _TEXT = 32, 20
#: So many of the columns that are left out are told.
_NAMED = 6
#: Between columns, and on either side of a table.
_GAP, _EDGE = 2, 1


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
        return _number(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    return str(value)


def _iso(moment: datetime) -> str:
    return _utc(moment).isoformat().replace("+00:00", "Z")


def _utc(moment: datetime) -> datetime:
    # A TIMESTAMP without a zone comes from a user's SQL; everything here is UTC.
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _number(value: Decimal) -> int | float | str | None:
    """A number of JSON that is exactly this one; where there is none, its text."""
    if not value.is_finite():
        return None
    if value == value.to_integral_value():
        return int(value)
    nearest = float(value)
    return nearest if Decimal(repr(nearest)) == value else str(value)


def to_json(value: Any) -> str:
    """One value as a JSON text that any strict reader takes."""
    return _json(plain(value), indent=2)


def write_json(columns: Sequence[str], rows: Iterable[Sequence[Any]], out: TextIO | None = None) -> None:
    """A list of row objects, one object a line."""
    out = out or sys.stdout
    start = "[\n"
    for row in rows:
        out.write(f"{start}  {_json(plain(dict(zip(columns, row, strict=True))))}")
        start = ",\n"
    out.write("[]\n" if start == "[\n" else "\n]\n")


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]], out: TextIO | None = None) -> None:
    """A header and a line per row; null is empty, what is nested is JSON text.

    Texts are as they are, in a file or a pipe; what a terminal would obey is shown there as codes. Raises
    UnicodeEncodeError where a file or a pipe can't have a text as it is.
    """
    out = out or sys.stdout
    if isinstance(out, TextIOWrapper) and not out.isatty():
        out.reconfigure(errors="strict")
    of_value = _csv_cell_for_eyes if out.isatty() else _csv_cell
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([of_value(name) for name in columns])
    writer.writerows([of_value(value) for value in row] for row in rows)


def _csv_cell(value: Any) -> Any:
    if value is None or (type(value) is str and value.isascii()):
        return value  # most of what there is: a large result is written twice as fast
    simple = plain(value)
    if isinstance(simple, bool):
        return "true" if simple else "false"
    if isinstance(simple, dict | list):
        return _json(simple)
    return _safe_utf8(simple) if isinstance(simple, str) else simple


def _csv_cell_for_eyes(value: Any) -> Any:
    simple = _csv_cell(value)
    return "".join(map(_visible, simple)) if isinstance(simple, str) else simple


def _json(simple: Any, indent: int | None = None) -> str:
    """JSON that says the same in a terminal as in a file: what would be obeyed there is escaped."""
    # Where a letter can't be written, JSON has an escape for it.
    text = json.dumps(simple, indent=indent, ensure_ascii=not _is_utf8(sys.stdout.encoding), allow_nan=False)
    return _safe_utf8(_OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


@cache
def _is_utf8(encoding: str | None) -> bool:
    return codecs.lookup(encoding or "utf-8").name == "utf-8"


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
    """A value as a table shows it: short numbers, times to the second in UTC, a dash for null."""
    if value is None:
        return "–"  # noqa: RUF001 - a dash, as tables have it
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return short(value)
    if isinstance(value, datetime):
        return f"{_utc(value):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, timedelta):
        return str(value)
    simple = plain(value)
    return shown(simple if isinstance(simple, str) else json.dumps(simple, ensure_ascii=False))


def short(value: float, digits: int | None = None) -> str:
    """A number that fits into any table: so many digits after the point, else four digits in all.

    >>> short(0.4233), short(9999.9), short(1.5e7), short(0.4233, 2), short(1e300, 2)
    ('0.4233', '10,000', '15,000,000', '0.42', '1e+300')
    """
    if digits is not None and abs(value) < 1e6:
        return f"{value:.{digits}f}"
    return f"{value:,.0f}" if digits is None and 9_999.5 <= abs(value) < 1e15 else f"{value:.4g}"


def write_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], out: TextIO | None = None, *, all_columns: bool = True
) -> None:
    """A table as wide as the terminal (or 160 columns in a pipe).

    Columns that have no room are named on stderr; those without any value are left out unless all are wanted.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    found = [list(row) for row in rows]
    kept = [at for at in range(len(columns)) if all_columns or not found or any(row[at] is not None for row in found)]
    cells = [[shown(columns[at]), *(cell(row[at]) for row in found)] for at in kept]
    numeric = [_share(int | float | Decimal | timedelta, found, at) > 0.5 for at in kept]
    whole = [_share(int | float | Decimal | timedelta | datetime, found, at) == 1 for at in kept]
    where = console(out)
    widths = _fit(cells, whole, where.width - 2 * _EDGE)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for texts, is_number, width in zip(cells, numeric, widths, strict=False):
        # Text, not str: rich reads [brackets] in a str as markup.
        table.add_column(
            Text(texts[0]), justify="right" if is_number else "left", no_wrap=True, overflow="ellipsis", width=width
        )
    if found:
        # One cell a column: a cell takes rich long, a line doesn't.
        table.add_row(*(Text("\n".join(texts[1:])) for texts in cells[: len(widths)]))
    where.print(table)
    if left_out := [texts[0] for texts in cells[len(widths) :]]:
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        note(f"no room for {', '.join(left_out[:_NAMED])}{more}: a wider terminal shows them, --format json or csv too")


def _fit(cells: Sequence[Sequence[str]], whole: Sequence[bool], room: int) -> list[int]:
    """Widths of columns, of those from the left that have room; long texts give way, the longest first.

    whole: columns that are never cut.
    """
    from rich.cells import cell_len

    widths = [max(map(cell_len, texts)) for texts in cells]
    # Whoever looks for a row finds it by what stands first.
    least = [
        width if is_whole else min(width, _FIRST_TEXT if at == 0 else _TEXT)
        for at, (width, is_whole) in enumerate(zip(widths, whole, strict=True))
    ]
    while len(least) > 1 and sum(least) + _GAP * (len(least) - 1) > room:
        least.pop()
    widths = widths[: len(least)]
    over = sum(widths) + _GAP * (len(widths) - 1) - room
    while over > 0 and any(width > end for width, end in zip(widths, least, strict=True)):
        longest = max(range(len(widths)), key=lambda at: (widths[at] > least[at], widths[at]))
        widths[longest] -= 1
        over -= 1
    return [min(width, room) for width in widths]


def _share(kinds: Any, rows: Iterable[Sequence[Any]], at: int) -> float:
    """Which part of a column's values, 0 to 1, is of these kinds; 0 where it has none."""
    values = [row[at] for row in rows if row[at] is not None]
    return sum(isinstance(value, kinds) and not isinstance(value, bool) for value in values) / max(len(values), 1)


def console(out: TextIO | None = None) -> Any:
    """Rich on stdout: colours on a terminal only, and no meaning found in data."""
    from rich.console import Console

    out = out or sys.stdout
    width = None if out.isatty() else 160
    return Console(file=out, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def write(
    form: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    out: TextIO | None = None,
    *,
    all_columns: bool = True,
) -> None:
    """Rows in one of FORMATS; a table has columns without any value only where all are wanted."""
    if form == "table":
        write_table(columns, rows, out, all_columns=all_columns)
    else:
        {"json": write_json, "csv": write_csv}[form](columns, rows, out)


def harmless(text: str) -> str:
    """Foreign text of several lines, whole, for a terminal: see `shown`."""
    return "\n".join(shown(line, len(line)) for line in text.split("\n"))


def note(text: str) -> None:
    """Say something about the data on stderr."""
    sys.stderr.write(f"{harmless(text)}\n")


def some_columns(names: Sequence[str], wanted: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[list[Any]]:
    """Rows with some columns only, in the order wanted: what a table of limited width shows."""
    places = [names.index(name) for name in wanted]
    for row in rows:
        yield [row[at] for at in places]
