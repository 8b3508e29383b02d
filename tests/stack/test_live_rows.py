"""The reader behind every screen: whatever Kafka has, it goes on, or says why it can't."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from queue import Queue
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaProducer, TopicPartition

from agentmon.live import rows as live_rows
from agentmon.live.client import Connection, client_config, open_consumer
from agentmon.live.echo import listening
from agentmon.live.rows import LiveReader, Received
from agentmon.live.topics import TopicSpec, ensure
from agentmon.settings import Settings


def until_row(received: Queue[Received]) -> list[dict[str, Any]]:
    while not (rows := received.get(timeout=30).rows):
        pass
    return rows


@pytest.fixture
def topic(connection: Connection) -> str:
    """A topic that takes any timestamp, as those of older brokers do."""
    name = f"agent.live.{uuid4().hex}"
    ensure(connection, [TopicSpec(name, 1, 1, {"message.timestamp.after.max.ms": str(2**63 - 1)})])
    return name


def send(settings: Settings, topic: str, timestamp_ms: int | None = None) -> None:
    producer = KafkaProducer(**client_config(settings))
    producer.send(topic, b"{}", timestamp_ms=timestamp_ms).get(30)
    producer.close()


@pytest.mark.parametrize("timestamp_ms", [2**62, 253_402_300_800_000])
def test_a_timestamp_beyond_the_year_9999_is_none(broker: Settings, topic: str, timestamp_ms: int) -> None:
    send(broker, topic, timestamp_ms)
    received: Queue[Received] = Queue()
    reader = LiveReader(broker, received.put, {(topic, 0): 0})
    reader.start()
    try:
        assert [row["kafka_timestamp"] for row in until_row(received)] == [None]
    finally:
        reader.stop()


def test_what_else_ends_it_is_told_and_it_begins_anew(broker: Settings, topic: str) -> None:
    send(broker, topic)
    received: Queue[Received] = Queue()
    broken = iter([ValueError("no such year")])

    def deliver(got: Received) -> None:
        if got.rows and (error := next(broken, None)):
            raise error
        received.put(got)

    reader = LiveReader(broker, deliver, {(topic, 0): 0})
    reader.start()
    try:
        while not (away := received.get(timeout=30).away):
            pass
        assert away == "what Kafka brought can't be read (ValueError: no such year)"
        while received.get(timeout=30).away:
            pass
    finally:
        reader.stop()


@contextmanager
def transactions(settings: Settings, topic: str) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(**client_config(settings), transactional_id=topic)
    producer.init_transactions()
    yield producer
    producer.close()


def begin(producer: KafkaProducer, topic: str, *agents: str) -> None:
    """Begin a transaction and have Kafka store a message of each agent."""
    producer.begin_transaction()
    for agent in agents:
        producer.send(topic, b'{"agent_id": "%s"}' % agent.encode())
    producer.flush()


def agents_until(received: Queue[Received], last: str) -> tuple[list[str], int]:
    """The agents of all rows until the last one has come, and how many offsets were skipped."""
    agents: list[str] = []
    skipped = 0
    until = time.monotonic() + 60
    while last not in agents:
        assert time.monotonic() < until, f"there came {agents}, not {last}; {skipped} skipped"
        look = received.get(timeout=30)
        agents += [row["agent_id"] for row in look.rows]
        skipped += look.skipped
    return agents, skipped


def test_what_was_aborted_never_shows(broker: Settings, topic: str) -> None:
    """Neither what was before the reader began nor what comes while it reads; a transaction shows once it is committed."""
    received: Queue[Received] = Queue()
    reader = LiveReader(broker, received.put, {(topic, 0): 0})
    with transactions(broker, topic) as producer:
        begin(producer, topic, "aborted before")
        producer.abort_transaction()
        begin(producer, topic, "before")
        producer.commit_transaction()
        reader.start()
        try:
            assert agents_until(received, "before") == (["before"], 0)
            begin(producer, topic, "aborted")
            producer.abort_transaction()
            begin(producer, topic, "one", "two")
            producer.commit_transaction()
            assert agents_until(received, "two") == (["one", "two"], 0)
        finally:
            reader.stop()


def test_messages_behind_an_open_transaction_are_not_skipped(
    broker: Settings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait in Kafka, not for a reader that is too slow."""
    monkeypatch.setattr(live_rows, "FALLEN_BEHIND", 5)
    monkeypatch.setattr(live_rows, "CATCH_UP", 2)
    received: Queue[Received] = Queue()
    reader = LiveReader(broker, received.put, {(topic, 0): 0})
    behind = [f"behind {number}" for number in range(4)]
    with transactions(broker, topic) as producer, transactions(broker, f"{topic}.other") as other:
        begin(producer, topic, "0")
        producer.commit_transaction()
        begin(producer, topic, *map(str, range(1, 6)))
        begin(other, topic, *behind)
        other.commit_transaction()
        reader.start()
        try:
            assert agents_until(received, "0") == (["0"], 0)
            producer.abort_transaction()
            assert agents_until(received, behind[-1]) == (behind, 0)
        finally:
            reader.stop()


def test_a_reader_that_has_fallen_behind_skips_to_the_newest_committed(
    broker: Settings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read 0; 1 to 11 are committed, 13 to 32 are open."""
    monkeypatch.setattr(live_rows, "FALLEN_BEHIND", 5)
    monkeypatch.setattr(live_rows, "CATCH_UP", 2)
    place = TopicPartition(topic, 0)
    with transactions(broker, topic) as producer, closing(open_consumer(broker)) as consumer:
        begin(producer, topic, *map(str, range(12)))
        producer.commit_transaction()
        begin(producer, topic, *map(str, range(20)))
        consumer.assign([place])
        consumer.seek(place, 0)
        [[first]] = consumer.poll(30_000, max_records=1).values()
        assert live_rows._skip(consumer, place, first.offset) == 10
        assert consumer.position(place) == 11
        producer.abort_transaction()


def test_an_echo_is_of_committed_messages(broker: Settings, topic: str) -> None:
    send(broker, topic)
    with listening(broker, [topic]) as echo, transactions(broker, topic) as producer:
        begin(producer, topic, "aborted")
        producer.abort_transaction()
        begin(producer, topic, "committed")
        producer.commit_transaction()
        heard = next(filter(None, echo.messages(time.monotonic() + 30)))
        assert heard[3] == {"agent_id": "committed"}
