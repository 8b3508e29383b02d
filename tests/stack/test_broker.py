"""The embedded broker: its data and its address outlive it, however it ends."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kafka import KafkaProducer

from agentmon.live.client import Connection, answers
from agentmon.live.offsets import beginning_and_end
from agentmon.live.topics import TopicSpec, ensure
from agentmon.settings import Settings
from agentmon.stack.broker import Broker
from agentmon.stack.choice import Kind, carry_out, choose


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    settings = Settings(home=tmp_path_factory.mktemp("own"))
    carry_out(settings, choose(settings))
    yield settings
    Broker(settings).stop()


def it_is_found_by_whoever_knows_the_home(running: Settings) -> None:
    assert choose(running).kind is Kind.RUNNING
    assert answers(running)
    assert not carry_out(running, choose(running))


def test_found_by_home(running: Settings) -> None:
    it_is_found_by_whoever_knows_the_home(running)


def test_found_though_its_note_is_gone(running: Settings) -> None:
    (running.run / "broker.json").unlink()
    it_is_found_by_whoever_knows_the_home(running)


def test_a_second_home_gets_a_port_of_its_own(running: Settings, settings: Settings) -> None:
    choice = choose(settings)
    assert choice.kind is Kind.START
    assert choice.bootstrap != running.bootstrap


def test_kill_9_keeps_data_and_address(running: Settings) -> None:
    spec = TopicSpec("kept", 1, 1)
    with Connection(running) as connection:
        ensure(connection, [spec])
    producer = KafkaProducer(bootstrap_servers=running.bootstrap)
    producer.send("kept", b"here").get(timeout=30)
    producer.close()
    address = running.bootstrap

    process = Broker(running).process()
    assert process is not None
    process.kill()
    process.wait(10)
    assert Broker(running).process() is None
    assert choose(running).kind is Kind.START
    assert carry_out(running, choose(running))

    assert running.bootstrap == address
    with Connection(running) as connection:
        assert beginning_and_end(connection, {"kept": 1}) == {("kept", 0): (0, 1)}


@pytest.mark.parametrize(
    "note",
    [
        {"pid": os.getpid(), "create_time": 1.0, "bootstrap": "localhost:9092"},
        {"pid": 2**22 + 1, "create_time": 1.0, "bootstrap": "localhost:9092"},
        {"pid": "nonsense"},
        [],
    ],
)
def test_a_stale_note_is_nobody(settings: Settings, note: object) -> None:
    path = settings.run / "broker.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(note))
    assert Broker(settings).process() is None
    assert not Broker(settings).stop()
    assert psutil.Process().is_running()


def test_stop_ends_the_process_and_keeps_the_data(running: Settings, tmp_path: Path) -> None:
    process = Broker(running).process()
    assert process is not None
    assert Broker(running).stop()
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert (running.home / "kafka" / "data" / "meta.properties").exists()
    assert not Broker(running).stop()
