"""Waiting for a message to come back: what arrives on topics from now on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from agentmon.live.client import knock, open_consumer, set_up_logging, unreachable
from agentmon.settings import Settings

_POLL_MS = 50


class Echo:
    """A reader of committed messages, without a group, that began at the end of some topics."""

    def __init__(self, consumer: Any, bootstrap: str) -> None:
        self._consumer = consumer
        self._bootstrap = bootstrap

    def messages(self, until: float) -> Iterator[tuple[str, int, int, dict[str, Any]] | None]:
        """(topic, partition, offset, object) as they arrive, None while none does, until time.monotonic() says so.

        Raises KafkaUnreachable.
        """
        while time.monotonic() < until:
            try:
                batches = self._consumer.poll(_POLL_MS)
            except (KafkaError, OSError) as error:
                raise unreachable(self._bootstrap, error) from error
            for place, records in batches.items():
                for record in records:
                    try:
                        message = json.loads(record.value or b"")
                    except ValueError:
                        continue
                    if isinstance(message, dict):
                        yield place.topic, place.partition, record.offset, message
            if not batches:
                yield None


@contextmanager
def listening(settings: Settings, topics: Iterable[str]) -> Iterator[Echo]:
    """Begin to listen now: what is sent after this returns is heard. Raises KafkaUnreachable."""
    set_up_logging(settings)
    try:
        knock(settings.bootstrap)
        consumer = open_consumer(settings)
        places = [TopicPartition(t, number) for t in topics for number in consumer.partitions_for_topic(t) or ()]
        consumer.assign(places)
        for place, offset in consumer.end_offsets(places).items():
            consumer.seek(place, offset)
    except (KafkaError, OSError) as error:
        raise unreachable(settings.bootstrap, error) from error
    try:
        yield Echo(consumer, settings.bootstrap)
    finally:
        consumer.close()
