"""Kafka's record batches as Arrow: what kafka-python's own reader says of them, one record after another."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.record import MemoryRecords, MemoryRecordsBuilder

from agentmon.live.batches import SCHEMA, bytes_of, messages, split

PLACE = ("agent.x", 3)
NO_TIME, APPEND_TIME, ATTRIBUTES = -1, 0x08, ">h"
ATTRIBUTES_AT, LAST_MS_AT = 21, 35

some_bytes = st.none() | st.binary(max_size=300)
headers = st.lists(st.tuples(st.text(max_size=20), some_bytes), max_size=3)
times = st.integers(0, 2**47)
records = st.lists(st.tuples(times, some_bytes, some_bytes, headers, st.integers(0, 200)), min_size=1, max_size=20)


def batch(magic: int, codec: int, base: int, some: list[tuple[Any, ...]]) -> bytes:
    """One batch of these records; the last number of each is how many offsets before it have no record."""
    builder = MemoryRecordsBuilder(magic, codec, 10_000_000, offset=base)
    for ms, key, value, told, gap in some:
        builder.skip(gap if magic == 2 else 0)
        builder.append(ms, key, value, told if magic == 2 else [])
    builder.close()
    made = bytearray(builder.buffer())
    if magic < 2 and codec:  # a message that wraps all others: a broker gives it the offset of the last
        struct.pack_into(">q", made, 0, base + len(some) - 1)
    return bytes(made)


def one_by_one(raw: bytes, start: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "key": record.key,
            "value": record.value,
            "topic": PLACE[0],
            "partition": PLACE[1],
            "offset": record.offset,
            "timestamp_us": None if record.timestamp in (None, NO_TIME) else record.timestamp * 1000,
            "headers": [{"key": key, "value": value} for key, value in record.headers] or None,
        }
        for found in MemoryRecords(raw)
        for record in found
        if record.offset >= start
    ]


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.integers(0, 4), records), max_size=4), st.integers(0, 500))
def test_all_at_once_says_what_one_by_one_does(parts: list[Any], start: int) -> None:
    raw, base = b"", 0
    for magic, codec, some in parts:
        raw += batch(magic, codec if magic == 2 else min(codec, 2), base, some)
        base += sum(1 + gap for *_, gap in some)
    found = [*split(PLACE, start, raw)]
    rows = messages(found)
    assert rows.schema == SCHEMA
    assert sorted(rows.to_pylist(), key=lambda row: row["offset"]) == one_by_one(raw, start)
    assert bytes_of(rows) == sum(len(value or b"") for value in rows["value"].to_pylist())
    assert [one.start for one in found] == [start, *(one.end for one in found[:-1])][: len(found)]


@given(records, records, st.integers(1, 5_000))
def test_a_batch_that_was_cut_off_waits_for_the_next_answer(first: list[Any], second: list[Any], missing: int) -> None:
    whole = batch(2, 0, 0, first)
    end = one_by_one(whole)[-1]["offset"] + 1
    cut = batch(2, 0, end, second)
    found = [*split(PLACE, 0, whole + cut[: -min(missing, len(cut))])]
    assert [one.end for one in found] == [end]
    assert messages(found).to_pylist() == one_by_one(whole)
    assert [*split(PLACE, 0, whole[: -min(missing, len(whole))])] == []


def test_the_brokers_time_stands_for_all_of_a_batch_where_the_topic_has_it_so() -> None:
    raw = bytearray(batch(2, 4, 0, [(5, None, b"{}", [], 0), (7, None, b"{}", [], 0)]))
    (attributes,) = struct.unpack_from(ATTRIBUTES, raw, ATTRIBUTES_AT)
    struct.pack_into(ATTRIBUTES, raw, ATTRIBUTES_AT, attributes | APPEND_TIME)
    struct.pack_into(">q", raw, LAST_MS_AT, 1_700_000_000_000)
    rows = messages([*split(PLACE, 0, raw)])
    assert rows["timestamp_us"].to_pylist() == [1_700_000_000_000_000] * 2


def test_a_message_without_a_time_has_none() -> None:
    raw = bytearray(batch(2, 0, 0, [(0, b"k", b"{}", [], 0)]))
    struct.pack_into(">qq", raw, LAST_MS_AT - 8, NO_TIME, NO_TIME)
    assert messages([*split(PLACE, 0, raw)])["timestamp_us"].to_pylist() == [None]


@pytest.mark.parametrize("magic", [1, 2])
@pytest.mark.parametrize("ms", [253_402_300_800_000, 2**62])
def test_a_time_that_no_calendar_has_is_none(magic: int, ms: int) -> None:
    rows = messages([*split(PLACE, 0, batch(magic, 0, 0, [(ms, None, b"{}", [], 0)]))])
    assert rows["timestamp_us"].to_pylist() == [None]


def test_nothing_is_nothing() -> None:
    assert [*split(PLACE, 0, None)] == []
    assert messages([]).num_rows == bytes_of(messages([])) == 0


@given(records, st.lists(st.tuples(st.integers(61, 20_000), st.integers(0, 255)), min_size=1, max_size=5))
def test_a_damaged_batch_is_an_error_or_rows_never_a_crash(some: list[Any], damage: list[tuple[int, int]]) -> None:
    raw = bytearray(batch(2, 0, 0, some))
    for at, byte in damage:
        raw[61 + at % (len(raw) - 61)] = byte
    try:
        rows = messages([*split(PLACE, 0, raw)])
    except (ValueError, IndexError):
        return
    rows.validate(full=True)
    assert rows.num_rows <= len(some)


def test_a_codec_that_nobody_knows_is_named() -> None:
    raw = bytearray(batch(2, 0, 0, [(0, None, b"{}", [], 0)]))
    struct.pack_into(ATTRIBUTES, raw, ATTRIBUTES_AT, 5)
    with pytest.raises(ValueError, match=r"agent.x/3 at 0: .*codec 5"):
        messages([*split(PLACE, 0, raw)])
