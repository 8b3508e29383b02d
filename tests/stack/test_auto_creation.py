"""Readers beside a broker that makes each topic that is asked for, as many do: one that was deleted stays away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from kafka import KafkaConsumer, TopicPartition

from agentmon.live.client import Connection, open_consumer
from agentmon.live.echo import listening
from agentmon.live.records import records_within
from agentmon.live.rows import LiveReader, Received
from agentmon.live.topics import TopicSpec, ensure
from agentmon.settings import Settings
from agentmon.stack import broker as broker_module
from agentmon.stack.addresses import LOOPBACK, free_port
from agentmon.stack.broker import Broker

GONE = "agent.gone"
#: Long enough to ask several times where the topic is.
ASKED_S = 3.0


@pytest.fixture(scope="module")
def making(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings whose home has a broker that makes topics by itself."""
    settings = Settings(home=tmp_path_factory.mktemp("making"))
    ours, theirs = "auto.create.topics.enable=false", "auto.create.topics.enable=true"
    assert ours in broker_module._PROPERTIES
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(broker_module, "_PROPERTIES", broker_module._PROPERTIES.replace(ours, theirs))
        own, port = Broker(settings), free_port()
        own.start(f"localhost:{port}", LOOPBACK, port)
    yield settings
    own.stop()


@pytest.fixture
def connection(making: Settings) -> Iterator[Connection]:
    with Connection(making) as opened:
        yield opened


def topics(connection: Connection) -> set[str]:
    return set(connection.ask(lambda client: client.list_topics()))


def test_the_broker_here_does_make_what_others_ask_for(making: Settings, connection: Connection) -> None:
    asking = KafkaConsumer(bootstrap_servers=making.bootstrap)
    asking.assign([TopicPartition("agent.wanted", 0)])
    end = time.monotonic() + 10 * ASKED_S
    while "agent.wanted" not in topics(connection) and time.monotonic() < end:
        asking.poll(200)
    asking.close()
    assert "agent.wanted" in topics(connection)


def test_a_consumer_of_ours_does_not(making: Settings, connection: Connection) -> None:
    with closing(open_consumer(making)) as consumer:
        consumer.assign([TopicPartition(GONE, 0)])
        assert not consumer.poll(ASKED_S * 1000)
    assert GONE not in topics(connection)


def test_the_audit_does_not(making: Settings, connection: Connection) -> None:
    assert records_within(making, (GONE, 0), [(0, 1)], ASKED_S) == ([], [])
    assert GONE not in topics(connection)


def test_an_echo_does_not(making: Settings, connection: Connection) -> None:
    with listening(making, [GONE]) as echo:
        assert not any(echo.messages(time.monotonic() + ASKED_S))
    assert GONE not in topics(connection)


def test_watch_does_not_make_anew_what_it_read(making: Settings, connection: Connection) -> None:
    ensure(connection, [TopicSpec(GONE, 1, 1)])
    received: list[Received] = []
    reader = LiveReader(making, received.append, {(GONE, 0): 0})
    reader.start()
    end = time.monotonic() + 10 * ASKED_S
    while not reader._joined and time.monotonic() < end:
        time.sleep(0.05)
    assert {place.topic for place in reader._joined} >= {GONE}
    connection.ask(lambda client: client.delete_topics([GONE]))
    time.sleep(2 * ASKED_S)
    reader.stop()
    assert GONE not in topics(connection)
