"""How long after it happened an event is in its agent's figures on agent.monitor.frontend, and in Delta."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from agentmon.contracts.topics import FRONTEND
from agentmon.lake.connection import open_lake
from agentmon.live.client import client_config
from agentmon.settings import project_root
from bench.home import Stack

_SECONDS_WARM = 10.0

_FRESHNESS = """
    WITH stored AS (
        SELECT event_time, kafka_topic_id, kafka_partition, kafka_offset FROM actions WHERE agent_id LIKE $agents
        UNION ALL SELECT event_time, kafka_topic_id, kafka_partition, kafka_offset FROM thoughts WHERE agent_id LIKE $agents
    )
    SELECT quantile_cont(seconds, [0.5, 0.95, 0.99]) FROM (
        SELECT epoch(l.committed_at) - epoch(s.event_time) AS seconds
        FROM stored s JOIN ledger l ON s.kafka_topic_id = l.kafka_topic_id AND s.kafka_partition = l.kafka_partition
         AND s.kafka_offset >= l.start_offset AND s.kafka_offset < l.end_offset
    )
"""


def measure(own: Stack, rate: float, seconds: float) -> dict[str, Any]:
    """Events at `rate` a second for `seconds`; the first ten seconds do not count."""
    tag = f"-r{rate:g}-{int(time.time())}"
    seen: list[tuple[float, str, int]] = []
    stop = threading.Event()
    reader = threading.Thread(target=_read_updates, args=(own, seen, stop), daemon=True)
    reader.start()
    before = own.sealed()
    send(own, rate, seconds, tag)
    own.wait_sealed(before + round(rate * seconds))
    time.sleep(5)
    stop.set()
    reader.join(10)
    figures = sorted(_delays(_sent(own, tag), seen))
    with open_lake(own.settings.lake) as con:
        (delta,) = con.execute(_FRESHNESS, {"agents": f"%{tag}-%"}).fetchone() or ([],)
    return {
        "rate": rate,
        "events": len(figures),
        **{f"figures_p{q}_s": round(quantile(figures, q / 100), 3) for q in (50, 95, 99)},
        **{f"delta_p{q}_s": round(float(s), 3) for q, s in zip((50, 95, 99), delta, strict=True)},
    }


def send(own: Stack, rate: float, seconds: float, tag: str = "-steady") -> None:
    """Send events at a rate, from a process of its own."""
    command = [sys.executable, "-m", "bench.events", own.bootstrap, str(rate), str(seconds), tag]
    subprocess.run(command, check=True, cwd=project_root())


def _read_updates(own: Stack, seen: list[tuple[float, str, int]], stop: threading.Event) -> None:
    """Notes (when, agent, how many events its figures count) of every learning_update."""
    consumer = KafkaConsumer(**client_config(own.settings), enable_auto_commit=False)
    place = TopicPartition(FRONTEND, 0)
    consumer.assign([place])
    consumer.seek_to_end(place)
    consumer.position(place)
    while not stop.is_set():
        for record in consumer.poll(50).get(place, []):
            # The moment at which Kafka took the message would flatter; this is when a screen has it.
            now = time.time()
            message = json.loads(record.value)
            if message["type"] == "learning_update":
                seen.append((now, message["data"]["agent_id"], message["data"]["total_events"]))
    consumer.close()


def _sent(own: Stack, tag: str) -> dict[str, list[float]]:
    """Event times of each agent, in order."""
    sent: dict[str, list[float]] = {}
    with open_lake(own.settings.lake) as con:
        found = con.execute(
            """SELECT agent_id, epoch(event_time) FROM actions WHERE agent_id LIKE $agents
               UNION ALL SELECT agent_id, epoch(event_time) FROM thoughts WHERE agent_id LIKE $agents
               UNION ALL SELECT agent_id, epoch(event_time) FROM learning WHERE agent_id LIKE $agents ORDER BY 2""",
            {"agents": f"%{tag}-%"},
        ).fetchall()
    for agent, moment in found:
        sent.setdefault(agent, []).append(moment)
    return sent


def _delays(sent: dict[str, list[float]], seen: list[tuple[float, str, int]]) -> Iterator[float]:
    """For each event, the time from its happening until its agent's figures had counted as many."""
    begun = min((times[0] for times in sent.values()), default=0.0)
    for agent, times in sent.items():
        updates = [(count, when) for when, name, count in seen if name == agent]
        at = 0
        for number, moment in enumerate(times, start=1):
            while at < len(updates) and updates[at][0] < number:
                at += 1
            if at == len(updates):
                raise RuntimeError(f"event {number} of {agent} never showed in its figures")
            if moment >= begun + _SECONDS_WARM:
                yield updates[at][1] - moment


def quantile(ordered: list[float], q: float) -> float:
    """The q-quantile of an ordered list."""
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")
