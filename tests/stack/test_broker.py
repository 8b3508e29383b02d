"""The embedded broker as a process: started, found again, in the way of others, killed. Its data outlives it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kafka import KafkaProducer

from agentmon.errors import KafkaUnreachable, SettingError, StackError
from agentmon.live.client import Connection, answers
from agentmon.live.offsets import beginning_and_end
from agentmon.live.topics import TopicSpec, describe, ensure
from agentmon.settings import Settings
from agentmon.stack import home
from agentmon.stack.addresses import LOOPBACK, free_port
from agentmon.stack.broker import Broker
from agentmon.stack.choice import Choice, Kind, carry_out, choose


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A home whose broker runs; its tests may kill it, but leave one running."""
    settings = Settings(home=tmp_path_factory.mktemp("own"))
    # Not on the usual port: others on this machine may take that while this one is down.
    port = free_port()
    Broker(settings).start(f"localhost:{port}", LOOPBACK, port)
    yield settings
    Broker(settings).stop()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home where nothing runs."""
    return Settings(home=tmp_path / "home")


def test_running_broker_is_found_by_its_home(running: Settings) -> None:
    assert choose(running).kind is Kind.RUNNING
    assert answers(running)
    assert carry_out(running, choose(running)) is False


def test_running_broker_whose_note_is_lost_is_found_by_its_command_line(running: Settings) -> None:
    before = choose(running)
    (running.run / "broker.json").unlink()
    assert choose(running) == before
    assert running.bootstrap == before.bootstrap


def test_second_home_gets_a_port_of_its_own(running: Settings, settings: Settings) -> None:
    choice = choose(settings)
    assert choice.kind is Kind.START
    assert choice.bootstrap != running.bootstrap


def test_own_broker_at_the_told_address_is_running_and_elsewhere_in_the_way(running: Settings) -> None:
    told = Settings(home=running.home, kafka_bootstrap_servers=running.bootstrap.replace("localhost", LOOPBACK))
    assert choose(told).kind is Kind.RUNNING

    other = Settings(home=running.home, kafka_bootstrap_servers=f"localhost:{free_port()}")
    with pytest.raises(StackError, match="run agentmon down first"):
        choose(other)


def test_kafka_that_answers_is_used_noted_and_never_stopped(running: Settings, settings: Settings) -> None:
    visitor = Settings(home=settings.home, kafka_bootstrap_servers=running.bootstrap)
    choice = choose(visitor)
    assert choice.kind is Kind.EXTERNAL
    assert carry_out(visitor, choice) is False
    # Commands in a shell without the variable find it too.
    assert settings.bootstrap == running.bootstrap
    assert Broker(settings).stop() is False
    assert answers(running)


def test_folder_of_a_living_broker_is_not_touched(running: Settings, settings: Settings) -> None:
    (settings.home / "kafka").mkdir(parents=True)
    (settings.home / "kafka" / "data").symlink_to(running.home / "kafka" / "data")
    with pytest.raises(StackError, match=r"another Kafka uses .*: stop that one first"):
        carry_out(settings, choose(settings))
    assert Broker(settings).process() is None
    assert answers(running)


def test_home_by_another_path_is_the_same_home(running: Settings, tmp_path: Path) -> None:
    (running.run / "broker.json").unlink()
    (tmp_path / "link").symlink_to(running.home)
    assert choose(Settings(home=tmp_path / "link")).kind is Kind.RUNNING


def test_broker_that_ends_at_its_start_says_why(settings: Settings) -> None:
    data = settings.home / "kafka" / "data"
    data.mkdir(parents=True)
    (data / "meta.properties").write_text("version=1\ncluster.id=other\nnode.id=7\n")
    with pytest.raises(StackError, match=r"the broker ended at its start: .*node.id.*log:"):
        carry_out(settings, choose(settings))
    assert Broker(settings).process() is None


def test_kill_9_keeps_data_and_address(running: Settings) -> None:
    with Connection(running) as connection:
        ensure(connection, [TopicSpec("kept", 1, 1)])
        producer = KafkaProducer(bootstrap_servers=running.bootstrap)
        producer.send("kept", b"here").get(timeout=30)
        producer.close()
        before, address = describe(connection), running.bootstrap

        process = Broker(running).process()
        assert process is not None
        process.kill()
        process.wait(10)
        assert Broker(running).process() is None
        assert carry_out(running, choose(running)) is True

        assert running.bootstrap == address
        # The same connection finds the restarted broker: the same Kafka, topic and data.
        assert describe(connection) == before
        assert beginning_and_end(connection, {"kept": 1}) == {("kept", 0): (0, 1)}


def test_stop_ends_the_process_and_keeps_the_data(running: Settings) -> None:
    process = Broker(running).process()
    assert process is not None
    assert Broker(running).stop() is True
    assert not home.is_alive(process)
    assert (running.home / "kafka" / "data" / "meta.properties").exists()
    assert Broker(running).stop() is False


@pytest.mark.parametrize(
    "note",
    [
        {"pid": os.getpid(), "create_time": 1.0, "bootstrap": "localhost:19999"},
        {"pid": 2**22 + 1, "create_time": 1.0, "bootstrap": "localhost:19999"},
        {"pid": "nonsense", "bootstrap": "localhost:19999"},
    ],
)
def test_stale_note_is_nobody_but_says_which_port_agents_know(settings: Settings, note: dict[str, object]) -> None:
    home.write_note(settings.run / "broker.json", note)
    assert Broker(settings).process() is None
    assert choose(settings) == Choice(Kind.START, "localhost:19999", LOOPBACK, 19999)
    assert Broker(settings).stop() is False
    assert psutil.Process().is_running()


def test_damaged_note_is_no_note(settings: Settings) -> None:
    settings.run.mkdir(parents=True)
    (settings.run / "broker.json").write_text('["half')
    assert Broker(settings).process() is None
    assert choose(settings).kind is Kind.START


def test_taken_port_is_named_when_told_and_avoided_when_not(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        told = Settings(home=settings.home, kafka_bootstrap_servers=f"localhost:{port}")
        monkeypatch.setattr("agentmon.stack.choice.answers", lambda settings: False)
        with pytest.raises(StackError, match=f"port {port} is taken by something that does not answer as Kafka"):
            choose(told)

        monkeypatch.setattr("agentmon.stack.choice.USUAL_PORT", port)
        choice = choose(settings)
        assert choice.kind is Kind.START
        assert choice.port != port


def test_told_address_of_this_machine_is_where_the_broker_starts(settings: Settings) -> None:
    port = free_port()
    told = Settings(home=settings.home, kafka_bootstrap_servers=f"127.0.0.1:{port}")
    assert choose(told) == Choice(Kind.START, f"127.0.0.1:{port}", LOOPBACK, port)


def test_told_address_elsewhere_without_an_answer_is_an_error(settings: Settings) -> None:
    told = Settings(home=settings.home, kafka_bootstrap_servers="no-such-host.invalid:9092")
    with pytest.raises(KafkaUnreachable, match=r"no Kafka answers at no-such-host\.invalid:9092"):
        choose(told)


def test_security_settings_need_an_address(settings: Settings) -> None:
    with pytest.raises(SettingError, match="set KAFKA_BOOTSTRAP_SERVERS too"):
        choose(Settings(home=settings.home, kafka_security_protocol="SASL_SSL"))


def test_full_disk_is_said_before_anything_starts(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentmon.stack.home.MINIMUM_FREE_BYTES", 2**62)
    with pytest.raises(StackError, match=r"the disk of .* is full"):
        carry_out(settings, choose(settings))
    assert Broker(settings).process() is None
