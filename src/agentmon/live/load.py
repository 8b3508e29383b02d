"""Send a recording to Kafka: flat out, at a pace, or as if it happened now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaProducer
from kafka.errors import KafkaError

from agentmon.errors import KafkaUnreachable, UsageError
from agentmon.live.client import Connection, client_config, unreachable
from agentmon.live.recording import RecordedMessage, Summary, read, shifted, summarise, time_of
from agentmon.live.topics import describe
from agentmon.settings import Settings

#: Called with (sent so far, of so many).
Progress = Callable[[int, int], None]

_REPORT_EVERY = 1_000


@dataclass(frozen=True)
class Pace:
    """How fast to send, and whether times become today's."""

    speed: float | None = None
    rate: float | None = None
    now: bool = False

    def __post_init__(self) -> None:
        if self.speed is not None and self.rate is not None:
            raise UsageError("--speed and --rate can't be used together: choose one")
        for name, value in (("--speed", self.speed), ("--rate", self.rate)):
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(f"{name} {value:g} can't be used: it takes a number > 0")


def load(settings: Settings, path: Path, pace: Pace, progress: Progress | None = None) -> int:
    """Send every record and wait until Kafka has acknowledged all; how many.

    The record's Kafka timestamp is the moment of sending, not the event's time: Kafka's retention goes by it.
    Raises RecordingError before anything is sent where a line is damaged, and KafkaUnreachable.
    """
    summary = summarise(path, time.time() + settings.max_ahead_s)
    _check_topics(settings, summary.topics)
    # One amount for all, so that the last becomes now; with a pace each message takes its own moment.
    shift = time.time() - summary.last if pace.now and summary.last is not None and not _is_paced(pace) else None
    sender = _Sender(settings)
    sent = 0
    try:
        for record in _paced(read(path), pace, summary, sender):
            value = record.value
            if pace.now and _is_paced(pace):
                moment = time_of(value)
                value = shifted(value, time.time() - moment) if moment is not None else value
            elif shift is not None:
                value = shifted(value, shift)
            sender.send(RecordedMessage(record.topic, record.key, value))
            sent += 1
            if progress is not None and sent % _REPORT_EVERY == 0:
                progress(sent, summary.messages)
        sender.finish()
    finally:
        sender.close()
    if progress is not None:
        progress(sent, summary.messages)
    return sent


def _is_paced(pace: Pace) -> bool:
    return pace.speed is not None or pace.rate is not None


def _paced(
    records: Iterator[RecordedMessage], pace: Pace, summary: Summary, sender: _Sender
) -> Iterator[RecordedMessage]:
    """The records, each at its moment. Late is late: the pace is kept from the start, not from the last one."""
    start = time.monotonic()
    first: float | None = None
    for number, record in enumerate(records):
        due = 0.0
        if pace.rate is not None:
            due = number / pace.rate
        elif pace.speed is not None:
            moment = summary.time_of(record.value)
            if moment is not None:
                first = moment if first is None else first
                due = (moment - first) / pace.speed
        wait = start + due - time.monotonic()
        if wait > 0:
            sender.check()
            time.sleep(wait)
        yield record


class _Sender:
    """A producer that notices at once when Kafka refuses a message."""

    def __init__(self, settings: Settings) -> None:
        self._bootstrap = settings.bootstrap
        self._error: BaseException | None = None
        try:
            self._producer = KafkaProducer(
                **client_config(settings),
                compression_type="zstd",
                batch_size=256 * 1024,
                linger_ms=20,
                max_request_size=settings.max_message_bytes,
                max_block_ms=30_000,
            )
        except KafkaError as error:
            raise unreachable(self._bootstrap, error) from error

    def send(self, record: RecordedMessage) -> None:
        self.check()
        key = None if record.key is None else record.key.encode("utf-8", "surrogatepass")
        try:
            self._producer.send(record.topic, key=key, value=record.payload()).add_errback(self._note)
        except KafkaError as error:
            raise unreachable(self._bootstrap, error) from error

    def check(self) -> None:
        if self._error is not None:
            raise self._refused() from self._error

    def finish(self) -> None:
        """Wait for every acknowledgement."""
        try:
            self._producer.flush()
        except KafkaError as error:
            raise unreachable(self._bootstrap, error) from error
        self.check()

    def close(self) -> None:
        self._producer.close(timeout=10)

    def _note(self, error: BaseException) -> None:
        self._error = self._error or error

    def _refused(self) -> KafkaUnreachable:
        return KafkaUnreachable(
            f"Kafka at {self._bootstrap} did not take every message ({self._error}): see to it before you load"
            " again, as what it did take would be there twice"
        )


def _check_topics(settings: Settings, topics: frozenset[str]) -> None:
    """kafka-python would wait a minute for a topic that does not exist."""
    with Connection(settings) as connection:
        missing = sorted(topics - describe(connection).topics.keys())
    if missing:
        raise UsageError(
            f"Kafka at {settings.bootstrap} has no topic {', '.join(missing)}: run agentmon topics, or create it"
        )
