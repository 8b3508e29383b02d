"""Which Kafka is used: the rule of KAFKA_BOOTSTRAP_SERVERS."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from agentmon.errors import KafkaUnreachable, SettingError, StackError
from agentmon.settings import Settings
from agentmon.stack import choice as module
from agentmon.stack.addresses import free_port
from agentmon.stack.choice import Kind, carry_out, choose


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which something listens that is no Kafka."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_kafka_that_answers_is_used_and_noted(on_broker: Settings) -> None:
    choice = choose(on_broker)
    assert choice.kind is Kind.EXTERNAL
    assert not carry_out(on_broker, choice)
    assert replace(on_broker, kafka_bootstrap_servers=None).bootstrap == on_broker.bootstrap


def test_where_none_answers_here_the_embedded_one_starts_there(settings: Settings) -> None:
    port = free_port()
    choice = choose(replace(settings, kafka_bootstrap_servers=f"localhost:{port}"))
    assert (choice.kind, choice.port) == (Kind.START, port)


def test_where_none_answers_elsewhere_it_is_an_error(settings: Settings) -> None:
    with pytest.raises(KafkaUnreachable, match=r"no-such-host\.invalid:9092"):
        choose(replace(settings, kafka_bootstrap_servers="no-such-host.invalid:9092"))


def test_a_named_port_that_something_else_has_is_an_error(settings: Settings, taken: int) -> None:
    with pytest.raises(StackError, match=f"port {taken} is taken"):
        choose(replace(settings, kafka_bootstrap_servers=f"127.0.0.1:{taken}"))


def test_without_a_name_a_taken_usual_port_is_no_matter(
    settings: Settings, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "USUAL_PORT", taken)
    choice = choose(settings)
    assert choice.kind is Kind.START
    assert choice.port != taken


def test_security_without_a_kafka_of_ones_own_is_a_mistake(settings: Settings) -> None:
    with pytest.raises(SettingError, match="KAFKA_BOOTSTRAP_SERVERS"):
        choose(replace(settings, kafka_security_protocol="SASL_SSL"))
