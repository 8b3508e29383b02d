"""make bench: every figure with its goal, beside its peer, on the shipped settings; a table, and artifacts/bench.json.

python -m bench [--events N] [--seconds N] [--steady SECONDS] [--only PART …]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from deltalake import DeltaTable

from agentmon.contracts.tables import TABLES
from agentmon.settings import project_root
from bench import latency, publish, throughput
from bench.events import events, send_all
from bench.home import Stack, stack, wait

#: How long the job is warmed up before latency is measured, seconds.
_WARM_S = 60.0

#: (figure, what was measured, goal)
Line = tuple[str, Any, str]


def start(own: Stack) -> Iterator[Line]:
    """`agentmon up` on a set-up machine: until Kafka takes a message, and until the first row is in Delta."""
    begun = time.time()
    up = subprocess.Popen(
        [Path(sys.executable).with_name("agentmon"), "up"],
        env={"PATH": os.environ["PATH"], "AGENTMON_HOME": str(own.settings.home)},
        stdout=subprocess.DEVNULL,
    )
    wait(lambda: _takes_messages(own), 60, "a broker that takes messages", pause_s=0.05)
    yield "start: broker takes messages, s", round(time.time() - begun, 1), "<= 4"
    send_all(own.bootstrap, events(10, start=time.time(), step_s=0.001, tag="-first"))
    yield "start: first row in Delta, s", round(own.wait_sealed(1) - begun, 1), "<= 20"
    if up.wait() != 0:
        raise RuntimeError("agentmon up failed")


def _takes_messages(own: Stack) -> bool:
    """Whether `up` has noted its broker, and that has the first topic."""
    try:
        own.adopt_broker()
        # log_level: that nobody listens yet is no news.
        admin = AdminClient({"bootstrap.servers": own.bootstrap, "log_level": 0})
        return "agent.actions" in admin.list_topics(timeout=1).topics
    except (OSError, KeyError, ValueError, KafkaException):
        return False


def backlog(own: Stack, count: int) -> Iterator[Line]:
    """A backlog through the job, its peers, and another through the job: the machine's speed changes by the minute."""
    before = _size(Path(own.settings.lake))
    throughput.warm_up(own, count // 2)
    first = throughput.ours(own, count)
    bare = throughput.peer(own, count, duties=False)
    full = throughput.peer(own, count, duties=True)
    second = throughput.ours(own, count)
    mine = {"events_per_s": round(2 * count / (first["seconds"] + second["seconds"]))}
    yield "backlog: agentmon before and after, events/s", [run["events_per_s"] for run in (first, second)], "-"
    yield "backlog: agentmon, events/s", mine["events_per_s"], "100,000 (floor 60,000)"
    yield "backlog: plain Python, same duties, events/s", full["events_per_s"], "peer"
    yield "backlog: plain Python, bare, events/s", bare["events_per_s"], "peer"
    yield "backlog: ratio to the peer with duties", round(mine["events_per_s"] / full["events_per_s"], 2), ">= 1.0"
    yield "backlog: ratio to the bare peer", round(mine["events_per_s"] / bare["events_per_s"], 2), "-"
    grown = _size(Path(own.settings.lake)) - before
    yield "growth: bytes on disk per event", round(grown / (2 * count + count // 2)), "<= 500"


def delays(own: Stack, seconds: float) -> Iterator[Line]:
    """Latency and freshness at two rates, of a job that has run for a minute: a JVM compiles for about as long."""
    before = own.sealed()
    latency.send(own, 1000.0, _WARM_S, "-warm-up")
    own.wait_sealed(before + round(1000 * _WARM_S))
    for rate, floor in ((1000.0, "1.2"), (50.0, "1.5")):
        told = latency.measure(own, rate, seconds)
        yield f"figures at {rate:g}/s: p50, s", told["figures_p50_s"], "0.5 (floor 0.7)"
        yield f"figures at {rate:g}/s: p95, s", told["figures_p95_s"], f"1.0 (floor {floor})"
        yield f"Delta at {rate:g}/s: p95, s", told["delta_p95_s"], "<= 5"


def idle(own: Stack, seconds: float = 30.0) -> Iterator[Line]:
    """What the job costs while nothing arrives."""
    time.sleep(10)
    before = _cpu(own)
    time.sleep(seconds)
    yield "idle: cores", round((_cpu(own) - before) / seconds, 2), "<= 0.2"
    jvm, *others = map(round, _resident(own))
    yield "driver JVM resident, MiB", jvm, "<= 2048"
    yield "the job's Python processes resident, MiB", others, "-"


def steady(own: Stack, seconds: float, rate: float = 500.0) -> Iterator[Line]:
    """Whether anything grows: batch times and memory of the last third against the first."""
    samples: list[tuple[float, float, float]] = []
    began = time.time()
    flow = Thread(target=latency.send, args=(own, rate, seconds), daemon=True)
    flow.start()
    while flow.is_alive():
        time.sleep(2)
        told = json.loads((own.settings.run / "progress.json").read_text())["queries"].get("monitor", {})
        if told.get("batch_ms"):
            if not (resident := _resident(own)):
                raise RuntimeError("the job ended under the load: its log tells why")
            jvm, *others = resident
            samples.append((told["batch_ms"], jvm, sum(others)))
    third = max(1, len(samples) // 3)
    first, last = samples[:third], samples[-third:]
    for index, name in enumerate(("batch time, ms", "JVM resident, MiB", "the Python processes, MiB")):
        pair = [statistics.median(s[index] for s in part) for part in (first, last)]
        yield (
            f"steady {time.time() - began:.0f} s at {rate:g}/s: {name}, first and last third",
            [round(p) for p in pair],
            "no slope",
        )
    lake = Path(own.settings.lake)
    live = [DeltaTable(str(lake / name)).get_add_actions(flatten=True).column("path").to_pylist() for name in TABLES]
    yield "steady: most files in a table's day", max(max(_by_day(paths), default=0) for paths in live), "bounded"
    on_disk = [len(list(day.glob("*.parquet"))) for day in lake.glob("*/event_date=*")]
    yield "steady: the same with those that were merged in the last hour or two", max(on_disk), "bounded"


def _by_day(paths: Iterable[str]) -> list[int]:
    """How many of these files lie in each folder."""
    return list(Counter(path.rpartition("/")[0] for path in paths).values())


def _cpu(own: Stack) -> float:
    return sum(t.user + t.system for t in (p.cpu_times() for p in own.job_processes()))


def _resident(own: Stack) -> list[float]:
    """MiB of the job's JVM, and of the Python processes below it; nothing where it is gone."""
    try:
        return [p.memory_info().rss / 2**20 for p in own.job_processes()]
    except psutil.NoSuchProcess:
        return []


def _size(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


#: What can be asked for by itself; the half hour only with --steady.
_PARTS = ("start", "delays", "idle", "backlog", "steady", "publish")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--steady", type=float, default=0.0, help="seconds at 500 events/s (1800 for the full claim)")
    parser.add_argument(
        "--only", nargs="+", choices=_PARTS, metavar="PART", help=f"{', '.join(_PARTS)}; start comes always"
    )
    arguments = parser.parse_args()
    if "steady" in (arguments.only or ()) and not arguments.steady:
        parser.error("for how long? --only steady takes --steady SECONDS too")
    machine = f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.system()} {platform.machine()}"
    lines: list[Line] = []
    print(f"agentmon bench on {machine}", flush=True)
    with stack() as own:
        parts = {
            "start": lambda: start(own),
            "delays": lambda: delays(own, arguments.seconds),
            "idle": lambda: idle(own),
            "backlog": lambda: backlog(own, arguments.events),
        }
        if arguments.steady:
            parts["steady"] = lambda: steady(own, arguments.steady)
        # Last: what it sends is not of the shape that the bare peer trusts.
        parts["publish"] = lambda: publish.figures(own.bootstrap)
        # The stack is started by the first part, whatever else is asked for.
        chosen = [part for name, part in parts.items() if name == "start" or name in (arguments.only or parts)]
        for part in chosen:
            for line in part():
                lines.append(line)
                print(f"{line[0]:<55} {line[1]!s:>14}   goal {line[2]}", flush=True)
    out = project_root() / "artifacts" / "bench.json"
    out.parent.mkdir(exist_ok=True)
    told = {"machine": machine, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    out.write_text(json.dumps({**told, "figures": [{"name": n, "value": v, "goal": g} for n, v, g in lines]}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
