"""Usual messages: strict JSON objects without an envelope, whose fields are of the kinds that their columns expect.

msgspec decodes the fields that a column needs and skips the others. Messages that it refuses go to contracts/message.py,
which is the definition. Spark's executors import this module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from agentmon.contracts.message import Limits
from agentmon.contracts.tables import MESSAGE_TABLES, Kind

#: A field of JSON that is not there; one that is there is a slice of the message's bytes.
NOTHING = msgspec.Raw()

_TEXT = str | int | None
_NUMBER = float | None
_Field = tuple[Any, Any]  # type, default
_FIELDS: dict[Kind, _Field] = {
    "text": (_TEXT, None),
    "json": (msgspec.Raw, NOTHING),
    "error": (str | int | bool | None, None),
    "reward": (bool | float | None, None),
    "number": (_NUMBER, None),
    "amount": (_NUMBER, None),
    "count": (_NUMBER, None),
}
#: By table, the fields for which contracts/message.py has rules of its own, as far as messages with them are usual. Of
#: agent.metrics none are: any field may be a measurement.
_OWN_RULES: dict[str, dict[str, _Field]] = {
    "actions": {
        "tool": (_TEXT, None),
        "name": (_TEXT, None),
        "success": (bool | float | str | None, None),
        "result": (msgspec.Raw, NOTHING),
    },
    "thoughts": {},
    "learning": {
        "tool": (_TEXT, None),
        "name": (_TEXT, None),
        "total_events": (_NUMBER, None),
        "success_rate": (_NUMBER, None),
        "avg_reward": (_NUMBER, None),
        "learning_trend": (_TEXT, None),
        "data": (None, None),  # holds a progress report, whose figures come first
    },
    "events": {},
}
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Usual(msgspec.Struct, gc=False):
    """The fields of any message; a table's struct adds those of its columns.

    gc=False: the structs refer to nothing that could refer back.
    """

    type: _TEXT = None
    agent_id: _TEXT = None
    session_id: _TEXT = None
    event_id: _TEXT = None
    timestamp: int | float | str | None = None  # a double does not hold nanoseconds
    ts: int | float | str | None = None
    container: _TEXT = None
    hostname: _TEXT = None
    event: None = None  # an envelope is not usual


def _struct(table: str) -> type[msgspec.Struct]:
    columns = MESSAGE_TABLES[table].columns
    fields = {column.name: _FIELDS[column.kind] for column in columns if column.kind} | _OWN_RULES[table]
    return msgspec.defstruct(table, [(name, *field) for name, field in fields.items()], bases=(Usual,), gc=False)


_DECODERS = {table: msgspec.json.Decoder(_struct(table)) for table in _OWN_RULES}

Mask = Any  # an array of numpy's, of bool

_OPENING = np.uint8(ord("{"))
_CASE = np.uint8(ord("{") ^ ord("["))  # the one bit in which these differ


def usual(values: pa.BinaryArray, table: str, limits: Limits) -> tuple[Mask, list[Any]]:
    """Mask of a table's messages that are usual, and these as structs, in the same order."""
    decoder = _DECODERS.get(table)
    if decoder is None or not len(values):
        return np.zeros(len(values), bool), []
    within = _within_limits(values, limits)
    contents = values.to_pylist()
    if within.all():
        try:
            return within, list(map(decoder.decode, contents))
        except _REFUSED:
            pass
    structs = [_decoded(decoder.decode, value) if ok else None for value, ok in zip(contents, within, strict=True)]
    return np.array([struct is not None for struct in structs], bool), [s for s in structs if s is not None]


def _decoded(decode: Callable[[bytes], Any], value: bytes) -> Any:
    """The message's struct; None where it is not usual."""
    try:
        return decode(value)
    except _REFUSED:
        return None


def _within_limits(values: pa.BinaryArray, limits: Limits) -> Mask:
    """Mask of messages that are UTF-8 and surely within the limits of size and depth: none is deeper than it has brackets."""
    _, offsets, data = values.buffers()
    ends = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    text = np.frombuffer(data or b"", np.uint8)[ends[0] : ends[-1]]
    brackets = np.diff(np.searchsorted(np.flatnonzero((text | _CASE) == _OPENING), ends - ends[0]))
    within: Mask = (np.diff(ends) <= limits.max_bytes) & (brackets <= limits.max_depth)
    within &= values.is_valid().to_numpy(zero_copy_only=False)
    return within if _are_utf8(values) else within & np.array([_is_utf8(value) for value in values.to_pylist()])


def _are_utf8(values: pa.BinaryArray) -> bool:
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
