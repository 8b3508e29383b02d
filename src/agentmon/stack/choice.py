"""Which Kafka is used: the user's where one answers, else the embedded one. The rule of KAFKA_BOOTSTRAP_SERVERS."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from agentmon.errors import KafkaUnreachable, SettingError, StackError
from agentmon.live.client import answers
from agentmon.settings import Settings
from agentmon.stack.addresses import LOOPBACK, Address, free_port, is_free, parse_bootstrap
from agentmon.stack.broker import Broker

USUAL_PORT = 9092


class Kind(Enum):
    """What has to be done to have a Kafka."""

    EXTERNAL = "a Kafka of yours answers"
    RUNNING = "the embedded broker runs"
    START = "the embedded broker has to be started"


@dataclass(frozen=True)
class Choice:
    """The Kafka to use, and where the embedded one listens."""

    kind: Kind
    bootstrap: str
    ip: str = LOOPBACK
    port: int = 0


def choose(settings: Settings) -> Choice:
    """Decide; starts nothing. Raises KafkaUnreachable or StackError where there can be no Kafka."""
    broker = Broker(settings)
    if settings.kafka_bootstrap_servers:
        return _as_told(settings, settings.kafka_bootstrap_servers, broker)
    if settings.kafka_security_protocol != "PLAINTEXT":
        raise SettingError(
            f"KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol} is for a Kafka of yours:"
            " set KAFKA_BOOTSTRAP_SERVERS too, or unset it for the embedded broker"
        )
    return _embedded(broker)


def carry_out(settings: Settings, choice: Choice) -> bool:
    """Have the chosen Kafka answer; whether it was started for that."""
    broker = Broker(settings)
    process = broker.process()
    if choice.kind is Kind.EXTERNAL:
        if process is None:
            broker.note_external(choice.bootstrap)
        return False
    if choice.kind is Kind.RUNNING and process is not None:
        broker.wait_ready(process, choice.ip, choice.port)
        return False
    broker.start(choice.bootstrap, choice.ip, choice.port)
    return True


def _embedded(broker: Broker) -> Choice:
    noted = _address(broker.bootstrap()) if broker.is_embedded() or broker.process() else None
    if broker.process() is not None and noted is not None:
        return Choice(Kind.RUNNING, str(broker.bootstrap()), noted.local_ip() or LOOPBACK, noted.port)
    # After a crash the same port as before, as agents still know it.
    ports = [noted.port] if noted else []
    port = next((port for port in (*ports, USUAL_PORT) if is_free(port)), None) or free_port()
    return Choice(Kind.START, f"localhost:{port}", LOOPBACK, port)


def _as_told(settings: Settings, told: str, broker: Broker) -> Choice:
    addresses = parse_bootstrap(told)
    own = _address(broker.bootstrap()) if broker.process() is not None else None
    ips = [address.local_ip() for address in addresses]
    if own is not None and any(ip is not None and a.port == own.port for a, ip in zip(addresses, ips, strict=True)):
        return Choice(Kind.RUNNING, told, own.local_ip() or LOOPBACK, own.port)
    if answers(settings):
        return Choice(Kind.EXTERNAL, told)
    ip = ips[0]
    if ip is None or None in ips:
        raise KafkaUnreachable(
            f"no Kafka answers at {told}: start it or check KAFKA_BOOTSTRAP_SERVERS (unset it for the embedded broker)"
        )
    if own is not None:
        raise StackError(
            f"the embedded broker runs at {broker.bootstrap()}, not at {told}: run agentmon down first"
            " or unset KAFKA_BOOTSTRAP_SERVERS"
        )
    first = addresses[0]
    if not is_free(first.port, ip):
        raise StackError(f"port {first.port} is taken by something that does not answer as Kafka: choose another port")
    return Choice(Kind.START, f"{first.host}:{first.port}" if ":" not in first.host else told, ip, first.port)


def _address(bootstrap: str | None) -> Address | None:
    return parse_bootstrap(bootstrap)[0] if bootstrap else None
