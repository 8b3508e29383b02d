"""OTLP requests with bad values in them: the good stays, each bad value is replaced or left out with a reason.

Only requests that protobuf's own reader refuses come here.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

#: Levels of messages; protobuf's readers take 100.
_MAX_DEPTH = 90
_ITEMS = ("Span", "LogRecord")
_HOLDERS = ("ResourceSpans", "ScopeSpans", "ResourceLogs", "ScopeLogs")
_IDS = ("trace_id", "span_id", "parent_span_id")
_RANGES = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31),
    FieldDescriptor.TYPE_UINT32: (0, 2**32),
    FieldDescriptor.TYPE_FIXED32: (0, 2**32),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63),
    FieldDescriptor.TYPE_FIXED64: (0, 2**64),
}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_SHOWN = 200


@dataclass
class Mended:
    """What was wrong with a request."""

    #: By span or record, in their order: what was replaced in it or left out of it.
    items: list[list[str]] = field(default_factory=list)
    #: Spans and records, or groups of them, that can't be read: the reason, and the value (base64 of protobuf).
    refused: list[tuple[str, Any]] = field(default_factory=list)
    #: The same as in items, of resources and scopes.
    others: list[str] = field(default_factory=list)


class _BadError(ValueError):
    """Raised when a value can't stand in its field."""


def json_request(tree: dict[str, Any], descriptor: Descriptor, mended: Mended) -> dict[str, Any]:
    """The request as protobuf's JSON reader takes it: ids in base64, values of their field's type."""
    return _object(tree, descriptor, mended, mended.others, 0)


def _object(tree: dict[str, Any], kind: Descriptor, mended: Mended, problems: list[str], depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise _BadError("is nested too deep")
    known = {name: f for f in kind.fields for name in (f.json_name, f.name)}
    good: dict[str, Any] = {}
    for name, value in tree.items():
        target = known.get(name)
        if target is None or value is None or target.json_name in good:
            continue
        one_of = target.containing_oneof
        if one_of is not None and any(known[other].containing_oneof == one_of for other in good):
            problems.append(f"{name} {_shown(value)}: is a second value, and was left out")
            continue
        if not target.is_repeated:
            values = [value]
        elif isinstance(value, list):
            values = value
        else:
            problems.append(f"{name} {_shown(value)}: is no list, and was left out")
            continue
        kept = []
        for one in values:
            own = problems
            if target.message_type is not None and target.message_type.name in _ITEMS:
                own = []
            try:
                kept.append(_json_value(one, target, mended, own, depth))
            except _BadError as bad:
                if target.message_type is not None and target.message_type.name in (*_ITEMS, *_HOLDERS):
                    mended.refused.append((f"{name} {bad}", one))
                else:
                    problems.append(f"{name} {_shown(one)}: {bad}, and was left out")
                continue
            if own is not problems:
                mended.items.append(own)
        if kept:
            good[target.json_name] = kept if target.is_repeated else kept[0]
    return good


def _json_value(value: Any, target: FieldDescriptor, mended: Mended, problems: list[str], depth: int) -> Any:
    if target.type == FieldDescriptor.TYPE_MESSAGE:
        if not isinstance(value, dict):
            raise _BadError("is no object")
        return _object(value, target.message_type, mended, problems, depth + 1)
    if target.type == FieldDescriptor.TYPE_STRING:
        return _text(value, target, problems)
    if target.type == FieldDescriptor.TYPE_BYTES:
        return _bytes(value, target)
    if target.type == FieldDescriptor.TYPE_BOOL:
        if isinstance(value, bool):
            return value
        raise _BadError("is neither true nor false")
    if target.type == FieldDescriptor.TYPE_DOUBLE:
        return _double(value)
    if target.type == FieldDescriptor.TYPE_ENUM:
        if isinstance(value, str) and value in target.enum_type.values_by_name:
            return value
        return _integer(value, (-(2**31), 2**31))
    return _integer(value, _RANGES[target.type])


def _text(value: Any, target: FieldDescriptor, problems: list[str]) -> str:
    if not isinstance(value, str):
        problems.append(f"{target.json_name} {_shown(value)}: is no text, and was made one")
        return _shown(value)
    try:
        value.encode()
    except UnicodeEncodeError:
        problems.append(f"{target.json_name}: half a character (surrogate) was replaced")
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def _bytes(value: Any, target: FieldDescriptor) -> str:
    if not isinstance(value, str):
        raise _BadError("is no text")
    try:
        data = bytes.fromhex(value) if target.name in _IDS else base64.b64decode(value, validate=True)
    except ValueError as error:
        raise _BadError("is no hexadecimal" if target.name in _IDS else "is no base64") from error
    return base64.b64encode(data).decode()


def _double(value: Any) -> float | str:
    """A number; protobuf's reader knows NaN and the infinities as texts only."""
    try:
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            number = float(value)
            return number if math.isfinite(number) else str(number).replace("nan", "NaN").replace("inf", "Infinity")
    except (ValueError, OverflowError):
        pass
    raise _BadError("is no number")


def _integer(value: Any, within: tuple[int, int]) -> int:
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise _BadError("is no whole number")
        if isinstance(value, float) and not (math.isfinite(value) and value.is_integer()):
            raise _BadError("is no whole number")
        whole = int(value)
    except ValueError as error:
        raise _BadError("is no whole number") from error
    if not within[0] <= whole < within[1]:
        raise _BadError("is out of range")
    return whole


def _shown(value: Any) -> str:
    text = str(value).encode("utf-8", "replace").decode()
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def protobuf_request(data: bytes, descriptor: Descriptor, mended: Mended) -> bytes:
    """The request with its texts as UTF-8, without messages that break off. Raises ValueError where it can't be read."""
    return _message(data, descriptor, mended, mended.others, 0)


def _message(data: bytes, kind: Descriptor, mended: Mended, problems: list[str], depth: int) -> bytes:
    if depth > _MAX_DEPTH:
        raise _BadError("is nested too deep")
    good, at = bytearray(), 0
    while at < len(data):
        begin = at
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if not number:
            raise _BadError("has a field without a number")
        if wire != _BYTES:
            if wire == _VARINT:
                _, at = _varint(data, at)
            elif wire in (_FIXED64, _FIXED32):
                at += 8 if wire == _FIXED64 else 4
            else:
                raise _BadError("has a field of no known kind")
            if at > len(data):
                raise _BadError("breaks off")
            good += data[begin:at]
            continue
        length, start = _varint(data, at)
        at = start + length
        if at > len(data):
            raise _BadError("breaks off")
        content: bytes | None = data[start:at]
        target = kind.fields_by_number.get(number)
        if target is not None:
            content = _content(data[start:at], target, mended, problems, depth)
        if content is not None:
            good += _as_varint(tag) + _as_varint(len(content)) + content
    return bytes(good)


def _content(data: bytes, target: FieldDescriptor, mended: Mended, problems: list[str], depth: int) -> bytes | None:
    """The field's content, mended; None where it is left out."""
    if target.type == FieldDescriptor.TYPE_STRING:
        text = data.decode("utf-8", "replace").encode()
        if text != data:
            problems.append(f"{target.json_name}: half a character (UTF-8) was replaced")
        return text
    if target.type != FieldDescriptor.TYPE_MESSAGE:
        return data
    is_item = target.message_type.name in _ITEMS
    own: list[str] = [] if is_item else problems
    try:
        content = _message(data, target.message_type, mended, own, depth + 1)
    except _BadError as bad:
        if is_item or target.message_type.name in _HOLDERS:
            mended.refused.append((f"{target.json_name} {bad}", base64.b64encode(data).decode()))
        else:
            problems.append(f"{target.json_name}: {bad}, and was left out")
        return None
    if is_item:
        mended.items.append(own)
    return content


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _BadError("breaks off")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    raise _BadError("has a number without an end")


def _as_varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
