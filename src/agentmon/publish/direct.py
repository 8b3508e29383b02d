"""Publishing for somebody who waits for Kafka's word, and sends again without it: the gateway."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from agentmon.errors import KafkaUnreachable
from agentmon.publish.clean import Cleaner, str_of
from agentmon.publish.kafka import Link, refusal
from agentmon.publish.publisher import MAX_MESSAGE_BYTES
from agentmon.publish.record import MAX_KEY_BYTES, Record
from agentmon.publish.redact import Redactor
from agentmon.settings import Settings

#: Ids of messages that went to Kafka lately: what comes again is marked.
_KNOWN = 200_000
#: Exporters try for about a minute: what comes in the first of ours may have been sent by a process before us.
_AFTER_START_S = 90.0
_KNOCK_AGAIN_S = 1.0


class Direct:
    """Sends messages and waits until Kafka has them. Safe with threads."""

    def __init__(self, settings: Settings, *, timeout_s: float = 10.0) -> None:
        self._link = Link(settings)
        self._lock = threading.Lock()
        self._timeout_s = timeout_s
        self._cleaner = Cleaner(settings.max_text_chars, Redactor() if settings.redact else None)
        self._most_bytes = min(MAX_MESSAGE_BYTES, settings.max_message_bytes)
        self._known: OrderedDict[str, None] = OrderedDict()
        self._begun = time.monotonic()
        self._away: tuple[float, KafkaUnreachable] | None = None

    def send(self, messages: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
        """Have all of them in Kafka; how many it refused for good. Each has its agent_id and event_id.

        Raises KafkaUnreachable where Kafka did not take all in time: send all of them again.
        """
        records = [self._record(topic, message) for topic, message in messages]
        with self._lock:
            futures = self._hand_over(records)
        end = time.monotonic() + self._timeout_s
        refused = 0
        for future in futures:
            while not future.is_done:
                if time.monotonic() > end:
                    raise KafkaUnreachable("Kafka did not acknowledge in time: send it again")
                time.sleep(0.002)
            is_final, error = refusal(future)
            if error is not None and not is_final:
                raise KafkaUnreachable(f"Kafka did not take it ({type(error).__name__}): send it again")
            refused += is_final
        return refused

    def is_ready(self) -> bool:
        """Whether Kafka answers."""
        try:
            with self._lock:
                self._open()
        except KafkaUnreachable:
            return False
        return True

    def close(self) -> None:
        with self._lock:
            self._link.close()

    def _hand_over(self, records: list[Record]) -> list[Any]:
        try:
            self._open()
            # A topic that Kafka refuses to make is refused again by the client, with its reason.
            for topic in {record.topic for record in records}:
                self._link.have_topic(topic)
            return [self._link.send(record) for record in records]
        except KafkaUnreachable:
            self._link.close()
            raise

    def _open(self) -> None:
        """Not each of many requests waits for a Kafka that is away."""
        if self._away is not None and time.monotonic() < self._away[0]:
            raise self._away[1]
        try:
            self._link.open()
            self._away = None
        except KafkaUnreachable as error:
            self._away = time.monotonic() + _KNOCK_AGAIN_S, error
            raise

    def _record(self, topic: str, message: Mapping[str, Any]) -> Record:
        event_id = str_of(message["event_id"])
        maybe_repeat = event_id in self._known or time.monotonic() - self._begun < _AFTER_START_S
        with self._lock:
            self._known[event_id] = None
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        value = self._cleaner.encoded(self._cleaner.message(message), self._most_bytes)
        key = str_of(message["agent_id"]).encode("utf-8", "replace")[:MAX_KEY_BYTES]
        return Record(topic, key, value, maybe_repeat, 0)
