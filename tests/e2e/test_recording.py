"""The whole path on the real recording: Kafka → spark-submit → Delta → commands, and → agent.monitor.frontend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from agentmon.contracts.topics import FRONTEND
from agentmon.settings import project_root

AGENTS = [f"gpt-4o-airline-{n}" for n in range(4)]
PATIENCE_S = 240.0


def agentmon(home: Path, *arguments: str) -> str:
    """A command that has to succeed; what it said on stdout."""
    ran = subprocess.run(
        [Path(sys.executable).parent / "agentmon", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "AGENTMON_HOME": str(home)},
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def updates(home: Path) -> list[dict[str, Any]]:
    """Everything on agent.monitor.frontend so far."""
    bootstrap = json.loads((home / "run" / "broker.json").read_text())["bootstrap"]
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    place = TopicPartition(FRONTEND, 0)
    consumer.assign([place])
    consumer.seek_to_beginning(place)
    end, found = consumer.end_offsets([place])[place], []
    while len(found) < end:
        found += [json.loads(record.value) for record in consumer.poll(1000).get(place, [])]
    consumer.close()
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stack into which the recording was played once, and all of it stored and published."""
    folder = tmp_path_factory.mktemp("recording") / "home"
    try:
        agentmon(folder, "up")
        agentmon(folder, "load", str(project_root() / "data" / "tau-airline-events.jsonl.gz"))
        end = time.monotonic() + PATIENCE_S
        while not (_stored(folder) == 2744 and _published(folder) == 2744):
            assert time.monotonic() < end, (folder / "logs" / "job.log").read_text()[-3000:]
            time.sleep(3)
        yield folder
    finally:
        agentmon(folder, "down")


def _stored(home: Path) -> int:
    return int(json.loads(agentmon(home, "status", "--json"))["totals"]["events"])


def _published(home: Path) -> int:
    newest = {m["data"]["agent_id"]: m["data"]["total_events"] for m in updates(home) if m["type"] == "learning_update"}
    return sum(newest.values())


def test_status_says_exactly_what_was_recorded(home: Path) -> None:
    told = json.loads(agentmon(home, "status", "--json"))
    counts = ("events", "actions", "thoughts", "learning", "metrics", "other", "quarantined")
    assert [told["totals"][name] for name in counts] == [2744, 1072, 1472, 200, 0, 0, 0]
    assert round(told["totals"]["success_rate"], 3) == 0.932
    assert round(told["totals"]["avg_reward"], 3) == 0.420
    assert [(a["agent_id"], a["sessions"], round(a["avg_reward"], 2)) for a in told["agents"]] == [
        (agent, 50, mean) for agent, mean in zip(AGENTS, (0.42, 0.44, 0.40, 0.42), strict=True)
    ]
    assert [(t["tool"], t["count"]) for t in told["tools"][:3]] == [
        ("get_reservation_details", 377),
        ("search_direct_flight", 141),
        ("get_user_details", 120),
    ]
    assert len(told["tools"]) == 13


def test_summaries_add_up_to_the_rows(home: Path) -> None:
    query = """SELECT sum(actions) AS actions, sum(successes) AS successes, sum(thoughts) AS thoughts,
               sum(learning) AS learning, sum(learning_reward_sum) AS rewards FROM summaries"""
    (told,) = json.loads(agentmon(home, "sql", query, "--json"))
    assert {name: round(value, 6) for name, value in told.items()} == {
        "actions": 1072,
        "successes": 999,
        "thoughts": 1472,
        "learning": 200,
        "rewards": 84,
    }


def test_every_offset_is_accounted_for(home: Path) -> None:
    rows = json.loads(agentmon(home, "audit", "--json"))
    assert sum(row["stored"] for row in rows) == 2744
    assert [row for row in rows if row["holes"] or row["repeats"] or row["pending"]] == []


def test_the_frontend_topic_has_figures_and_newest_rows(home: Path) -> None:
    found = updates(home)
    assert {m["type"] for m in found} == {"action_update", "thought_update", "learning_update", "metrics_update"}
    newest = {m["data"]["agent_id"]: m["data"] for m in found if m["type"] == "learning_update"}
    assert [round(newest[agent]["avg_reward"], 2) for agent in AGENTS] == [0.42, 0.44, 0.40, 0.42]
    assert {"start", "end", "events"} <= set(newest[AGENTS[0]]["window"])
    assert all(len(m["recent_rewards"]) == 20 for m in newest.values())
    said: dict[str, Any] = {}
    for message in found:
        if message["type"] in ("action_update", "thought_update"):
            assert said.setdefault(message["id"], message) == message


def test_a_live_row_is_the_event(home: Path) -> None:
    (first, *_) = [m["data"] for m in updates(home) if m["type"] == "action_update"]
    assert first["agent_id"] in AGENTS
    assert first["tool"]
    assert first["context"]["arguments"] is not None


def test_lag_says_that_nothing_is_behind(home: Path) -> None:
    def told() -> int:
        (row,) = json.loads(agentmon(home, "lag", "--json"))
        assert row["query"] == "monitor"
        return int(row["lag_messages"])

    end = time.monotonic() + 30  # Spark reports a trigger a moment after its rows are seen
    while told() and time.monotonic() < end:
        time.sleep(1)
    assert told() == 0
