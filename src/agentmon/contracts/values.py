"""What a value of JSON means in a column of numbers, or of true and false."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

# ASCII only: Python's float() would also take 1_000 and digits of other scripts.
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_TRUTHS = {"true": True, "false": False}
# An error that says there was none; of any case, as Python writes False.
_NO_ERROR = re.compile(r"\s*(false|-?0(\.0+)?|\{\s*\}|\[\s*\])?\s*", re.IGNORECASE)


def number(value: Any) -> float | None:
    """A finite number, also where it comes as text; None for anything else, true and false included.

    >>> number(2), number(" 1e3 "), number("1_0"), number("NaN"), number(True)
    (2.0, 1000.0, None, None, None)
    """
    if type(value) is float:
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str):
        value = value.strip(" ")
        if not _NUMBER.fullmatch(value):
            return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if math.isfinite(result) else None


def whole(value: Any) -> int | None:
    """A number cut off at its point; None where it does not fit into 64 bits.

    >>> whole(-1.9), whole("16"), whole(2**63)
    (-1, 16, None)
    """
    result = number(value)
    return None if result is None or abs(result) >= 2**63 else int(result)


def amount(value: Any) -> float | None:
    """A number that is not negative; -0.0 is none either, but 0.

    >>> amount("840"), amount(-5), amount(-0.0)
    (840.0, None, 0.0)
    """
    result = number(value)
    return None if result is None or result < 0 else abs(result)


def count(value: Any) -> int | None:
    """A number that is not negative, cut off at its point; None where it does not fit into 64 bits.

    >>> count(1.9), count("16"), count(-0.5)
    (1, 16, None)
    """
    return whole(amount(value))


def truth(value: Any) -> bool | None:
    """true or false, and 1 or 0, each also as text; None for anything else.

    >>> truth(True), truth(" FALSE "), truth(1.0), truth("0"), truth("yes")
    (True, False, True, False, None)
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and (named := _TRUTHS.get(value.strip(" ").lower())) is not None:
        return named
    x = number(value)
    return x == 1 if x in (0, 1) else None


def reward(value: Any) -> float | None:
    """A number, true as 1 and false as 0, each also as text; of an object, its score.

    >>> reward("0.5"), reward(True), reward({"score": False, "feedback": "no"}), reward({"score": {}}), reward("good")
    (0.5, 1.0, 0.0, None, None)
    """
    if isinstance(value, Mapping):
        value = value.get("score")
    result = number(value)
    if result is None and isinstance(value, (bool, str)):
        told = truth(value)
        return None if told is None else float(told)
    return result


def is_error(value: Any) -> bool:
    """Whether what a producer calls an error is one; never raises, whatever it is.

    >>> is_error("timeout"), is_error({}), is_error("false"), is_error(KeyError())
    (True, False, False, True)
    """
    try:
        return bool(value) and not (isinstance(value, str) and error_text(value) is None)
    except Exception:  # noqa: BLE001 - numpy's arrays, and somebody's __bool__
        return True


def error_text(text: str | None) -> str | None:
    """What an error says; None where it says that there was none: blank, false, 0, {} or [].

    >>> error_text("timeout"), error_text(" "), error_text("False"), error_text("{ }"), error_text("None")
    ('timeout', None, None, None, 'None')
    """
    return None if text is None or _NO_ERROR.fullmatch(text) else text
