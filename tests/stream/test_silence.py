"""Agents that fall silent and come back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from tests.stream.life import PATIENCE_S, Life

from agentmon.contracts.topics import FRONTEND
from agentmon.live.client import client_config
from agentmon.settings import Settings

_SILENCE_S = 0.5


@contextmanager
def following(settings: Settings) -> Iterator[Callable[[str, int], dict[str, Any]]]:
    """figures(agent, events): the first learning_update of an agent that has counted so many events, or more."""
    consumer = KafkaConsumer(**client_config(settings), group_id=None, enable_auto_commit=False)
    consumer.assign([TopicPartition(FRONTEND, 0)])
    consumer.seek_to_beginning()
    told: dict[str, dict[str, Any]] = {}

    def figures(agent: str, events: int) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE_S
        while told.get(agent, {"total_events": 0})["total_events"] < events:
            assert time.monotonic() < end, f"{events} events of {agent} in vain: {told.get(agent)}"
            for record in consumer.poll(timeout_ms=200).get(TopicPartition(FRONTEND, 0), []):
                message = json.loads(record.value)
                if message["type"] == "learning_update":
                    told[message["data"]["agent_id"]] = message["data"]
        return told[agent]

    yield figures
    consumer.close()


def test_an_agent_that_comes_back_has_the_figures_that_it_had(life: Life) -> None:
    """Dropped from memory when it fell silent, by this run of the job or by an earlier one."""
    life.make_topic("agent.actions")
    with following(life.settings) as figures:
        with life.job(agent_silence_s=_SILENCE_S) as running:
            life.send("agent.actions", 4, agent_id="back", tool="grep", reward=1)
            figures("back", 4)
            time.sleep(1)
            life.send("agent.actions", 1, agent_id="other", tool="grep")
            figures("other", 1)  # silence is looked for after each micro-batch
            life.send("agent.actions", 3, agent_id="back", tool="ls", reward=0)
            told = figures("back", 7)
            assert running.is_alive()
        assert (told["tool_usage"], told["avg_reward"]) == ({"grep": 4, "ls": 3}, 4 / 7)
        assert told["recent_rewards"] == [1.0] * 4 + [0.0] * 3
        with life.job(agent_silence_s=_SILENCE_S):
            time.sleep(1)
            life.send("agent.actions", 1, agent_id="back", tool="ls")
            assert figures("back", 8)["tool_usage"] == {"grep": 4, "ls": 4}
