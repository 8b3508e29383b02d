"""One message on its way: how it lies on disk, and where it came from."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

# Length of what follows, its checksum; then the lengths of topic and key, and flags.
_FRAME = struct.Struct("<II")
_HEAD = struct.Struct("<HHB")
_MAYBE_REPEAT = 1

#: A key longer than this is cut: it is an agent's name.
MAX_KEY_BYTES = 1_000


@dataclass(slots=True)
class Record:
    """A message that was accepted. `end` is its place: one past its last byte in what keeps it."""

    topic: str
    key: bytes
    value: bytes
    maybe_repeat: bool
    end: int


def frame(topic: str, key: bytes, value: bytes, maybe_repeat: bool) -> bytes:
    """A message as bytes that tell where they end and whether they are whole."""
    name = topic.encode()
    body = b"".join((_HEAD.pack(len(name), len(key), _MAYBE_REPEAT if maybe_repeat else 0), name, key, value))
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def unframe(data: bytes, at: int, start: int) -> Record | None:
    """The record that begins at data[at:]; `start` is the place of data[0]. None where it is not whole."""
    if at + _FRAME.size > len(data):
        return None
    length, checksum = _FRAME.unpack_from(data, at)
    begin, end = at + _FRAME.size, at + _FRAME.size + length
    if length < _HEAD.size or end > len(data) or zlib.crc32(memoryview(data)[begin:end]) != checksum:
        return None
    names, keys, flags = _HEAD.unpack_from(data, begin)
    begin += _HEAD.size
    topic = data[begin : begin + names].decode()
    key = data[begin + names : begin + names + keys]
    return Record(topic, key, data[begin + names + keys : end], bool(flags & _MAYBE_REPEAT), start + end)


def frame_length(data: bytes, at: int) -> int | None:
    """How many bytes the frame at data[at:] takes; None where its beginning is not there."""
    return None if at + _FRAME.size > len(data) else _FRAME.size + int(_FRAME.unpack_from(data, at)[0])
