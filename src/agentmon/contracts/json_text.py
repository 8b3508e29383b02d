"""JSON as untidy producers write it: which texts are an object, and what a value is as text.

Taken besides strict JSON, as Jackson in Spark does: NaN and Infinity, lone surrogates, duplicate names (the last one
wins), and whatever follows the object. Nearly all messages are strict JSON of a usual kind: orjson reads these, four
times as fast, and `read_plain_object` says where it would not say the same as the patient reader, `read_object`.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

#: Digits of a number, and characters of a field's name, at the most: Jackson's own limits.
MAX_NUMBER_LENGTH = 1000
MAX_NAME_LENGTH = 50_000

#: What JSON takes for white space; Python's strip() knows more.
BLANKS = " \t\n\r"

_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_STRUCTURE = re.compile(rf"(?P<string>{_STRING})(?P<name>[{BLANKS}]*:)?|[\[{{\]}}]")
# Names of infinity that Jackson knows and Python doesn't, where a value may begin; strings stay as they are.
_OTHER_INFINITY = re.compile(rf"{_STRING}|(?<=[:,\[{BLANKS}])(?:([+-])INF|(\+)Infinity)")


def read_object(text: str, max_depth: int) -> dict[str, Any] | None:
    """The object that a text begins with; None if there is none, or one nested deeper than max_depth.

    >>> read_object(' {"a": [+INF, NaN], "a": 1} and more', 2), read_object('{"a": [[]]}', 2), read_object("[]", 2)
    ({'a': 1}, None, None)
    """
    start = len(text) - len(text.lstrip(BLANKS))
    if not text.startswith("{", start):
        return None
    try:
        found, end = _DECODER.raw_decode(text, start)
    except RecursionError:
        return None
    except ValueError:
        plain = _OTHER_INFINITY.sub(_python_infinity, text)
        return None if plain == text else read_object(plain, max_depth)
    # Looking at every bracket takes longer than decoding: only where the text allows for too many.
    brackets = text.count("{") + text.count("[")
    if (brackets > max_depth or len(text) > MAX_NAME_LENGTH) and _excessive(text[start:end], max_depth):
        return None
    return found  # type: ignore[no-any-return]


_ORJSON_DEPTH = 250  # it reads deeper objects, but does not write them
_ALL_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_NUMBER = b"0" * 19  # beyond 64 bits orjson makes a float of a whole number


def read_plain_object(value: bytes, max_depth: int) -> dict[str, Any] | None:
    """The object that strict JSON of a usual kind is; None means: ask `read_object`, which takes more.

    Nothing in what it returns is NaN, an infinity or a lone surrogate.

    >>> read_plain_object(b'{"a": 1}', 9), read_plain_object(b'{"a": NaN}', 9), read_plain_object(b'{"a": [[]]}', 2)
    ({'a': 1}, None, None)
    """
    if len(value) > MAX_NAME_LENGTH or value.count(b"{") + value.count(b"[") > min(max_depth, _ORJSON_DEPTH):
        return None
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if type(found) is not dict or _LONG_NUMBER in value.translate(_ALL_DIGITS_ALIKE):
        return None
    return found


def plain_text(value: Any) -> str | None:
    """`as_text` of a value out of `read_plain_object`."""
    if type(value) is str:
        return value
    return orjson.dumps(value).decode() if type(value) in (dict, list) else as_text(value)


def as_text(value: Any) -> str | None:
    """A text as it is, anything else as its JSON text; numbers as Java writes them.

    >>> as_text("a"), as_text(16), as_text(True), as_text([1, None]), as_text(1e7), as_text(math.nan)
    ('a', '16', 'true', '[1,null]', '1.0E7', '"NaN"')
    """
    if value is None:
        return None
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float):
        return _float_text(value) if math.isfinite(value) else f'"{_constant(value)}"'
    return write(value)


def as_object(value: Any, max_depth: int) -> dict[str, Any] | None:
    """An object, or a text that is one (some producers encode twice); None for anything else."""
    if isinstance(value, str):
        return read_object(storable(value), max_depth)
    if not isinstance(value, dict):
        return None
    # Spark opens it by way of its JSON text, which has names for what JSON has no numbers for.
    return {name: _constant(v) if isinstance(v, float) and not math.isfinite(v) else v for name, v in value.items()}


def storable(text: str) -> str:
    """Text that UTF-8 can hold: lone surrogates become question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def write(value: Any) -> str:
    """Compact JSON that any reader takes: names of NaN and Infinity as text, lone surrogates escaped."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    except ValueError:
        return write(json.loads(json.dumps(value), parse_constant=str))
    return text


def _integer(digits: str) -> int:
    if len(digits) > MAX_NUMBER_LENGTH and len(digits.lstrip("-")) > MAX_NUMBER_LENGTH:
        raise ValueError("number too long")
    return int(digits)


def _float(digits: str) -> float:
    # Jackson does not count a zero before the point.
    if (
        len(digits) > MAX_NUMBER_LENGTH
        and sum(map(str.isdigit, digits.lstrip("-").removeprefix("0"))) > MAX_NUMBER_LENGTH
    ):
        raise ValueError("number too long")
    return float(digits)


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_float)


def _python_infinity(found: re.Match[str]) -> str:
    sign = found[1] or found[2]
    return found[0] if sign is None else "-Infinity" if sign == "-" else "Infinity"


def _excessive(text: str, max_depth: int) -> bool:
    """Whether an object's text is nested too deep or has too long a name, also where nobody reads it."""
    depth = 0
    for token in _STRUCTURE.finditer(text):
        string = token["string"]
        if string is None:
            depth += 1 if token[0] in "{[" else -1
        elif token["name"] and len(string) > MAX_NAME_LENGTH and _length(json.loads(string)) > MAX_NAME_LENGTH:
            return True
        if depth > max_depth:
            return True
    return False


def _length(text: str) -> int:
    """Characters as Java counts them."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _float_text(value: float) -> str:
    """A float as Java's Double.toString has it: with an exponent below 0.001 and from 10 million on."""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    digits = repr(abs(value)).partition("e")[0].replace(".", "").strip("0")
    mantissa, _, exponent = f"{value:.{max(len(digits) - 1, 1)}e}".partition("e")
    return f"{mantissa}E{int(exponent)}"


def _constant(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
