"""What the job costs on a standalone cluster of this machine, a message: its executors, and its driver.

    python -m bench.sizing [--events N] [--partitions N] [--rate R] [--seconds S] [--workers N]

Workers have one core each. The job is held while a backlog of N events is made, and works it off then; after it events
come at R a second for S seconds. --partitions: of agent.actions and of agent.thoughts; each event has a key of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil

from agentmon.live.client import Connection
from agentmon.live.topics import ensure, wanted_topics
from agentmon.stack.addresses import LOOPBACK
from bench.cluster import Cluster
from bench.events import Event as Message
from bench.events import events, producer, send_all
from bench.home import Stack, stack

Processes = Mapping[str, list[psutil.Process]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--partitions", type=int, default=3)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with stack() as own, tempfile.TemporaryDirectory(prefix="agentmon-cluster-") as folder:
        start_broker(own, arguments.partitions)
        cluster = Cluster(Path(folder), own.settings)
        try:
            start(cluster, arguments.workers)
            send_all(own.bootstrap, backlog_of(arguments.events // 2, "-warm"))
            own.wait_sealed(arguments.events // 2)
            _show("backlog", backlog(cluster, own, arguments.events))
            _show(f"{arguments.rate:g}/s", steady(cluster, own, arguments.rate, arguments.seconds))
        finally:
            cluster.stop()
    return 0


def start_broker(own: Stack, partitions: int) -> None:
    """Start it, with so many partitions of agent.actions and of agent.thoughts."""
    own.broker.start(own.bootstrap, LOOPBACK, int(own.bootstrap.rpartition(":")[2]))
    specs = [
        replace(spec, partitions=partitions) if spec.name in ("agent.actions", "agent.thoughts") else spec
        for spec in wanted_topics()
    ]
    with Connection(own.settings) as connection:
        ensure(connection, specs)


def start(cluster: Cluster, workers: int) -> None:
    """Start the cluster and the job, and wait until all executors are there."""
    cluster.start_master()
    for number in range(workers):
        cluster.start_worker(f"worker-{number}")
    cluster.start_job()
    cluster.wait("job", cluster.is_job_healthy)
    cluster.wait("job", lambda: len(cluster.ask("executors")) == workers + 1)


def backlog_of(count: int, tag: str) -> Iterator[Message]:
    return spread(events(count, start=time.time() - 3600, step_s=0.003, tag=tag))


def backlog(cluster: Cluster, own: Stack, count: int) -> dict[str, Any]:
    """Work off so many events that are there before the job goes on."""
    before, processes = own.sealed(), processes_of(cluster)
    everyone = [process for group in processes.values() for process in group]
    for process in everyone:
        process.suspend()
    try:
        send_all(own.bootstrap, backlog_of(count, "-bulk"))
    finally:
        begun, cpu = time.time(), cpu_of(processes)
        for process in everyone:
            process.resume()
    with watched(own) as seen:
        seconds = own.wait_sealed(before + count, pause_s=5) - begun
        looked, spent = time.time() - begun, since(processes, cpu, cluster)
    beside = spent.pop("beside")
    return {
        "events": count,
        "events_per_s": round(count / seconds),
        **{f"{name}_us_per_event": round(taken / count * 1e6, 1) for name, taken in spent.items()},
        "beside_cores": round(beside / looked, 2),  # also after the last commit, until somebody looked
        "executor_peak_mib": peak_mib(cluster),
        **times(cluster, seen, begun),
    }


def steady(cluster: Cluster, own: Stack, rate: float, seconds: float) -> dict[str, Any]:
    """Events at a rate, as they come."""
    before, processes = own.sealed(), processes_of(cluster)
    begun, cpu = time.time(), cpu_of(processes)
    out, count = producer(own.bootstrap), round(rate * seconds)
    with watched(own) as seen:
        for number, (topic, key, value) in enumerate(spread(events(count, start=begun, step_s=1 / rate, tag="-flow"))):
            time.sleep(max(0.0, begun + number / rate - time.time()))
            out.produce(topic, value, key)
            out.poll(0)
        out.flush(30)
        took, spent = time.time() - begun, since(processes, cpu, cluster)
        own.wait_sealed(before + count)
    return {
        "events": count,
        **{f"{name}_cores": round(taken / took, 2) for name, taken in spent.items()},
        **times(cluster, seen, begun),
    }


def spread(wanted: Iterable[Message]) -> Iterator[Message]:
    """The same events, over all partitions."""
    return ((topic, str(number).encode(), value) for number, (topic, _, value) in enumerate(wanted))


def processes_of(cluster: Cluster) -> Processes:
    """JVMs and Python processes of all executors, the driver's Python, the driver's JVM."""
    driver = cluster.driver()
    executors = list(cluster.executors().values())
    return {
        "executors": [p for jvm in executors for p in (jvm, *jvm.children(recursive=True))],
        "driver_python": [driver],
        "driver_jvm": [driver.parent()],
    }


def cpu_of(processes: Processes) -> dict[str, float]:
    """Seconds of CPU that each group has taken; `beside`: all else on the machine, the broker among it, and what it lost."""
    spent = {name: sum(sum(p.cpu_times()[:2]) for p in group) for name, group in processes.items()}
    machine = psutil.cpu_times()
    busy = machine.user + machine.nice + machine.system + machine.irq + machine.softirq + machine.steal
    return {**spent, "beside": busy - sum(spent.values())}


def peak_mib(cluster: Cluster) -> dict[str, int]:
    """The most that an executor's JVM, and that a Python process below one, has ever had in memory; Linux says so."""
    jvms = list(cluster.executors().values())
    workers = [process for jvm in jvms for process in jvm.children(recursive=True)]
    return {"jvm": max(map(_peak_mib, jvms)), "python": max(map(_peak_mib, workers))}


def _peak_mib(process: psutil.Process) -> int:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def since(before: Processes, cpu: Mapping[str, float], cluster: Cluster) -> dict[str, float]:
    """Seconds of CPU that each group has taken since. Raises RuntimeError where a process ended, and took its count along."""
    now = processes_of(cluster)
    for name, group in before.items():
        if gone := set(group) - set(now[name]):
            raise RuntimeError(
                f"of {name} ended meanwhile, with the CPU that they had taken: {sorted(p.pid for p in gone)}"
            )
    return {name: taken - cpu[name] for name, taken in cpu_of(now).items()}


@contextmanager
def watched(own: Stack) -> Iterator[dict[int, dict[str, Any]]]:
    """What the job reports of each micro-batch with messages, by its number, as they come."""
    seen: dict[int, dict[str, Any]] = {}
    ended = Event()

    def look() -> None:
        while not ended.wait(0.1):
            monitor = json.loads((own.settings.run / "progress.json").read_text())["queries"]["monitor"]
            if monitor.get("rows"):
                seen[monitor["batch_id"]] = monitor

    thread = Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        time.sleep(1)  # a batch is reported after it is sealed
        ended.set()
        thread.join()


def times(cluster: Cluster, seen: Mapping[int, Mapping[str, Any]], since: float) -> dict[str, Any]:
    """Of the micro-batches since a moment: tasks of each; median milliseconds of all, and of its tasks."""
    stages = [s for s in cluster.ask("stages?status=complete") if _epoch(s["submissionTime"]) >= since]
    stages = [stage for stage in stages if stage["inputRecords"]]
    tasks_s = [_epoch(stage["completionTime"]) - _epoch(stage["submissionTime"]) for stage in stages]
    own_batches = [batch for batch in seen.values() if datetime.fromisoformat(batch["at"]).timestamp() >= since - 1]
    return {
        "batches": len(stages),
        "tasks_a_batch": [min(s["numTasks"] for s in stages), max(s["numTasks"] for s in stages)],
        "batch_ms": round(statistics.median(batch["batch_ms"] for batch in own_batches)),
        "of_it_tasks_ms": round(1000 * statistics.median(tasks_s)),
    }


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text.replace("GMT", "+00:00")).timestamp()


def _show(name: str, figures: Mapping[str, Any]) -> None:
    print(json.dumps({"what": name, **figures}), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
