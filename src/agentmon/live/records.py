"""Which offsets have a committed record, and when the oldest unread one was sent: read from Kafka, without a group."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from agentmon.contracts.topics import Place
from agentmon.live.client import open_consumer, set_up_logging, unreachable
from agentmon.settings import Settings

Ranges = list[tuple[int, int]]

#: Reading on over so many offsets costs less than asking anew.
_NEAR = 2_000
_POLL_MS = 200


def records_within(settings: Settings, place: Place, ranges: Ranges, timeout_s: float) -> tuple[Ranges, Ranges]:
    """(offsets of `ranges` that have a record, the part of `ranges` that was read); ranges are [start, end), in order.

    No record: markers, messages of aborted transactions, what compaction removed. Reading ends after `timeout_s`, and
    at the first open transaction: whether its messages are records is not decided. Raises KafkaUnreachable.
    """
    records: Ranges = []
    read: Ranges = []
    end_of_time = time.monotonic() + timeout_s
    if timeout_s <= 0:
        return records, read
    with _consumer(settings) as consumer:
        partition = TopicPartition(*place)
        consumer.assign([partition])
        at: int | None = None
        for start, end in _common(ranges, [(0, _stable_end(consumer, partition, timeout_s))]):
            if at is None or start > at + _NEAR:
                consumer.seek(partition, start)
                at = start
            while at < end and time.monotonic() < end_of_time:
                for record in consumer.poll(_POLL_MS).get(partition, []):
                    _add(records, record.offset)
                at = consumer.position(partition)  # also past offsets that poll() has no record for
            if at > start:
                read.append((start, min(at, end)))
            if at < end:
                break
    return _common(records, read), read


def sent_at(settings: Settings, positions: Mapping[Place, int], timeout_s: float = 3.0) -> float | None:
    """When the oldest committed record at or after these positions was sent, seconds since 1970.

    None where none is there, or does not come in time. Raises KafkaUnreachable.
    """
    oldest: dict[Place, float] = {}
    with _consumer(settings) as consumer:
        end_of_time = time.monotonic() + timeout_s
        waiting = {TopicPartition(*place): offset for place, offset in positions.items()}
        consumer.assign(list(waiting))
        for partition, offset in waiting.items():
            consumer.seek(partition, offset)
        while waiting and time.monotonic() < end_of_time:
            for partition, records in consumer.poll(_POLL_MS, max_records=1).items():
                oldest[partition.topic, partition.partition] = records[0].timestamp / 1000
                waiting.pop(partition, None)
                consumer.pause(partition)
    return min(oldest.values(), default=None)


@contextmanager
def _consumer(settings: Settings) -> Iterator[KafkaConsumer]:
    set_up_logging(settings)
    try:
        consumer = open_consumer(
            settings, auto_offset_reset="earliest",
            check_crcs=False, request_timeout_ms=10_000, bootstrap_timeout_ms=10_000,
        )  # fmt: skip
    except (KafkaError, OSError) as error:
        raise unreachable(settings.bootstrap, error) from error
    try:
        yield consumer
    except (KafkaError, OSError) as error:
        raise unreachable(settings.bootstrap, error) from error
    finally:
        consumer.close()


def _stable_end(consumer: KafkaConsumer, partition: TopicPartition, timeout_s: float) -> int:
    """Kafka's last stable offset: the first one that a reader of committed messages gets no further than.

    0 where Kafka does not answer in time.
    """
    try:
        return int(consumer.end_offsets([partition], timeout_ms=timeout_s * 1000)[partition])
    except KafkaTimeoutError:
        return 0


def _add(ranges: Ranges, offset: int) -> None:
    if ranges and ranges[-1][1] == offset:
        ranges[-1] = (ranges[-1][0], offset + 1)
    else:
        ranges.append((offset, offset + 1))


def _common(ranges: Ranges, wanted: Ranges) -> Ranges:
    """The parts of `ranges` that lie in `wanted`; both in order."""
    common, at = [], 0
    for start, end in wanted:
        while at < len(ranges) and ranges[at][1] <= start:
            at += 1
        look = at
        while look < len(ranges) and ranges[look][0] < end:
            common.append((max(start, ranges[look][0]), min(end, ranges[look][1])))
            look += 1
    return common
