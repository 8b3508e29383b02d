"""Kill publisher and broker with -9 while messages flow, then let the tables say whether each counts once.

    python -m bench.publisher_faults [--seconds 60] [--rate 1000] [--kills 10] [--away 5] [--seed 1]

The agent says each number once its publish has returned: what it said must be in `actions`, once, and the
figures must be those of `actions`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentmon import AgentStreamingPublisher
from agentmon.contracts.topics import is_read
from agentmon.lake.connection import open_lake
from agentmon.live.client import Connection
from agentmon.live.lag import read_topics
from bench.home import Stack, stack, wait

_AGENT = """
import sys, time
from agentmon import AgentStreamingPublisher
own = AgentStreamingPublisher(sys.argv[1], agent_id="faulty", reports=False)
number, rate = int(sys.argv[2]), float(sys.argv[3])
begun, first = time.monotonic(), number
while True:
    if own.publish_action("t", str(number), 1.0, {"n": number}):
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()
    number += 1
    time.sleep(max(0, begun + (number - first) / rate - time.monotonic()))
"""


@dataclass(frozen=True)
class Plan:
    seconds: float = 60.0
    rate: float = 1000.0
    kills: int = 10
    away: float = 5.0  # seconds without a broker, in the middle
    seed: int = 1


def run(plan: Plan, own: Stack, project: str) -> dict[str, Any]:
    """What was done, and what came of it. Raises AssertionError with the first falsehood."""
    own.start_broker()
    own.start_job()
    chance = random.Random(plan.seed)
    ends = sorted(chance.uniform(0, plan.seconds) for _ in range(plan.kills))
    broken = threading.Timer(plan.seconds / 3, _break_broker, (own, plan.away))
    broken.start()
    begun = time.monotonic()
    accepted: list[int] = []
    for life, end in enumerate([*ends, plan.seconds]):
        accepted += _life(own, project, 1_000_000 * life, plan.rate, begun + end)
    broken.join()
    last = AgentStreamingPublisher(project, agent_id="faulty", settings=own.settings, reports=False)
    wait(lambda: not list(Path(project, ".agentmon-spill").glob("*/0*.log")), 120, "an empty spill")
    last.close()
    own.wait_sealed(_in_kafka(own))
    return {
        "accepted": len(accepted),
        "killed": plan.kills,
        "seconds_without_broker": plan.away,
        **_check(own, accepted),
    }


def _life(own: Stack, project: str, first: int, rate: float, until: float) -> list[int]:
    agent = subprocess.Popen(
        [sys.executable, "-c", _AGENT, project, str(first), str(rate)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "AGENTMON_HOME": str(own.settings.home)},
    )  # fmt: skip
    told: list[int] = []

    def listen() -> None:
        assert agent.stdout is not None
        told.extend(int(line) for line in agent.stdout if line.endswith("\n"))

    listener = threading.Thread(target=listen)
    listener.start()
    time.sleep(max(0.0, until - time.monotonic()))
    agent.kill()
    agent.wait()
    listener.join()
    return told


def _break_broker(own: Stack, away: float) -> None:
    own.kill_broker()
    time.sleep(away)
    own.start_broker()


def _in_kafka(own: Stack) -> int:
    with Connection(own.settings) as connection:
        _, offsets = read_topics(connection)
    return sum(end - begin for (topic, _), (begin, end) in offsets.items() if is_read(topic))


def _check(own: Stack, accepted: list[int]) -> dict[str, int]:
    with open_lake(own.settings.lake) as con:
        rows = con.execute("SELECT action::BIGINT, event_id FROM actions WHERE agent_id = 'faulty'").fetchall()
        reasons = dict(con.execute("SELECT reason, count(*) FROM quarantine GROUP BY ALL").fetchall())
        (summed,) = con.execute("SELECT sum(actions) FROM summaries WHERE agent_id = 'faulty'").fetchone() or (0,)
    stored = [event_id for _, event_id in rows]
    lost = set(accepted) - {number for number, _ in rows}
    assert not lost, f"{len(lost)} accepted messages are not in the table: {sorted(lost)[:5]}"
    assert len(set(stored)) == len(stored), f"{len(stored) - len(set(stored))} messages count twice"
    assert summed == len(rows), f"summaries say {summed} actions, the table has {len(rows)}"
    assert set(reasons) <= {"repeat"}, reasons
    return {"stored": len(rows), "sent_twice": reasons.get("repeat", 0)}


def main() -> int:
    default = Plan()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("seconds", "rate", "away"):
        parser.add_argument(f"--{name}", type=float, default=getattr(default, name))
    for name in ("kills", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(default, name))
    plan = Plan(**vars(parser.parse_args()))
    with stack() as own, tempfile.TemporaryDirectory() as project:
        told = run(plan, own, project)
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
