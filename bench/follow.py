"""What a screen hears: the figures of each agent on agent.monitor.frontend, with the moment at which it has them."""

from __future__ import annotations

import json
import threading
import time
from typing import NamedTuple

from kafka import KafkaConsumer, TopicPartition

from agentmon.contracts.topics import FRONTEND
from agentmon.live.client import client_config
from bench.home import Stack, wait


class Update(NamedTuple):
    """A learning_update: when it was received (epoch seconds), and how many of the agent's events it counts."""

    at: float
    events: int


class Follower:
    """Reads the frontend topic from its end on, while the context lasts."""

    def __init__(self, own: Stack) -> None:
        self._own = own
        self._ready, self._ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        #: By agent, in order.
        self.updates: dict[str, list[Update]] = {}

    def __enter__(self) -> Follower:
        self._thread.start()
        if not self._ready.wait(30):
            raise TimeoutError("the frontend topic can't be read")
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(10)

    def wait_for(self, agents: set[str], timeout_s: float) -> None:
        """Wait until there are figures of each of them. Raises TimeoutError."""
        wait(lambda: agents <= self.updates.keys(), timeout_s, f"figures of {len(agents)} agents")

    def _read(self) -> None:
        consumer = KafkaConsumer(**client_config(self._own.settings), enable_auto_commit=False)
        place = TopicPartition(FRONTEND, 0)
        consumer.assign([place])
        consumer.seek_to_end(place)
        consumer.position(place)
        self._ready.set()
        while not self._ending.is_set():
            for record in consumer.poll(50).get(place, []):
                # The moment at which Kafka took the message would flatter; this is when a screen has it.
                now = time.time()
                message = json.loads(record.value)
                if message["type"] == "learning_update":
                    data = message["data"]
                    self.updates.setdefault(data["agent_id"], []).append(Update(now, data["total_events"]))
        consumer.close()


def quantile(values: list[float], q: float) -> float:
    """The q-quantile, by nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")
