"""The reader behind every screen: whatever Kafka has, it goes on, or says why it can't."""

from __future__ import annotations

from queue import Queue
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaProducer

from agentmon.live.client import Connection, client_config
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
