"""The Kafka side of a publisher: a producer that is made anew when it breaks, and topics that are made when missing."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - else it is imported when a broker's name is looked up: see lifetime.loading
import logging
import socket
from contextlib import suppress
from typing import Any

from kafka import KafkaProducer
from kafka.codec import has_lz4, has_zstd
from kafka.errors import (
    BrokerResponseError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from agentmon.contracts.topics import MAYBE_REPEAT
from agentmon.errors import KafkaUnreachable, SettingError
from agentmon.live.client import Connection, client_config, knock, set_up_logging, unreachable
from agentmon.live.topics import TopicSpec, describe, ensure, wanted_topics
from agentmon.publish.record import Record
from agentmon.settings import Settings

log = logging.getLogger("agentmon.publish")

#: Errors that sending the same message again can't mend.
_FINAL = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTopicError)
_HEADERS = [(MAYBE_REPEAT, b"1")]
_NONE: list[tuple[str, bytes]] = []
#: A client tries for so long by itself, and never doubles what it sends; then the message is sent anew, marked.
_DELIVERY_S = 120


class Link:
    """A connection to Kafka for one thread that sends."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: Any = None
        self._topics: set[str] = set()
        with suppress(OSError):
            # The C library loads what it looks names up with at the first one: see lifetime.loading.
            socket.getaddrinfo("localhost", None)

    @property
    def is_open(self) -> bool:
        return self._producer is not None

    def open(self) -> None:
        """Have a producer. Raises KafkaUnreachable, after seconds at the most."""
        if self._producer is not None:
            return
        settings = self._settings
        set_up_logging(settings)
        try:
            knock(settings.bootstrap)
            with Connection(settings) as connection:
                self._topics = set(describe(connection).topics)
            self._producer = KafkaProducer(
                **client_config(settings),
                compression_type=codec(settings.codec),
                batch_size=settings.batch_bytes,
                linger_ms=0,  # messages are gathered before they get here
                max_request_size=settings.max_message_bytes,
                delivery_timeout_ms=_DELIVERY_S * 1000,
                request_timeout_ms=15_000,
                max_block_ms=10_000,
                bootstrap_timeout_ms=10_000,
                reconnect_backoff_max_ms=1_000,
                metrics_enabled=False,
            )
        except (KafkaError, OSError) as error:
            raise unreachable(settings.bootstrap, error) from error

    def have_topic(self, topic: str) -> str | None:
        """Make a topic that Kafka does not have; why it can't be, where Kafka refuses. Raises KafkaUnreachable."""
        if topic in self._topics:
            return None
        try:
            with Connection(self._settings) as connection:
                ensure(connection, [_spec(topic)])
        except KafkaUnreachable as error:
            cause = error.__cause__
            if isinstance(cause, BrokerResponseError) and not cause.retriable:
                return str(error)
            raise
        self._topics.add(topic)
        return None

    def send(self, record: Record) -> Any:
        """Hand a message to the client; its future. Raises KafkaUnreachable."""
        try:
            headers = _HEADERS if record.maybe_repeat else _NONE
            return self._producer.send(record.topic, record.value, key=record.key or None, headers=headers)
        except _FINAL as error:
            return Refused(error)
        except (KafkaError, OSError) as error:
            raise unreachable(self._settings.bootstrap, error) from error

    def close(self) -> None:
        """Let go of the client, whatever it still holds."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close(timeout=0.5)

    def abandon(self) -> Any:
        """In a forked child: the parent's client, to be kept from the collector, which would close its connections."""
        producer, self._producer = self._producer, None
        return producer


class Refused:
    """A future of a message that the client itself does not take."""

    is_done = True

    def __init__(self, error: Exception) -> None:
        self.exception = error

    def failed(self) -> bool:
        return True


def refusal(future: Any) -> tuple[bool, Exception | None]:
    """Of a future that is done: (whether it is no use to try again, the error; None where Kafka has the message)."""
    if not future.failed():
        return False, None
    return isinstance(future.exception, _FINAL), future.exception


def codec(wanted: str) -> str | None:
    """What to compress with: as wanted where that is installed, else the best that is."""
    if wanted == "none":
        return None
    there = [name for name, has in (("zstd", has_zstd()), ("lz4", has_lz4()), ("gzip", True)) if has]
    return wanted if wanted in there else there[0]


def _spec(topic: str) -> TopicSpec:
    try:
        specs = {spec.name: spec for spec in wanted_topics()}
    except SettingError:  # an agent may have the package without the checkout's conf/
        specs = {}
    return specs.get(topic, TopicSpec(topic, 1, -1))
