"""What a publisher costs the agent that it runs in: python -m bench.publish BOOTSTRAP prints its figures as JSON.

Each figure is taken in a process of its own, which does nothing but publish.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from agentmon import AgentStreamingPublisher
from agentmon.settings import Settings

#: An action of about 700 bytes as JSON, as agents publish them.
ACTION = {
    "context": {
        "arguments": {"query": "refund policy", "limit": 10},
        "path": "src/agentmon/publish",
        "note": "the quick brown fox jumps over the lazy dog " * 4,
    },
    "reasoning": "look for the place where it is read",
    "result": "found in three files " * 5,
}
NOWHERE = "localhost:1"


def figures(
    bootstrap: str, *, seconds: float = 20.0, rate: float = 1000.0, many: int = 100_000
) -> Iterator[tuple[str, Any, str]]:
    """(figure, value, goal) of a publisher with Kafka there, and away."""
    for name, where in (("Kafka there", bootstrap), ("Kafka away", NOWHERE)):
        told = _measure("pace", where, seconds, rate)
        yield f"publish at {rate:g}/s, {name}: p50, ms", round(told["p50_ms"], 3), "-"
        yield f"publish at {rate:g}/s, {name}: p99, ms", round(told["p99_ms"], 3), "<= 1"
    told = _measure("flood", bootstrap, many)
    yield "one publisher flat out, acknowledged by Kafka, messages/s", round(told["per_s"]), "-"
    told = _measure("away", NOWHERE, many)
    yield f"{many:,} messages while Kafka is away: memory grows by, MiB", round(told["grown_mib"], 1), "flat"
    yield f"{many:,} messages while Kafka is away: on disk, MiB", round(told["spilled_mib"], 1), "-"


def pace(bootstrap: str, seconds: float, rate: float) -> dict[str, Any]:
    """Publish at a rate; how long the calls took."""
    with _publisher(bootstrap) as own:
        took, begun = [], time.monotonic()
        for number in range(round(seconds * rate)):
            before = time.perf_counter()
            own.publish_action("grep", "search", 1.0, duration_ms=12.5, **ACTION)
            took.append(time.perf_counter() - before)
            time.sleep(max(0.0, begun + (number + 1) / rate - time.monotonic()))
    took.sort()
    return {f"p{q}_ms": took[int(len(took) * q / 100)] * 1000 for q in (50, 99)}


def flood(bootstrap: str, count: float) -> dict[str, Any]:
    """Publish as fast as it goes, until Kafka has all."""
    with _publisher(bootstrap) as own:
        begun = time.monotonic()
        for _ in range(int(count)):
            own.publish_action("grep", "search", 1.0, duration_ms=12.5, **ACTION)
        assert own.flush(300)
        return {"per_s": count / (time.monotonic() - begun)}


def away(bootstrap: str, count: float) -> dict[str, Any]:
    """Publish while Kafka is away; what that takes of memory and disk."""
    with _publisher(bootstrap) as own:
        for _ in range(1_000):
            own.publish_action("grep", "search", 1.0, duration_ms=12.5, **ACTION)
        before = psutil.Process().memory_info().rss
        for _ in range(int(count)):
            own.publish_action("grep", "search", 1.0, duration_ms=12.5, **ACTION)
        stats = own.stats()
        assert stats.spilled == stats.accepted
        return {
            "grown_mib": (psutil.Process().memory_info().rss - before) / 2**20,
            "spilled_mib": stats.spilled_bytes / 2**20,
        }


def _publisher(bootstrap: str) -> AgentStreamingPublisher:
    settings = Settings(kafka_bootstrap_servers=bootstrap)
    own = AgentStreamingPublisher(os.environ["BENCH_ROOT"], agent_id="bench", settings=settings, reports=False)
    time.sleep(3)  # its thread imports the client and connects
    return own


def _measure(what: str, *arguments: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as root:
        ran = subprocess.run(
            [sys.executable, "-m", "bench.publish", what, *map(str, arguments)],
            capture_output=True, text=True, check=True, env={**os.environ, "BENCH_ROOT": root},
            cwd=Path(__file__).parents[1],
        )  # fmt: skip
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


def main() -> int:
    what, bootstrap, *numbers = sys.argv[1:] + ([] if len(sys.argv) > 2 else [""])
    if what in ("pace", "flood", "away"):
        print(json.dumps(globals()[what](bootstrap, *map(float, numbers))))
        return 0
    for name, value, goal in figures(what):
        print(f"{name:<70} {value!s:>12}   goal {goal}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
