"""Publishing to agent.monitor.frontend."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from agentmon.contracts.topics import FRONTEND
from agentmon.errors import KafkaUnreachable
from agentmon.live.client import client_config
from agentmon.settings import Settings

log = logging.getLogger(__name__)

#: Messages that Kafka is waited for at once: of a hundred thousand agents there are twice as many.
_AT_ONCE = 2_000


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

    def send(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Send (agent_id, message as contracts/frontend.py encodes it) in order, and wait for Kafka to have them.

        Raises KafkaUnreachable where it does not take them. One that is too large for it is left out, with a warning.
        """
        from kafka.errors import KafkaError

        try:
            pending = iter(messages)
            while some := list(itertools.islice(pending, _AT_ONCE)):
                self._send(some)
        except KafkaError as error:
            raise KafkaUnreachable(
                f"Kafka does not take messages for {FRONTEND} ({error}); if the topic is missing: agentmon topics"
            ) from error

    def _send(self, messages: Sequence[tuple[str, bytes]]) -> None:
        sent = []
        for agent, message in messages:
            with _unless_too_large():
                sent.append(self._producer.send(FRONTEND, message, agent.encode("utf-8", "replace")))
        for future in sent:
            with _unless_too_large():
                future.get(timeout=30)

    def close(self) -> None:
        self._producer.close(timeout=5)


@contextmanager
def _unless_too_large() -> Iterator[None]:
    from kafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

    try:
        yield
    except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
        log.warning("a message for %s was left out, Kafka does not take so large a one: %s", FRONTEND, error)
