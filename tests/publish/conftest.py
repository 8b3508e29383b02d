"""A broker with the usual topics, and a look at what is in them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from agentmon.contracts.topics import MAYBE_REPEAT
from agentmon.live.client import Connection, client_config
from agentmon.live.topics import ensure, wanted_topics
from agentmon.settings import Settings

#: (topic, *more) of one agent: messages in order of partition and offset; `_marked` on those that may be repeats.
Published = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def topics(connection: Connection) -> None:
    """The topics of conf/topics.json on the session's broker."""
    ensure(connection, wanted_topics())


@pytest.fixture
def settings(home_settings: Settings, topics: None) -> Settings:
    """What a publisher on the session's broker is given."""
    return home_settings


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An agent's project folder."""
    folder = tmp_path / "myagent"
    folder.mkdir()
    return folder


@pytest.fixture
def published(broker: Settings, topics: None) -> Published:
    """Everything that one agent has on a topic."""

    def read(topic: str, agent: str, at_least: int = 0) -> list[dict[str, Any]]:
        end = time.monotonic() + 20
        while True:
            found = [m for m in _all(broker, topic) if m.get("agent_id") == agent]
            if len(found) >= at_least or time.monotonic() > end:
                return found

    return read


def _all(settings: Settings, topic: str) -> list[dict[str, Any]]:
    consumer = KafkaConsumer(**client_config(settings), group_id=None, enable_auto_commit=False)
    places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    ends = consumer.end_offsets(places)
    found: list[Any] = []
    while any(consumer.position(place) < ends[place] for place in places):
        for records in consumer.poll(timeout_ms=500).values():
            found += records
    consumer.close()
    found.sort(key=lambda record: (record.partition, record.offset))
    return [
        json.loads(r.value) | {"_key": (r.key or b"").decode(), "_marked": MAYBE_REPEAT in dict(r.headers)}
        for r in found
    ]
