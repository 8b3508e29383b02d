"""Kafka's record batches → Arrow, all records of many batches at once.

Clients make an object of each message: that is most of what a message costs them. Here Python only walks from one record's
length to the next; numpy reads what lies between.

Source: Kafka's documentation, "Message Format" (record batch of magic 2, record, varint). What is older (magic 0 and 1) is left to
kafka-python.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from kafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from kafka.record import MemoryRecords
from kafka.record.util import decode_varint

from agentmon.contracts.topics import Place

#: A message as Kafka has it; timestamp_us is null where it has none.
SCHEMA = pa.schema(
    {
        "key": pa.binary(),
        "value": pa.binary(),
        "topic": pa.string(),
        "partition": pa.int32(),
        "offset": pa.int64(),
        "timestamp_us": pa.int64(),
        "headers": pa.list_(pa.struct({"key": pa.string(), "value": pa.binary()})),
    }
)

#: base offset, length after it, leader's epoch, magic, CRC, attributes, last offset's delta, first and last timestamp (ms),
#: producer's id and epoch, first sequence number, number of records
_HEAD = struct.Struct(">qiibIhiqqqhii")
_BEFORE_LENGTH = 12  # bytes: base offset and length
_MAGIC_AT = 16
_CODEC, _APPEND_TIME, _CONTROL = 0x07, 0x08, 0x20  # in attributes
_DECODE = {1: gzip_decode, 2: snappy_decode, 3: lz4_decode, 4: zstd_decode}
_NO_TIME = -1
_MOST_BYTES = 2**31 - 1  # that an array of Arrow's can tell places in
#: Milliseconds of the years that a datetime has: any other time is none.
_TIMES_MS = (-62_135_596_800_000, 253_402_300_799_999)
#: Of a record's pieces: what comes before its key, the key, what comes before its value, the value.
_KEY, _VALUE, _PIECES = 1, 3, 4

Numbers = Any  # an array of numpy's, of whole numbers


class Batch(NamedTuple):
    """A record batch as it came; of its offsets those from `start` on count, and `end` is the next one after it."""

    place: Place
    start: int
    end: int
    raw: memoryview


def split(place: Place, start: int, came: bytes | bytearray | memoryview | None) -> Iterator[Batch]:
    """The batches of a partition's answer that have offsets from `start` on; one that was cut off at the end is left out.

    Raises struct.error for one that is shorter than its head.
    """
    whole = memoryview(came or b"")
    at = 0
    while at + _MAGIC_AT < len(whole):
        base, length = struct.unpack_from(">qi", whole, at)
        raw = whole[at : (at := at + _BEFORE_LENGTH + length)]
        if len(raw) < _BEFORE_LENGTH + length:
            return
        # Of the old formats the offset is that of the last record.
        end = base + 1 + (_HEAD.unpack_from(raw)[6] if raw[_MAGIC_AT] >= 2 else 0)
        if end > start:
            yield Batch(place, start, end, raw)
            start = end


def messages(batches: Sequence[Batch]) -> pa.RecordBatch:
    """All messages of these batches, with the columns of SCHEMA; markers of transactions are none.

    Raises ValueError, IndexError or struct.error where a batch is damaged, or compressed in a way that is not known, and
    what its decoder raises.
    """
    old = [batch for batch in batches if batch.raw[_MAGIC_AT] < 2]
    found = _read(_opened([batch for batch in batches if batch.raw[_MAGIC_AT] >= 2]))
    return pa.concat_batches([found, *map(_old, old)]) if old else found


def bytes_of(batch: pa.RecordBatch) -> int:
    """Bytes of the values."""
    _, offsets, _ = batch.column("value").buffers()
    return int(np.frombuffer(offsets, np.int32)[len(batch)]) if len(batch) else 0


class _Opened(NamedTuple):
    """Batches without their heads and compression, one after another, and where each record begins, after its length."""

    data: bytes
    begins: list[int]
    heads: list[tuple[int, ...]]  # base offset, first timestamp, time of appending, records, start
    places: list[Place]


def _opened(batches: Sequence[Batch]) -> _Opened:
    bodies: list[Any] = []
    found = _Opened(b"", [], [], [])
    at = 0
    for batch in batches:
        base, _, _, _, _, attributes, _, first_ms, last_ms, *_, count = _HEAD.unpack_from(batch.raw)
        if attributes & _CONTROL or count <= 0:
            continue
        body = _body(batch, attributes & _CODEC)
        _walk(body, at, count, found.begins)
        at += len(body)
        bodies.append(body)
        found.heads.append((base, first_ms, last_ms if attributes & _APPEND_TIME else _NO_TIME, count, batch.start))
        found.places.append(batch.place)
    return found._replace(data=b"".join(bodies))


def _body(batch: Batch, codec: int) -> Any:
    body = batch.raw[_HEAD.size :]
    if not codec:
        return body
    if codec not in _DECODE:
        topic, partition = batch.place
        raise ValueError(f"{topic}/{partition} at {batch.start}: compressed with codec {codec}, which nobody knows")
    return _DECODE[codec](bytes(body))


def _read(opened: _Opened) -> pa.RecordBatch:
    if not opened.heads:
        return pa.RecordBatch.from_pylist([], SCHEMA)
    heads = np.array(opened.heads, np.int64)
    records = heads[:, 3]
    base, first_ms, append_ms, _, start = np.repeat(heads, records, axis=0).T
    text = np.frombuffer(opened.data, np.uint8)
    ms, at = _varints(text, np.array(opened.begins, np.int64) + 1)  # after one byte of attributes, not in use
    offset, at = _varints(text, at)
    key_length, key_at = _varints(text, at)
    key_end = key_at + np.maximum(key_length, 0)
    value_length, value_at = _varints(text, key_end)
    value_end = value_at + np.maximum(value_length, 0)
    headers, headers_at = _varints(text, value_end)
    ms = np.where(append_ms != _NO_TIME, append_ms, first_ms + ms)
    offset += base
    ends = np.zeros(_PIECES * len(base) + 1, np.int32)
    ends[1:] = np.stack([key_at, key_end, value_at, value_end], axis=1).ravel()
    if len(opened.data) > _MOST_BYTES or ends[-1] > len(opened.data) or (np.diff(ends) < 0).any():
        # Arrow trusts us.
        raise ValueError(f"batches of {sorted(set(opened.places))} hold records that do not fit into them")
    pieces = pa.Array.from_buffers(pa.binary(), len(ends) - 1, [None, pa.py_buffer(ends), pa.py_buffer(opened.data)])
    firsts = np.arange(0, len(ends) - 1, _PIECES)
    topics, partitions = zip(*opened.places, strict=True)
    which = pa.array(np.repeat(np.arange(len(heads), dtype=np.int32), records))
    found = pa.RecordBatch.from_arrays(
        [
            pieces.take(pa.array(firsts + _KEY, mask=key_length < 0)),
            pieces.take(pa.array(firsts + _VALUE, mask=value_length < 0)),
            pa.array(topics, pa.string()).take(which),
            pa.array(partitions, pa.int32()).take(which),
            pa.array(offset),
            pa.array(ms * 1000, mask=(ms == _NO_TIME) | (ms < _TIMES_MS[0]) | (ms > _TIMES_MS[1])),
            _headers(opened.data, headers, headers_at),
        ],
        schema=SCHEMA,
    )
    is_wanted = offset >= start
    return found if is_wanted.all() else found.filter(pa.array(is_wanted))


def _walk(body: Any, at: int, count: int, begins: list[int]) -> None:
    """Adds where each of the records begins, after its length, a varint; `at`: where the body itself does."""
    add = begins.append
    here = 0
    for _ in range(count):
        length = body[here]
        here += 1
        if length > 127:
            length &= 127
            shift = 7
            while (more := body[here]) > 127:
                length |= (more & 127) << shift
                shift += 7
                here += 1
            length |= more << shift
            here += 1
        add(at + here)
        here += length >> 1  # zigzag, of a number that is not negative


def _varints(text: Numbers, at: Numbers) -> tuple[Numbers, Numbers]:
    """Zigzag varints: the number at each position, and the position after it."""
    byte = text[at].astype(np.int64)
    found = byte & 127
    at = at + 1
    shift = 7
    more = np.flatnonzero(byte > 127)
    while len(more):
        byte = text[at[more]].astype(np.int64)
        found[more] |= (byte & 127) << shift
        at[more] += 1
        shift += 7
        more = more[byte > 127]
    return (found >> 1) ^ -(found & 1), at


def _headers(data: bytes, counts: Numbers, at: Numbers) -> pa.Array:
    type_ = SCHEMA.field("headers").type
    if not counts.any():
        return pa.nulls(len(counts), type_)
    found: list[list[tuple[str, bytes | None]] | None] = [None] * len(counts)
    for row in np.flatnonzero(counts).tolist():
        here = int(at[row])
        told = []
        for _ in range(int(counts[row])):
            name, here = _bytes(data, here)
            value, here = _bytes(data, here)
            told.append(((name or b"").decode(errors="replace"), value))
        found[row] = told
    return pa.array(found, type_)


def _bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    """What follows its length; none where that is negative."""
    length, at = decode_varint(data, at)
    return (None, at) if length < 0 else (data[at : at + length], at + length)


def _old(batch: Batch) -> pa.RecordBatch:
    """One of the formats before magic 2, whose message may be a whole compressed set."""
    rows = [
        {
            "key": record.key,
            "value": record.value,
            "topic": batch.place[0],
            "partition": batch.place[1],
            "offset": record.offset,
            "timestamp_us": _microseconds(record.timestamp),
        }
        for record in MemoryRecords(batch.raw.tobytes()).next_batch()
        if record.offset >= batch.start
    ]
    return pa.RecordBatch.from_pylist(rows, SCHEMA)


def _microseconds(ms: int | None) -> int | None:
    return None if ms in (None, _NO_TIME) or not _TIMES_MS[0] <= ms <= _TIMES_MS[1] else ms * 1000
