"""Kafka's messages by the hundred thousand: fetched a batch at a time, which Arrow then holds (live/batches.py).

kafka-python knows the brokers and talks to them; what they answer is taken as it is. There is no group, no thread, and nothing
is fetched that nobody asked for, but for the next answer while a backlog is worked on: it waits in the socket.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple, cast

import pyarrow as pa
from kafka import TopicPartition
from kafka.errors import KafkaError, for_code
from kafka.future import Future
from kafka.net import KafkaConnectionManager, NetworkSelector
from kafka.protocol.consumer import FetchRequest, FetchResponse

from agentmon.contracts.topics import Offsets, Place
from agentmon.errors import KafkaUnreachable
from agentmon.live.batches import SCHEMA, Batch, bytes_of, messages, split
from agentmon.live.client import client_config, makes_no_topics, may_pass, set_up_logging
from agentmon.settings import Settings

#: What one piece has at the most, bytes; one batch more where it ends within that.
_PIECE_BYTES = 32 * 1024 * 1024
#: What is fetched of a partition, and in all, bytes as Kafka keeps them. A broker sends one batch at least.
_PARTITION_BYTES, _ANSWER_BYTES = 1024 * 1024, 4 * 1024 * 1024
#: A broker's answer is so large at the most: what was asked for, and a batch of any size.
_LARGEST_ANSWER = 2**31 - 1
#: Messages of one Arrow batch; and one batch of Kafka's more.
_AT_ONCE = 10_000
_LOOK_S = 0.1
#: Until a broker is asked again that could not say, or where a partition is.
_PAUSE_S = 0.05
#: Between two attempts to connect, at the most: a broker that is back should be heard of at once.
_MOST_PAUSE_S = 1.0
#: Of Fetch: the first that names topics by ids, which not all brokers have, is the next.
_VERSION = 12
#: Kafka may be silent for so long where it is known to have more. A broker that is restarted takes less.
_PATIENCE_S = 30.0


class Fetched(NamedTuple):
    """A piece, with columns of SCHEMA; `is_full`: there may be more."""

    messages: pa.Table
    is_full: bool


class Fetcher:
    """Reads on from `start`, a next offset of each partition, in pieces of some `most` messages: they end with a batch."""

    def __init__(self, settings: Settings, start: Mapping[Place, int], most: int) -> None:
        set_up_logging(settings)
        self._settings = settings
        self._most = most
        self.position: Offsets = dict(start)
        self._fetched: Offsets = dict(start)  # what has come ends here
        self._ends: Offsets = {}  # what Kafka is known to have
        self._came: deque[Batch] = deque()
        self._waiting = 0  # bytes of these
        self._asked: dict[int, Future] = {}  # by broker
        self._network = NetworkSelector()
        self._brokers: KafkaConnectionManager | None = None
        self._not_before = 0.0
        self._trouble: BaseException | None = None

    def read(self, ends: Mapping[Place, int], stopping: Callable[[], bool]) -> Fetched:
        """What there is up to `ends`, and what has come beyond them meanwhile, as one piece: `position` is after it.

        It ends before where it is full, or once `stopping()`. A partition that was not there at the start is read from
        offset 0. Raises KafkaUnreachable where Kafka is silent, and kafka-python's error for what it says instead of
        messages, as of offsets that it has dropped.
        """
        self.position = {**dict.fromkeys(ends, 0), **self.position}
        self._fetched = {**self.position, **self._fetched}
        self._ends = {place: max(end, self._ends.get(place, 0)) for place, end in ends.items()}
        piece: list[pa.RecordBatch] = []
        rows = size = 0
        heard = time.monotonic()
        while not (is_full := rows >= self._most or size >= _PIECE_BYTES):
            self._ask()
            if self._came:
                part = self._take(self._most - rows)
                piece.append(part)
                rows, size = rows + len(part), size + bytes_of(part)
            elif not self._is_behind() or stopping():
                break
            elif self._listen(_LOOK_S):
                heard, self._trouble = time.monotonic(), None
            elif time.monotonic() > heard + _PATIENCE_S:
                raise self._silence()
        if is_full:
            self._ask()
        return Fetched(pa.Table.from_batches(piece, SCHEMA), is_full)

    def close(self) -> None:
        """Fetch no more."""
        if self._brokers is not None:
            self._brokers.close()
            self._network.drain()
        self._network.close()

    def _take(self, most: int) -> pa.RecordBatch:
        """The next messages, some `most` of them, and not so many bytes."""
        taken: list[Batch] = []
        left, left_bytes = min(most, _AT_ONCE), _PARTITION_BYTES
        while self._came and left > 0 and left_bytes > 0:
            batch = self._came.popleft()
            taken.append(batch)
            left, left_bytes = left - (batch.end - batch.start), left_bytes - len(batch.raw)
            self._waiting -= len(batch.raw)
            self.position[batch.place] = batch.end
        return messages(taken)

    def _is_behind(self) -> bool:
        """Whether Kafka has more than what has come."""
        return any(self._fetched[place] < end for place, end in self._ends.items())

    def _ask(self) -> None:
        """Ask each broker for what its partitions have next: before all is taken that has come, if there is more."""
        if not self._is_behind() or self._waiting >= _ANSWER_BYTES or time.monotonic() < self._not_before:
            return
        brokers = self._open()
        brokers.cluster.set_topics([*{topic for topic, _ in self._fetched}])
        asked: dict[int, list[tuple[Place, int]]] = defaultdict(list)
        for place, offset in self._fetched.items():
            leader = brokers.cluster.leader_for_partition(TopicPartition(*place))
            if leader is None or leader < 0:
                self._look_again()
            elif leader not in self._asked:
                asked[leader].append((place, offset))
        for leader, offsets in asked.items():
            try:
                self._asked[leader] = brokers.send(_request(offsets), leader)
            except KafkaError as error:
                self._wait_or_raise(error)
        if asked:  # the first step notes that there is something to write, the second writes it
            self._network.poll(timeout_ms=0)
            self._network.poll(timeout_ms=0)

    def _listen(self, timeout_s: float) -> bool:
        """Take what brokers have answered so far, or within this time; whether there were messages."""
        end = time.monotonic() + timeout_s
        before = len(self._came)
        while True:
            if not self._asked:  # where partitions are is not known yet, or asking again has to wait
                self._network.poll(timeout_ms=_PAUSE_S * 1000)
                return False
            self._network.poll(timeout_ms=max(0.0, end - time.monotonic()) * 1000)
            answered = [leader for leader, answer in self._asked.items() if answer.is_done]
            for leader in answered:
                answer = self._asked.pop(leader)
                if answer.exception is None:
                    self._hear(cast(FetchResponse, answer.value))
                else:
                    self._wait_or_raise(answer.exception)
            if answered or time.monotonic() >= end:
                return len(self._came) > before

    def _hear(self, answer: FetchResponse) -> None:
        for topic in answer.responses:
            for told in topic.partitions:
                place = (topic.topic, told.partition_index)
                if told.error_code:
                    error = for_code(told.error_code)
                    self._wait_or_raise(error(f"{place[0]}/{place[1]} at {self._fetched[place]}"))
                    continue
                self._ends[place] = max(self._ends.get(place, 0), told.high_watermark)
                came = [*split(place, self._fetched[place], cast(bytes | None, told.records))]
                if came:
                    self._came += came
                    self._waiting += sum(len(batch.raw) for batch in came)
                    # To the end of the line: a broker looks at partitions in our order, until the answer is full.
                    del self._fetched[place]
                    self._fetched[place] = came[-1].end

    def _wait_or_raise(self, error: BaseException) -> None:
        """Ask again in a moment where waiting can help: a broker that is restarted, a partition that moves."""
        if not may_pass(error, has_answered=True):
            raise error
        self._trouble = error
        self._look_again()

    def _look_again(self) -> None:
        """Ask where the partitions are, and for nothing else for a moment."""
        assert self._brokers is not None
        self._brokers.cluster.request_update()
        self._not_before = time.monotonic() + _PAUSE_S

    def _open(self) -> KafkaConnectionManager:
        if self._brokers is None:
            self._brokers = KafkaConnectionManager(
                self._network,
                **client_config(self._settings),
                receive_message_max_bytes=_LARGEST_ANSWER,
                reconnect_backoff_max_ms=round(_MOST_PAUSE_S * 1000),
            )
            makes_no_topics(self._brokers.cluster)
        return self._brokers

    def _silence(self) -> KafkaUnreachable:
        why = "" if self._trouble is None else f" ({self._trouble})"
        return KafkaUnreachable(
            f"Kafka at {self._settings.bootstrap} has more messages, but sent none for {_PATIENCE_S:.0f} s{why}: the job goes on when it does"
        )


def _request(offsets: Sequence[tuple[Place, int]]) -> FetchRequest:
    """For what these partitions have from there on, in this order."""
    topics = [
        FetchRequest.FetchTopic(
            topic=topic,
            partitions=[
                FetchRequest.FetchTopic.FetchPartition(
                    partition=partition, fetch_offset=offset, partition_max_bytes=_PARTITION_BYTES
                )
                for (_, partition), offset in some
            ],
        )
        for topic, some in groupby(offsets, lambda entry: entry[0][0])
    ]
    return FetchRequest(
        max_wait_ms=round(_LOOK_S * 1000),
        min_bytes=1,
        max_bytes=_ANSWER_BYTES,
        isolation_level=0,  # aborted transactions too: their offsets are accounted for
        topics=topics,
        max_version=_VERSION,
    )
