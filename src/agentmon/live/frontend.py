"""Publishing to agent.monitor.frontend."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import orjson

from agentmon.contracts.topics import FRONTEND
from agentmon.errors import KafkaUnreachable
from agentmon.live.client import client_config
from agentmon.settings import Settings


class FrontendPublisher:
    """Sends {type, data, id} messages, keyed by agent, so that each agent's stay in order.

    At least once: a message sent again has the id that it had before.
    """

    def __init__(self, settings: Settings) -> None:
        from kafka import KafkaProducer

        self._producer = KafkaProducer(
            **client_config(settings),
            linger_ms=0,
            batch_size=256 * 1024,  # the newest rows of a hundred agents in a few requests
            acks="all",
            max_block_ms=5_000,
        )

    def send(self, messages: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Send (agent_id, message) in order, and wait for Kafka to have them.

        Raises KafkaUnreachable where it does not take them.
        """
        from kafka.errors import KafkaError

        try:
            sent = [
                self._producer.send(FRONTEND, key=agent.encode("utf-8", "replace"), value=_encode(message))
                for agent, message in messages
            ]
            for future in sent:
                future.get(timeout=30)
        except KafkaError as error:
            raise KafkaUnreachable(
                f"Kafka does not take messages for {FRONTEND} ({error}); if the topic is missing: agentmon topics"
            ) from error

    def close(self) -> None:
        self._producer.close(timeout=5)


def _encode(message: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(message)
    except TypeError:  # half of a surrogate pair, or a number beyond 64 bits, in an event's own JSON
        return json.dumps(message, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")
