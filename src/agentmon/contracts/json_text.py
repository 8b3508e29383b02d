"""JSON as untidy producers write it: the fields of an object, each with its value and its text as it came.

Taken besides strict JSON: NaN and Infinity (also -Infinity, +Infinity, +INF and -INF), lone surrogates, and duplicate names
(the last one wins). Nothing but white space follows the object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

#: What JSON takes for white space; Python's strip() knows more.
BLANKS = " \t\n\r"
#: JSON that a column of texts holds as another text: null is none, and a whole zero has no sign, as in Python's int.
STORED_AS = {"null": None, "-0": "0"}

_BEGIN = re.compile(rf"[{BLANKS}]*{{[{BLANKS}]*(}}[{BLANKS}]*)?")
_COLON = re.compile(rf"[{BLANKS}]*:[{BLANKS}]*")
_END_OF_FIELD = re.compile(rf"[{BLANKS}]*([,}}])[{BLANKS}]*")
# A string may lack its end here: looking for one again from each quote within takes for ever.
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"?'
_BRACKET = re.compile(rf"{_STRING}|([\[{{])|([\]}}])")
# Names of infinity that Python doesn't know, where a value may begin; strings stay as they are.
_OTHER_INFINITY = re.compile(rf"{_STRING}|(?<=[:,\[{BLANKS}])([+-]INF|\+Infinity)")
_LONGEST_INTEGER = 400  # digits; no double holds these, and Python makes no int of more than 4,300


class Json(NamedTuple):
    """A value of JSON, and its text as it came."""

    value: Any
    text: str


#: An object's fields, without those that are null.
Fields = Mapping[str, Json]


def read_object(text: str, max_depth: int) -> dict[str, Json] | None:
    """The fields of the object that a text is; None if it is none, or one nested deeper than max_depth.

    >>> read_object(' {"a": [+INF,  0], "a": 1e400, "b": null} ', 2)
    {'a': Json(value=inf, text='1e400')}
    >>> read_object('{"a": [[]]}', 2), read_object("[]", 2), read_object('{"a": 01}', 2), read_object("{} {}", 2)
    (None, None, None, None)
    """
    begin = _BEGIN.match(text)
    if begin is None:
        return None
    if begin[1]:
        return {} if begin.end() == len(text) else None
    try:
        try:
            fields = _fields(text, text, begin.end())
        except ValueError:
            fields = _fields(_OTHER_INFINITY.sub(_as_list, text), text, begin.end())
    except (ValueError, RecursionError):
        return None
    # Looking at every bracket takes longer than decoding: only where the text allows for too many.
    if text.count("{") + text.count("[") > max_depth and _depth(text) > max_depth:
        return None
    return fields


def opened(field: Json | None, max_depth: int) -> dict[str, Json] | None:
    """The fields of an object, or of a text that is one (some producers encode twice); None for anything else."""
    if field is None:
        return None
    return read_object(storable(field.value) if isinstance(field.value, str) else field.text, max_depth)


def text_of(field: Json) -> str | None:
    """A string's content, any other JSON as it came.

    >>> [text_of(Json(*field)) for field in (("a", '"a"'), (16, "16"), (1e7, "1e7"), ([1], "[ 1]"), (0, "-0"))]
    ['a', '16', '1e7', '[ 1]', '0']
    """
    return storable(field.value) if isinstance(field.value, str) else STORED_AS.get(field.text, field.text)


def storable(text: str) -> str:
    """Text that UTF-8 can hold: lone surrogates become question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _integer(digits: str) -> float:
    return int(digits) if len(digits) < _LONGEST_INTEGER else float(digits)


_decode = json.JSONDecoder(parse_int=_integer).raw_decode


def _fields(decodable: str, text: str, at: int) -> dict[str, Json]:
    """The fields of an object whose first name is there, and which is all that is left of the text.

    `decodable`: the text as Python can decode it, of the same length. Raises ValueError where it is
    no JSON, and RecursionError.
    """
    fields: dict[str, Json] = {}
    while True:
        name, at = _decode(decodable, at)
        colon = _COLON.match(decodable, at)
        if colon is None or not isinstance(name, str):
            raise ValueError("no name")
        value, at = _decode(decodable, colon.end())
        fields[name] = Json(value, text[colon.end() : at])
        end = _END_OF_FIELD.match(decodable, at)
        if end is None:
            raise ValueError("no end")
        if end[1] == "}":
            if end.end() != len(text):
                raise ValueError("more than an object")
            return {name: field for name, field in fields.items() if field.value is not None}
        at = end.end()


def _as_list(token: re.Match[str]) -> str:
    """In place of an infinity an empty list of the same length, which is no number either; a string as it is."""
    return f"[{' ' * (len(token[1]) - 2)}]" if token[1] else token[0]


def _depth(text: str) -> int:
    """Levels of an object's text."""
    depth = deepest = 0
    for token in _BRACKET.finditer(text):
        depth += bool(token[1]) - bool(token[2])
        deepest = max(deepest, depth)
    return deepest
