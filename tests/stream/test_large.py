"""Messages as large as Kafka takes them: one alone, and many at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from kafka import KafkaProducer
from tests.stream.life import Life

from agentmon.live.client import client_config

#: What the job's processes may take together in a backlog, MiB.
MEMORY_MIB = 2560


def test_messages_as_large_as_kafka_takes_are_stored(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    """What is published of them is larger by a little: a text is cut, and with a name that long nothing is published."""
    life.make_topic("agent.actions")
    with life.job() as running:
        life.send("agent.actions", 1, tool="t", reasoning="x" * 1_048_360)
        life.wait_sealed("agent.actions", 1, running)
        caplog.clear()
        life.send("agent.actions", 1, tool="t", agent_id="n" * 1_048_360)
        life.wait_sealed("agent.actions", 2, running)
    said = {text.partition(",")[0] for text in caplog.messages if not text.startswith("waiting: Kafka")}
    assert said == {"a message for agent.monitor.frontend was left out"}
    lengths = "SELECT max(length(reasoning)), max(length(agent_id)) FROM actions"
    assert life.rows(lengths) == [(1_048_360, 1_048_360)]


@contextmanager
def watching_memory() -> Iterator[list[float]]:
    """Most memory of the JVM and of Spark's Python workers together so far, as PSS, MiB (the driver is this process)."""
    most, ending = [0.0], threading.Event()

    def look() -> None:
        while not ending.wait(0.2):
            most[0] = max(most[0], sum(map(pss_mib, psutil.Process().children(recursive=True))))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        ending.set()
        thread.join()


def pss_mib(process: psutil.Process) -> float:
    try:
        if not any(sign in " ".join(process.cmdline()) for sign in ("SparkSubmit", "pyspark.daemon")):
            return 0.0
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    except (psutil.NoSuchProcess, OSError):
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


def test_huge_messages_come_a_few_at_a_time(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    """Spark counts offsets, not bytes: a batch of 200 would be 3 GB."""
    count, size = 200, 15_000_000
    life.make_topic("agent.huge", partitions=3, **{"max.message.bytes": "20000000", "file.delete.delay.ms": "100"})
    producer = KafkaProducer(**client_config(life.settings), max_request_size=20_000_000)
    for number in range(count):
        value = json.dumps({"type": "x", "agent_id": "a", "n": number, "text": "x" * size}).encode()
        producer.send("agent.huge", value).get(60)
    producer.close()
    with watching_memory() as most, life.job() as running:
        life.wait_sealed("agent.huge", count, running, patience_s=300)
    life.delete_topic("agent.huge")  # 3 GB
    assert not [text for text in caplog.messages if "started again" in text]
    counted = (
        "SELECT count(*), count(DISTINCT (kafka_partition, kafka_offset)), min(length(payload)) > 15000000 FROM events"
    )
    assert life.rows(f"{counted} WHERE kafka_topic = 'agent.huge'") == [(count, count, True)]
    assert 0 < most[0] < MEMORY_MIB


def test_as_many_agents_and_sessions_as_messages(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    """What tasks return grows with these: it has to fit the driver's results and its memory, -Xmx1g."""
    count = 200_000
    life.make_topic("agent.many", partitions=3)
    producer = KafkaProducer(**client_config(life.settings), linger_ms=20)
    for number in range(count):
        value = {"type": "x", "agent_id": f"agent-{number}", "session_id": f"session-{number}"}
        producer.send("agent.many", json.dumps(value).encode())
    producer.close()
    with life.job() as running:
        life.wait_sealed("agent.many", count, running, patience_s=300)
    assert not [text for text in caplog.messages if "started again" in text]
    assert life.rows("SELECT count(DISTINCT agent_id), sum(other) FROM summaries WHERE agent_id LIKE 'agent-%'") == [
        (count, count)
    ]
    sessions = "SELECT count(DISTINCT session_id) FROM sessions WHERE session_id LIKE 'session-%'"
    assert life.rows(sessions) == [(count,)]
