"""Topics and offsets, asked of a real broker."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from agentmon.errors import KafkaUnreachable
from agentmon.live import offsets
from agentmon.live.client import Connection
from agentmon.live.topics import TopicSpec, describe, ensure, wanted_topics
from agentmon.settings import Settings
from agentmon.stack.addresses import free_port


def test_wanted_topics_are_made_once(connection: Connection) -> None:
    ensure(connection, wanted_topics())
    again = ensure(connection, wanted_topics())
    assert [(report.created, report.drift) for report in again] == [(False, ())] * 6
    found = describe(connection).topics
    assert {spec.name: found[spec.name].partitions for spec in wanted_topics()} == {
        "agent.actions": 3,
        "agent.thoughts": 3,
        "agent.learning": 1,
        "agent.metrics": 1,
        "agent.monitor.frontend": 1,
        "agent.rl.vectorized": 1,
    }


def test_no_message_that_the_broker_takes_is_too_large_for_the_job(connection: Connection) -> None:
    names = [spec.name for spec in wanted_topics()]
    ensure(connection, wanted_topics())
    told = connection.ask(
        lambda client: client.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, name) for name in names], config_filter="all"
        )
    )["topic"]
    assert all(int(told[name]["max.message.bytes"]["value"]) <= Settings().max_message_bytes for name in names)


def test_drift_is_reported_and_left_alone(connection: Connection, new_topic: Callable[..., str]) -> None:
    name = new_topic(partitions=2)
    wanted = TopicSpec(name, 3, 1, {"retention.ms": "1000", "compression.type": "producer"})
    for _ in range(2):
        [report] = ensure(connection, [wanted])
        assert report.created is False
        assert report.drift == ("partitions is 2, not 3", "retention.ms is 604800000, not 1000")


def test_topic_made_anew_has_another_id(connection: Connection, new_topic: Callable[..., str]) -> None:
    name = new_topic()
    first = describe(connection).topics[name].topic_id
    connection.ask(lambda client: client.delete_topics([name]))
    end = time.monotonic() + 60
    while name in describe(connection).topics:
        assert time.monotonic() < end
        time.sleep(0.05)
    ensure(connection, [TopicSpec(name, 1, 1)])
    second = describe(connection).topics[name].topic_id
    assert len(first) == len(second) == 22
    assert first != second


def test_internal_topics_are_left_out(connection: Connection, new_topic: Callable[..., str]) -> None:
    offsets.commit_group(connection, "makes-the-internal-topic", {(new_topic(), 0): 0})
    assert not [name for name in describe(connection).topics if name.startswith("__")]


def test_groups_offsets_are_noted_without_joining(connection: Connection, new_topic: Callable[..., str]) -> None:
    name = new_topic(partitions=2)
    assert offsets.beginning_and_end(connection, {name: 2}) == {(name, 0): (0, 0), (name, 1): (0, 0)}
    offsets.commit_group(connection, name, {(name, 0): 3, (name, 1): 5})
    offsets.commit_group(connection, name, {(name, 0): 4})
    assert offsets.committed(connection, name) == {(name, 0): 4, (name, 1): 5}


def test_nothing_listening_is_one_line() -> None:
    settings = Settings(kafka_bootstrap_servers=f"localhost:{free_port()}")
    with Connection(settings) as connection, pytest.raises(KafkaUnreachable, match="agentmon up") as caught:
        describe(connection)
    assert "\n" not in str(caught.value)
