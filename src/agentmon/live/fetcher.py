"""Kafka's messages by the hundred thousand: librdkafka fetches ahead in threads of its own, and Arrow holds what came."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from agentmon.contracts.topics import Offsets, Place
from agentmon.errors import KafkaUnreachable
from agentmon.live.client import librdkafka_config, set_up_logging
from agentmon.settings import Settings

#: confluent_kafka.Message, which for its types might lack everything.
Message = Any

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

#: What one piece has at the most, bytes, and what is fetched ahead of it: a few of each are in memory at a time.
_PIECE_BYTES = 32 * 1024 * 1024
_AHEAD_BYTES = 32 * 1024 * 1024
#: Messages that become Python's objects in one go, with all other threads waiting.
_AT_ONCE = 1_000
#: Messages of one Arrow batch.
_BATCH = 10_000
_LOOK_S = 0.1
#: Kafka may be silent for so long where it is known to have more. A broker that is restarted takes less.
_PATIENCE_S = 30.0


class Fetched(NamedTuple):
    """A piece, with columns of SCHEMA; `is_full`: there may be more."""

    messages: pa.Table
    is_full: bool


class Fetcher:
    """Reads on from `start`, a next offset of each partition, in pieces of at most `most` messages."""

    def __init__(self, settings: Settings, start: Mapping[Place, int], most: int) -> None:
        set_up_logging(settings)
        self._settings = settings
        self._most = most
        self._assigned = False
        self.position: Offsets = dict(start)
        self._consumer = Consumer(
            {
                **librdkafka_config(settings),
                "group.id": settings.kafka_group_id,  # asked for, not joined
                "enable.auto.commit": False,
                "auto.offset.reset": "error",  # what is lost is for the user to accept
                "isolation.level": "read_uncommitted",
                "enable.partition.eof": True,  # tells of offsets without a message at the end of a partition
                "queued.max.messages.kbytes": _AHEAD_BYTES // 1024,
                "fetch.queue.backoff.ms": 10,
                # A broker that answers for each message takes a quarter more CPU at 1,000/s, and figures are no sooner.
                "fetch.wait.max.ms": 50,
                "fetch.min.bytes": 64 * 1024,
            },
            logger=logging.getLogger("kafka.librdkafka"),
        )

    def read(self, ends: Mapping[Place, int], stopping: Callable[[], bool]) -> Fetched:
        """What there is up to `ends`, and what has come beyond them meanwhile, as one piece: `position` is after it.

        It ends before where it is full, or once `stopping()`. A partition that was not there at the start is read from
        offset 0. Raises KafkaUnreachable where Kafka is silent, and KafkaException for what it says instead of
        messages, as of offsets that it has dropped.
        """
        self._assign(ends)
        piece, heard = _Piece(self._most), time.monotonic()
        while not piece.is_full:
            came = self._consumer.consume(min(_AT_ONCE, self._most - piece.rows), 0)
            if not came:
                if stopping() or all(self.position[place] >= end for place, end in ends.items()):
                    break
                came = self._consumer.consume(1, _LOOK_S)
            if came:
                heard = time.monotonic()
                self._take(came, piece)
            elif time.monotonic() > heard + _PATIENCE_S:
                raise KafkaUnreachable(
                    f"Kafka at {self._settings.bootstrap} has more messages, but sent none for {_PATIENCE_S:.0f} s: the job goes on when it does"
                )
        return Fetched(piece.table(), piece.is_full)

    def close(self) -> None:
        """Fetch no more."""
        self._consumer.close()

    def _assign(self, ends: Mapping[Place, int]) -> None:
        if not self._assigned or not self.position.keys() >= ends.keys():
            self.position = {**dict.fromkeys(ends, 0), **self.position}
            self._consumer.assign([TopicPartition(*place, offset) for place, offset in self.position.items()])
            self._assigned = True

    def _take(self, came: list[Message], piece: _Piece) -> None:
        told = [message for message in came if message.error() is not None]
        messages = [message for message in came if message.error() is None] if told else came
        piece.add(messages)
        self.position.update({(m.topic(), m.partition()): m.offset() + 1 for m in messages})
        for message in told:
            error = message.error()
            if error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            self.position[message.topic(), message.partition()] = message.offset()


class _Piece:
    """Messages that came one after another, until there are `most`, or _PIECE_BYTES of values."""

    def __init__(self, most: int) -> None:
        self.rows = 0
        self._most = most
        self._size = 0  # bytes
        self._messages: list[Message] = []
        self._batches: list[pa.RecordBatch] = []

    @property
    def is_full(self) -> bool:
        return self.rows >= self._most or self._size >= _PIECE_BYTES

    def add(self, messages: list[Message]) -> None:
        self._messages += messages
        self.rows += len(messages)
        self._size += sum(map(len, messages))
        if len(self._messages) >= _BATCH:
            self._make_batch()

    def table(self) -> pa.Table:
        self._make_batch()
        return pa.Table.from_batches(self._batches, SCHEMA)

    def _make_batch(self) -> None:
        if self._messages:
            self._batches.append(_batch(self._messages))
            self._messages = []


def _batch(messages: list[Message]) -> pa.RecordBatch:
    columns: list[list[Any]] = [
        [m.key() for m in messages],
        [m.value() for m in messages],
        [m.topic() for m in messages],
        [m.partition() for m in messages],
        [m.offset() for m in messages],
        [_microseconds(*m.timestamp()) for m in messages],
        [_headers(m) for m in messages],
    ]
    return pa.RecordBatch.from_arrays(
        [pa.array(c, t) for c, t in zip(columns, SCHEMA.types, strict=True)], schema=SCHEMA
    )


def _headers(message: Message) -> list[tuple[str, bytes | None]] | None:
    try:
        headers: list[tuple[str, bytes | None]] | None = message.headers()
    except SystemError:  # names that are not UTF-8, as Kafka's have to be: the client can't hand these out
        return [("\ufffd", None)]
    return headers


def _microseconds(kind: int, ms: int) -> int | None:
    return ms * 1000 if kind else None
