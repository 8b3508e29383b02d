"""How long after it happened an event is in its agent's figures on agent.monitor.frontend, and can be read in Delta.

Over all events but those of the first ten seconds; they are spread evenly over time, so that it plays no part at which
moment of a batch one comes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from agentmon.lake.connection import open_lake
from agentmon.settings import project_root
from bench.follow import Follower, Update, quantile
from bench.home import Line, Stack
from bench.processes import Meter

#: How long the job is warmed up before latency is measured, seconds: a JVM compiles for about as long.
_WARM_S = 60.0
#: Of each measurement, what does not count.
_FIRST_S = 10.0

#: (agent, run, batch, time) of each event.
_STORED = """
    WITH stored AS (
        SELECT agent_id, event_time, kafka_topic_id, kafka_partition, kafka_offset FROM actions WHERE agent_id LIKE $agents
        UNION ALL BY NAME
        SELECT agent_id, event_time, kafka_topic_id, kafka_partition, kafka_offset FROM thoughts WHERE agent_id LIKE $agents
        UNION ALL BY NAME
        SELECT agent_id, event_time, kafka_topic_id, kafka_partition, kafka_offset FROM learning WHERE agent_id LIKE $agents
    )
    SELECT agent_id, query_id, batch_id, epoch(event_time)
    FROM stored s
    JOIN ledger l ON s.kafka_topic_id = l.kafka_topic_id AND s.kafka_partition = l.kafka_partition
        AND s.kafka_offset >= l.start_offset AND s.kafka_offset < l.end_offset
    WHERE kind = 'stored'
    ORDER BY committed_at, event_time
"""

#: A batch of the job: its run, and its number within it.
Batch = tuple[str, int]


def delays(own: Stack, seconds: float) -> Iterator[Line]:
    """Latency, freshness and cores at two rates."""
    before = own.sealed()
    send(own, 1000.0, _WARM_S, "-warm-up")
    own.wait_sealed(before + round(1000 * _WARM_S))
    for rate in (1000.0, 50.0):
        figures, delta, cores = measure(own, rate, seconds)
        yield f"figures at {rate:g}/s, {len(figures):,} events: p50, s", round(quantile(figures, 0.5), 2), "<= 0.8"
        yield f"figures at {rate:g}/s: p95, s", round(quantile(figures, 0.95), 2), "<= 1.4 (floor 1.8)"
        yield f"figures at {rate:g}/s: p99 and the most, s", _worst(figures), "-"
        yield f"Delta at {rate:g}/s: p50, s", round(quantile(delta, 0.5), 2), "-"
        yield f"Delta at {rate:g}/s: p95, s", round(quantile(delta, 0.95), 2), "<= 2 (floor 3)"
        yield f"Delta at {rate:g}/s: p99 and the most, s", _worst(delta), "-"
        yield f"cores at {rate:g}/s", round(cores, 2), "<= 0.6" if rate == 1000 else "-"


def _worst(values: list[float]) -> list[float]:
    return [round(quantile(values, 0.99), 2), round(max(values), 2)]


def measure(own: Stack, rate: float, seconds: float) -> tuple[list[float], list[float], float]:
    """Events at a rate: the delay of each until its figures, until it could be read in Delta; the cores taken meanwhile."""
    tag = f"-r{rate:g}-{int(time.time())}"
    before = own.sealed()
    with Follower(own) as follower:
        with Meter(own) as meter:
            begun = time.time()
            send(own, rate, seconds, tag)
            used = meter.between(begun + _FIRST_S)
        own.wait_sealed(before + round(rate * seconds))
        time.sleep(5)
    with open_lake(own.settings.lake) as con:
        stored = con.execute(_STORED, {"agents": f"%{tag}-%"}).fetchall()
    if len(stored) != round(rate * seconds):
        raise RuntimeError(f"{len(stored)} events are in the lake, {rate * seconds:.0f} were sent")
    since = min(moment for *_, moment in stored) + _FIRST_S
    return (
        list(_until_counted(stored, follower.updates, since)),
        list(_until_readable(stored, _sealed_at(Path(own.settings.lake)), since)),
        (used.tasks + used.driver) / used.at,
    )


def send(own: Stack, rate: float, seconds: float, tag: str = "-steady") -> None:
    """Send events at a rate, from a process of its own."""
    command = [sys.executable, "-m", "bench.events", own.bootstrap, str(rate), str(seconds), tag]
    subprocess.run(command, check=True, cwd=project_root())


def _until_counted(
    stored: list[tuple[str, str, int, float]], updates: dict[str, list[Update]], since: float
) -> Iterator[float]:
    """Until the first figures that have counted all of the agent's events up to this one's batch: so this one for sure."""
    ends: dict[tuple[str, Batch], int] = {}
    counted: dict[str, int] = {}
    for agent, run, number, _ in stored:
        counted[agent] = ends[agent, (run, number)] = counted.get(agent, 0) + 1
    shown: dict[tuple[str, Batch], float] = {}
    for (agent, batch), end in ends.items():
        found = next((update.at for update in updates.get(agent, ()) if update.events >= end), None)
        if found is None:
            raise RuntimeError(f"event {end} of {agent} never showed in its figures")
        shown[agent, batch] = found
    for agent, run, number, moment in stored:
        if moment >= since:
            yield shown[agent, (run, number)] - moment


def _until_readable(
    stored: list[tuple[str, str, int, float]], sealed_at: dict[Batch, float], since: float
) -> Iterator[float]:
    """Until the commit of the ledger that sealed its batch: all tables had it by then."""
    for _, run, number, moment in stored:
        if moment >= since:
            yield sealed_at[run, number] - moment


def _sealed_at(lake: Path) -> dict[Batch, float]:
    """When each batch's commit of the ledger was there, as its file says; what the row says was before it was written."""
    found: dict[Batch, float] = {}
    for path in (lake / "ledger" / "_delta_log").glob("*.json"):
        for line in path.read_text().splitlines():
            if '"txn"' in line and (entry := json.loads(line).get("txn")):
                found[entry["appId"], entry["version"]] = path.stat().st_mtime
    return found
