"""Usual messages: strict JSON with fields of the expected kinds, no envelope, nothing that needs a second look.

msgspec decodes of these only the fields that a column needs, and leaves the rest as text. What `Usual` refuses is left
to contracts/'s reader, which is the definition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from agentmon.contracts.json_text import BLANKS, MAX_NAME_LENGTH, MAX_NUMBER_LENGTH
from agentmon.contracts.message import Limits

_Text = str | None
_TextOrInt = str | int | None
_Number = float | None
#: A field that is not there; one that is there is any JSON, as it came.
NOTHING = msgspec.Raw()


class Usual(msgspec.Struct, gc=False):
    """What any message may have. gc=False: they refer to nothing that could refer back."""

    type: _Text = None
    agent_id: _TextOrInt = None
    session_id: _TextOrInt = None
    event_id: _TextOrInt = None
    timestamp: float | str | None = None
    ts: float | str | None = None
    container: _Text = None
    hostname: _Text = None
    event: None = None  # an envelope is not usual


class Action(Usual, gc=False):
    tool: _Text = None
    name: _Text = None
    action: _Text = None
    success: bool | None = None
    reward: _Number = None
    duration_ms: _Number = None
    result: msgspec.Raw = NOTHING
    error: _Text = None
    reasoning: _Text = None
    context: msgspec.Raw = NOTHING
    action_id: _TextOrInt = None
    span_id: _TextOrInt = None
    input_tokens: _Number = None
    output_tokens: _Number = None
    cost_usd: _Number = None


class Thought(Usual, gc=False):
    thought: _Text = None
    context: msgspec.Raw = NOTHING
    confidence: _Number = None
    thought_id: _TextOrInt = None


class Learning(Usual, gc=False):
    tool: _Text = None
    name: _Text = None
    reward: _Number = None
    total_events: _Number = None
    success_rate: _Number = None
    avg_reward: _Number = None
    learning_trend: _Text = None
    data: None = None  # a report that lies in it is not usual


#: By table; of agent.metrics any field may be a measurement.
_DECODERS = {
    table: msgspec.json.Decoder(shape)
    for table, shape in {"actions": Action, "thoughts": Thought, "learning": Learning, "events": Usual}.items()
}


def _one_of(characters: str) -> Any:
    return np.isin(np.arange(256, dtype=np.uint8), np.frombuffer(characters.encode(), np.uint8))


_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_CASE = np.uint8(0x20)  # the bit that E and e, [ and { differ in
_DIGITS = b"0123456789"
_ALL_ALIKE = bytes.maketrans(_DIGITS, b"0" * len(_DIGITS))
#: Of a number that is too long (whole part, fraction and exponent), or that is beyond a double without an exponent of
#: three digits, so many are in a row.
_LONG_NUMBER = b"0" * min(MAX_NUMBER_LENGTH // 3, 200)
_LOOKED_AT = 10
#: Bytes: what numpy makes of more falls out of the caches, and from 128 KiB on glibc gives its memory back each time.
_AT_ONCE = 100_000
_USUAL_NUMBER = 24  # characters, at the most

_IS_OF_NUMBERS, _IS_BEFORE_NUMBERS, _IS_AFTER_NUMBERS = map(_one_of, ("0123456789.-", f":,[{BLANKS}", f",]}}{BLANKS}"))

Mask = Any  # an array of numpy's, of bool


def usual(values: pa.BinaryArray, table: str, limits: Limits) -> tuple[Mask, list[Any]]:
    """Which of a table's messages are usual, and these, decoded."""
    decoder = _DECODERS.get(table)
    if decoder is None or not len(values):
        return np.zeros(len(values), bool), []
    plain = np.concatenate([_plain(piece, limits) for piece in _pieces(values)])
    told = values.to_pylist()
    if plain.all():
        try:
            return plain, list(map(decoder.decode, told))
        except _UNREADABLE:
            pass
    found = [_decoded(decoder.decode, value) if is_plain else None for value, is_plain in zip(told, plain, strict=True)]
    return np.array([message is not None for message in found], bool), [m for m in found if m is not None]


def _decoded(decode: Callable[[bytes], Usual], value: bytes) -> Usual | None:
    try:
        return decode(value)
    except _UNREADABLE:
        return None


def _pieces(values: pa.BinaryArray) -> Iterator[pa.BinaryArray]:
    """Of some _AT_ONCE bytes each, and one message more."""
    ends = _ends(values)
    cuts = np.searchsorted(ends, np.arange(ends[0], ends[-1], _AT_ONCE))
    for first, last in pairwise(np.unique([0, *cuts, len(values)]).tolist()):
        yield values.slice(first, last - first)


def _ends(values: pa.BinaryArray) -> Any:
    """Where messages begin and end in the buffer of all."""
    return np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1]


def _plain(values: pa.BinaryArray, limits: Limits) -> Mask:
    """Where the limits need no second look; looked at all at once, which takes a fraction of one by one."""
    ends = _ends(values)
    text = np.frombuffer(values.buffers()[2], np.uint8)[ends[0] : ends[-1]]
    ends = ends - ends[0]
    lengths = np.diff(ends)
    lower = text | _CASE
    brackets = np.flatnonzero(lower == ord("{"))
    depths = np.diff(np.searchsorted(brackets, ends))  # at the most
    plain: Mask = (lengths > 0) & (lengths <= min(limits.max_bytes, MAX_NAME_LENGTH)) & (depths <= limits.max_depth)
    if values.null_count:
        plain &= values.is_valid().to_numpy(zero_copy_only=False)
    if not _are_utf8(values):
        plain &= np.array([_is_utf8(value) for value in values.to_pylist()], bool)
    # Of so many digits in a row, this many of the bytes that are looked at are digits, in a row.
    looked_at = _are_digits(text[:: len(_LONG_NUMBER) // _LOOKED_AT])
    if b"\1" * _LOOKED_AT in looked_at.tobytes():
        plain &= np.array([_LONG_NUMBER not in (v or b"").translate(_ALL_ALIKE) for v in values.to_pylist()])
    for odd in (_huge_exponents(text, lower), _minus_zeros(text)):
        plain[np.searchsorted(ends, odd, "right") - 1] = False
    return plain


def _huge_exponents(text: Any, lower: Any) -> Any:
    """Where numbers have exponents of three digits and more, not negative: what is beyond a double is among them.

    In JSON that is stored as text contracts/'s reader writes these, and whole zeros with a minus, in its own way.
    """
    at = 1 + np.flatnonzero((lower[1:-4] == ord("e")) & _are_digits(text[:-5]))
    digits = at + 1 + (text[at + 1] == ord("+"))
    at = at[_are_digits(text[digits]) & _are_digits(text[digits + 1]) & _are_digits(text[digits + 2])]
    return at[_are_numbers_before(text, at)]


def _minus_zeros(text: Any) -> Any:
    """Where a whole number is -0."""
    at = np.flatnonzero((text[:-2] == ord("-")) & (text[1:-1] == ord("0")))
    return at[_IS_AFTER_NUMBERS[text[at + 2]]]


def _are_numbers_before(text: Any, at: Any) -> Mask:
    """Whether a number may begin before these positions, not a name or an id; what is longer than usual may."""
    for _ in range(_USUAL_NUMBER if len(at) else 0):
        at = at - _IS_OF_NUMBERS[text[at - 1]]
    return _IS_BEFORE_NUMBERS[text[at - 1]] | _IS_OF_NUMBERS[text[at - 1]]


def _are_digits(text: Any) -> Mask:
    return (text - np.uint8(ord("0"))) < len(_DIGITS)


def _are_utf8(values: pa.Array) -> bool:
    try:
        values.cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True


def _is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True
