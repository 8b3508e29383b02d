"""Live rows of agent.* and live figures of agent.monitor.frontend, straight from Kafka: the reader of every screen.

Committed messages only. Without a group, so that two screens both see all. A Kafka that goes away is waited for; positions are kept, so that
nothing is left out when it is back. A reader that can't keep up skips ahead and says by how much.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from agentmon.contracts.message import Limits, read
from agentmon.contracts.topics import FRONTEND, Place, is_read
from agentmon.live.client import knock, open_consumer, set_up_logging, unreachable
from agentmon.settings import Settings

#: A partition's end is joined at most so far back, so that a long outage does not delay what happens now.
CATCH_UP = 500
#: Messages of one partition that may wait before the reader skips to the newest of them.
FALLEN_BEHIND = 20_000
_POLL_MS = 40
_TOPICS_EVERY_S = 5.0
_KNOCK_EVERY_S = 1.0


@dataclass(frozen=True)
class Figure:
    """One {type, data, id} of agent.monitor.frontend: learning_update, metrics_update or alert_update."""

    type: str
    data: Mapping[str, Any]


@dataclass
class Received:
    """What one look at Kafka brought; `away` says why Kafka can't be asked, None while it answers."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    skipped: int = 0
    dropped: int = 0
    away: str | None = None


class LiveReader:
    """Reads in a thread of its own and hands what it gets to `deliver`.

    `positions`: where to go on per (topic, partition), what the lake has by then; other partitions begin at their end.
    """

    def __init__(
        self, settings: Settings, deliver: Callable[[Received], None], positions: Mapping[Place, int] | None = None
    ) -> None:
        self._settings = settings
        self._limits = Limits(settings.max_message_bytes, settings.max_depth, settings.max_ahead_s)
        self._deliver = deliver
        self._positions = dict(positions or {})
        self._ending = Event()
        self._thread = Thread(target=self._run, name="live", daemon=True)
        self._joined: set[TopicPartition] = set()
        self._has_joined = False

    def start(self) -> None:
        """Begin to read."""
        set_up_logging(self._settings)
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for it."""
        self._ending.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._visit()
            except (KafkaError, OSError) as error:
                self._deliver(Received(away=str(unreachable(self._settings.bootstrap, error))))
            except Exception as error:  # noqa: BLE001 - else the screen would go on saying that it is live
                self._deliver(Received(away=f"what Kafka brought can't be read ({type(error).__name__}: {error})"))
            self._ending.wait(_KNOCK_EVERY_S)

    def _visit(self) -> None:
        """Read until Kafka goes away."""
        knock(self._settings.bootstrap)
        consumer = self._open()
        try:
            self._read(consumer)
        finally:
            with suppress(KafkaError, OSError):
                consumer.close()

    def _open(self) -> KafkaConsumer:
        return open_consumer(
            self._settings, auto_offset_reset="latest",
            check_crcs=False, fetch_max_wait_ms=100, fetch_min_bytes=1, max_poll_records=2_000,
            reconnect_backoff_max_ms=1_000, request_timeout_ms=10_000, bootstrap_timeout_ms=5_000,
        )  # fmt: skip

    def _read(self, consumer: KafkaConsumer) -> None:
        self._joined = set()
        topics_at = knocked_at = 0.0
        while not self._ending.is_set():
            now = time.monotonic()
            if now - topics_at > _TOPICS_EVERY_S:
                self._join(consumer)
                topics_at = now
                self._deliver(Received())
            polled = consumer.poll(_POLL_MS) if self._joined else self._wait()
            if polled:
                self._deliver(self._received(consumer, polled))
            elif now - knocked_at > _KNOCK_EVERY_S:
                knock(self._settings.bootstrap)  # a consumer whose broker is gone just says nothing
                knocked_at = now

    def _wait(self) -> dict[TopicPartition, list[Any]]:
        self._ending.wait(0.2)
        return {}

    def _join(self, consumer: KafkaConsumer) -> None:
        """Take in topics that are there by now: new ones from their beginning, the first ones from where they stand."""
        there = {
            TopicPartition(topic, number)
            for topic in consumer.topics()
            if is_read(topic) or topic == FRONTEND
            for number in consumer.partitions_for_topic(topic) or ()
        }
        fresh = there - self._joined
        if there == self._joined:
            return
        for place in self._joined - there:  # its topic was deleted: what comes back under its name begins anew
            self._positions.pop((place.topic, place.partition), None)
        kept = {place: consumer.position(place) for place in self._joined & there}
        consumer.assign(sorted(there))
        begins, ends = consumer.beginning_offsets(list(fresh)), consumer.end_offsets(list(fresh))
        skipped = 0
        for place in fresh:
            begin, end = begins[place], ends[place]
            known = self._positions.get((place.topic, place.partition), begin if self._has_joined else end)
            # Made anew since then: what the lake knew were offsets of another topic.
            wanted = begin if known > end else max(begin, known)
            start = max(wanted, end - CATCH_UP)
            if place.topic != FRONTEND:
                skipped += start - wanted
            consumer.seek(place, start)
            # Also of one that brings nothing: it goes on from here when Kafka is back, not from its beginning.
            self._positions[place.topic, place.partition] = start
        for place, position in kept.items():
            consumer.seek(place, position)
        self._joined, self._has_joined = there, True
        if skipped:
            self._deliver(Received(skipped=skipped))

    def _received(self, consumer: KafkaConsumer, polled: Mapping[TopicPartition, list[Any]]) -> Received:
        received = Received()
        taken = datetime.now(UTC)
        for place, records in polled.items():
            for record in records:
                if place.topic == FRONTEND:
                    figure = figure_of(record.value)
                    if figure is None:
                        received.dropped += 1
                    else:
                        received.figures.append(figure)
                else:
                    received.rows.append(self._row(record, taken))
            self._positions[place.topic, place.partition] = records[-1].offset + 1
            received.skipped += _skip(consumer, place, records[-1].offset)
        # Kafka hands over one partition after the other; a person reads in the order of sending.
        received.rows.sort(key=lambda row: row["kafka_timestamp"] or taken)
        return received

    def _row(self, record: Any, taken: datetime) -> dict[str, Any]:
        return read(
            record.value, key=record.key, topic=record.topic, partition=record.partition, offset=record.offset,
            kafka_timestamp=moment_of(record.timestamp), ingest_time=taken, limits=self._limits, headers=record.headers or (),
        )  # fmt: skip


def _skip(consumer: KafkaConsumer, place: TopicPartition, last: int) -> int:
    """Move a reader that has fallen behind to the newest committed messages; how many offsets after `last` that skips.

    What lies behind an open transaction is not skipped: no reader gets it yet.
    """
    if (consumer.highwater(place) or 0) - last <= FALLEN_BEHIND:
        return 0
    end = consumer.end_offsets([place])[place]
    if end - last <= FALLEN_BEHIND:
        return 0
    consumer.seek(place, end - CATCH_UP)
    return int(end - CATCH_UP - last - 1)


def moment_of(timestamp_ms: int) -> datetime | None:
    """Kafka's timestamp, in milliseconds, as a time; None where there is none, or it lies beyond the year 9999.

    >>> moment_of(1_763_000_004_100), moment_of(-1), moment_of(2**62)
    (datetime.datetime(2025, 11, 13, 2, 13, 24, 100000, tzinfo=datetime.timezone.utc), None, None)
    """
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC) if timestamp_ms > 0 else None
    except (ValueError, OverflowError, OSError):
        return None


def figure_of(value: bytes | None) -> Figure | None:
    """A figure of agent.monitor.frontend; None for rows, which come from agent.*, and for what is none of ours."""
    try:
        message = json.loads(value or b"")
        kind, data = message["type"], message["data"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    known = kind in ("learning_update", "metrics_update", "alert_update")
    return Figure(kind, data) if known and isinstance(data, dict) else None
