"""Break things while events flow, then let `agentmon audit` say whether anything was lost or doubled.

    python -m bench.faults [--events N] [--kills N] [--broker-kills N] [--seed N]

The driver is killed with -9 at random moments, every second time between two tables' writes of one
batch (as soon as a new commit of `actions` shows in its log); the broker at random moments.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from agentmon.contracts.topics import FRONTEND
from agentmon.lake.connection import open_lake
from agentmon.live.client import client_config
from agentmon.settings import project_root
from bench.events import events, send_all
from bench.home import Stack, stack, wait

_FIGURES = """
    SELECT agent_id, tool, count(*) AS actions, count(success) AS known, count(*) FILTER (success) AS successes,
           count(*) FILTER (error <> '') AS errors, count(reward) AS rewards, coalesce(sum(reward), 0) AS reward_sum,
           coalesce(sum(duration_ms), 0) AS duration_sum
    FROM actions GROUP BY ALL ORDER BY ALL
"""
_SUMMED = """
    SELECT agent_id, tool, sum(actions) AS actions, sum(known) AS known, sum(successes) AS successes, sum(errors) AS errors,
           sum(action_reward_count) AS rewards, sum(action_reward_sum) AS reward_sum, sum(duration_sum_ms) AS duration_sum
    FROM summaries GROUP BY ALL HAVING sum(actions) > 0 ORDER BY ALL
"""


@dataclass(frozen=True)
class Plan:
    events: int = 200_000
    kills: int = 10
    broker_kills: int = 2
    seed: int = 1
    seconds: float = 240.0  # over which the events flow


def run(plan: Plan, own: Stack) -> dict[str, Any]:
    """Everything that went wrong on purpose, and what came of it. Raises AssertionError with the first falsehood."""
    chance = random.Random(plan.seed)
    own.start_broker()
    flow = threading.Thread(target=_flow, args=(own, plan), daemon=True)
    flow.start()
    own.start_job()
    broker_turns = set(chance.sample(range(plan.kills), min(plan.broker_kills, plan.kills)))
    between = 0
    for turn in range(plan.kills):
        if turn in broker_turns:
            own.kill_broker()
            time.sleep(chance.uniform(0.5, 3))
            own.start_broker()
        if turn % 2 and _wait_for_commit(own, "actions"):
            between += 1
        else:
            time.sleep(chance.uniform(0.5, 8))
        own.kill_job()
        own.start_job()
    flow.join()
    own.wait_sealed(plan.events)
    told = _audit(own)
    _check_figures(own)
    return {
        "killed": plan.kills,
        "between_tables": between,
        "broker_killed": len(broker_turns),
        **told,
        **_check_frontend(own),
    }


def _flow(own: Stack, plan: Plan) -> None:
    """Send the events in slices, so that they flow for as long as things are broken."""
    slices = 40
    size = plan.events // slices
    for number in range(slices):
        count = size if number < slices - 1 else plan.events - size * (slices - 1)
        # Idempotent within a slice; the producer outlives a broker that is away for a moment.
        send_all(own.bootstrap, events(count, start=time.time(), step_s=0.001, tag=f"-{number}"))
        time.sleep(plan.seconds / slices)


def _wait_for_commit(own: Stack, table: str) -> bool:
    """Wait until a table's log has one more commit; False if that takes too long."""
    log = Path(own.settings.lake) / table / "_delta_log"
    before = len(list(log.glob("*.json")))
    try:
        wait(lambda: len(list(log.glob("*.json"))) > before, 20, "a commit", pause_s=0.002)
    except TimeoutError:
        return False
    return True


def _audit(own: Stack) -> dict[str, Any]:
    ran = subprocess.run(
        [str(Path(sys.executable).parent / "agentmon"), "audit", "--json"],
        capture_output=True, text=True, check=False, cwd=project_root(),
        env={"PATH": "/usr/bin:/bin", "AGENTMON_HOME": str(own.settings.home)},
    )  # fmt: skip
    assert ran.returncode == 0, f"audit says {ran.returncode}: {ran.stderr}{ran.stdout[:2000]}"
    rows = json.loads(ran.stdout)
    return {name: sum(row[name] for row in rows) for name in ("stored", "holes", "repeats", "pending")}


def _check_figures(own: Stack) -> None:
    with open_lake(own.settings.lake) as con:
        raw, summed = con.execute(_FIGURES).fetchall(), con.execute(_SUMMED).fetchall()
    assert len(raw) == len(summed), "summaries have other groups than actions"
    for one, other in zip(raw, summed, strict=True):
        assert one[:7] == other[:7], f"summaries say {other}, actions say {one}"
        assert all(abs(a - b) <= 1e-9 * max(1.0, abs(a)) for a, b in zip(one[7:], other[7:], strict=True)), (one, other)


def _check_frontend(own: Stack) -> dict[str, int]:
    """Every message on the frontend topic has an id, and messages with one id say the same."""
    consumer = KafkaConsumer(**client_config(own.settings), enable_auto_commit=False)
    place = TopicPartition(FRONTEND, 0)
    consumer.assign([place])
    consumer.seek_to_beginning(place)
    end = consumer.end_offsets([place])[place]
    said: dict[str, str] = {}
    messages = 0
    while messages < end:
        for record in consumer.poll(2000).get(place, []):
            message = json.loads(record.value)
            told = (
                json.dumps(message["data"], sort_keys=True)
                if message["type"].endswith(("action_update", "thought_update"))
                else ""
            )
            assert said.setdefault(message["id"], told) == told, f"two messages with the id {message['id']}"
            messages += 1
    consumer.close()
    return {"frontend_messages": messages, "sent_again": messages - len(said)}


def main() -> int:
    default = Plan()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("events", "kills", "broker_kills", "seed"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(default, name))
    parser.add_argument("--seconds", type=float, default=default.seconds)
    plan = Plan(**vars(parser.parse_args()))
    with stack() as own:
        told = run(plan, own)
    print(json.dumps({"events": plan.events, **told}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
