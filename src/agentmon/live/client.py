"""One set of Kafka settings for every client, kafka-python's and Spark's, and a connection that stays open."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer
from kafka.cluster import ClusterMetadata
from kafka.errors import BrokerResponseError, KafkaError

from agentmon.errors import KafkaUnreachable, SettingError
from agentmon.settings import Settings

T = TypeVar("T")

#: A broker that was killed takes longer to be back than one question may take.
_PATIENCE = 3

_OURS = "agentmon_set_it_up"

_LOGIN_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}


def client_config(settings: Settings) -> dict[str, Any]:
    """What any kafka-python client takes to reach and enter the Kafka in use. Raises SettingError."""
    _check_entry(settings)
    config: dict[str, Any] = {
        "bootstrap_servers": [server.strip() for server in settings.bootstrap.split(",")],
        "client_id": "agentmon",
        "security_protocol": settings.kafka_security_protocol,
        "sasl_mechanism": settings.kafka_sasl_mechanism,
        "sasl_plain_username": settings.kafka_sasl_username,
        "sasl_plain_password": settings.kafka_sasl_password,
        "ssl_cafile": settings.kafka_ssl_cafile,
        "ssl_certfile": settings.kafka_ssl_certfile,
        "ssl_keyfile": settings.kafka_ssl_keyfile,
    }
    return {key: value for key, value in config.items() if value is not None}


def _check_entry(settings: Settings) -> None:
    """Raises SettingError where what KAFKA_SECURITY_PROTOCOL needs is not set, or a file of it can't be read."""
    protocol = settings.kafka_security_protocol
    if protocol.startswith("SASL"):
        for name in ("mechanism", "username", "password"):
            if not getattr(settings, f"kafka_sasl_{name}"):
                raise SettingError(f"KAFKA_SECURITY_PROTOCOL={protocol} needs KAFKA_SASL_{name.upper()}: set it too")
    if protocol.endswith("SSL"):
        for name in ("cafile", "certfile", "keyfile"):
            file = getattr(settings, f"kafka_ssl_{name}")
            if file and not (Path(file).is_file() and os.access(file, os.R_OK)):
                raise SettingError(f"KAFKA_SSL_{name.upper()}={file} can't be read: it takes a PEM file")


def open_consumer(settings: Settings, **more: Any) -> KafkaConsumer:
    """A reader without a group, of committed messages only. Asking for a topic that was deleted does not make it anew.

    Its end_offsets() are those of committed messages too: they lie before the first open transaction.
    Raises what kafka-python does, and OSError.
    """
    consumer = KafkaConsumer(
        **client_config(settings),
        group_id=None, enable_auto_commit=False, isolation_level="read_committed", **more,
    )  # fmt: skip
    makes_no_topics(consumer._cluster)
    return consumer


def makes_no_topics(cluster: ClusterMetadata) -> None:
    """Have it ask for topics without making them: kafka-python's own option for that does not get so far."""
    cluster.config["allow_auto_create_topics"] = False


def spark_options(settings: Settings) -> dict[str, str]:
    """The same for Spark's Kafka source and sink. Raises SettingError."""
    _check_entry(settings)
    options = {"kafka.bootstrap.servers": settings.bootstrap}
    if settings.kafka_security_protocol != "PLAINTEXT":
        options["kafka.security.protocol"] = settings.kafka_security_protocol
    if settings.kafka_sasl_mechanism:
        options["kafka.sasl.mechanism"] = settings.kafka_sasl_mechanism
        options["kafka.sasl.jaas.config"] = _jaas(settings)
    if settings.kafka_ssl_cafile:
        options["kafka.ssl.truststore.type"] = "PEM"
        options["kafka.ssl.truststore.location"] = settings.kafka_ssl_cafile
    if settings.kafka_ssl_certfile and settings.kafka_ssl_keyfile:
        # Java takes certificate and key as one file or as two texts; users have two files.
        options["kafka.ssl.keystore.type"] = "PEM"
        options["kafka.ssl.keystore.certificate.chain"] = _text_of(settings.kafka_ssl_certfile)
        options["kafka.ssl.keystore.key"] = _text_of(settings.kafka_ssl_keyfile)
    return options


def set_up_logging(settings: Settings) -> None:
    """kafka-python's own log: all of it on stderr with KAFKA_DEBUG, else none; our errors say what matters."""
    log = logging.getLogger("kafka")
    others = [handler for handler in log.handlers if not isinstance(handler, logging.NullHandler)]  # kafka-python's own
    if others and not getattr(log, _OURS, False):
        return  # the program that we are a guest in uses kafka-python itself
    setattr(log, _OURS, True)
    log.propagate = False
    log.handlers.clear()
    if settings.kafka_debug:
        handler = logging.StreamHandler(sys.stderr)
        # Cut: it tells all bytes of an answer, and of what a topic has that are megabytes.
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message).2000s"))
        log.addHandler(handler)
        log.setLevel(logging.DEBUG)
    else:
        log.addHandler(logging.NullHandler())
        log.setLevel(logging.CRITICAL)


def unreachable(bootstrap: str, error: BaseException) -> KafkaUnreachable:
    """The one line for a Kafka that does not answer, or not as it should."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return KafkaUnreachable(
        f"Kafka at {bootstrap} can't be used ({reason}): start it (agentmon up) or check KAFKA_BOOTSTRAP_SERVERS"
    )


class Connection:
    """An admin connection that is opened at the first question and opened anew when it breaks.

    One serves many threads; a question costs a round trip, as nothing is looked up again.
    """

    def __init__(self, settings: Settings, *, timeout_s: float = 10.0) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._client: KafkaAdminClient | None = None
        self._has_answered = False
        set_up_logging(settings)

    def ask(self, question: Callable[[KafkaAdminClient], T]) -> T:
        """Put a question to Kafka, and again where waiting can help.

        Raises SettingError, and KafkaUnreachable, also for what Kafka refuses. At once where nothing listens at the first
        contact: later a broker that is restarted is waited for, for several timeouts of one question.
        """
        end = time.monotonic() + self._timeout_s * (_PATIENCE if self._has_answered else 1)
        while True:
            try:
                answer = question(self._open())
            except (KafkaError, OSError) as error:
                if not may_pass(error, has_answered=self._has_answered) or time.monotonic() > end:
                    self.close()
                    raise unreachable(self._settings.bootstrap, error) from error
                if not isinstance(error, BrokerResponseError):
                    self.close()
                time.sleep(0.1)
            else:
                self._has_answered = True
                return answer

    def close(self) -> None:
        """Close what is open; the next question opens it again."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> KafkaAdminClient:
        with self._lock:
            if self._client is None:
                config = client_config(self._settings)
                knock(self._settings.bootstrap)
                self._client = KafkaAdminClient(
                    **config,
                    request_timeout_ms=int(self._timeout_s * 1000),
                    bootstrap_timeout_ms=int(self._timeout_s * 1000),
                )
            return self._client


def answers(settings: Settings, *, timeout_s: float = 5.0) -> bool:
    """Whether a Kafka answers at the address in use."""
    try:
        with Connection(settings, timeout_s=timeout_s) as connection:
            connection.ask(lambda client: client.describe_cluster())
    except KafkaUnreachable:
        return False
    return True


def may_pass(error: BaseException, *, has_answered: bool) -> bool:
    """Whether the same question may succeed a moment later."""
    if isinstance(error, BrokerResponseError):
        return bool(error.retriable)
    return has_answered


def knock(bootstrap: str) -> None:
    """Raises OSError where nothing listens at any of the addresses: kafka-python would wait for them to appear."""
    refusal: OSError | None = None
    for server in bootstrap.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=3):
                return
        except ValueError:
            refusal = OSError(f"{server!r} is no host:port")
        except OSError as error:
            refusal = error
    if refusal is not None:
        raise OSError(refusal.strerror or str(refusal))


def _jaas(settings: Settings) -> str:
    mechanism = settings.kafka_sasl_mechanism or "PLAIN"
    module = _LOGIN_MODULES.get(mechanism, _LOGIN_MODULES["PLAIN"])
    name, password = _quoted(settings.kafka_sasl_username or ""), _quoted(settings.kafka_sasl_password or "")
    return f"{module} required username={name} password={password};"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise SettingError(
            f"{path} can't be read ({error.strerror}): check KAFKA_SSL_CERTFILE and KAFKA_SSL_KEYFILE"
        ) from error
