"""One lake through several runs of the job, in this process and on the session's Spark: a JVM a run would take minutes."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kafka import KafkaProducer, TopicPartition
from tests.lake.rows import Row, append

from agentmon.errors import NoLakeError
from agentmon.lake.connection import open_lake
from agentmon.live.client import Connection, client_config
from agentmon.live.topics import TopicSpec, describe, ensure
from agentmon.settings import Settings
from agentmon.stream.job import Job, Options
from agentmon.stream.status import JobStatus
from agentmon_cli.main import main

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PATIENCE_S = 90.0


class Life:
    """A lake, its Kafka, and what a user does to them."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._spark = spark
        self.settings = settings
        self.connection = Connection(settings)

    @contextmanager
    def job(
        self,
        *,
        before_write: Callable[[str], None] = lambda _: None,
        agent_silence_s: float | None = None,
        **accepted: bool,
    ) -> Iterator[threading.Thread]:
        """The job, running; its end is waited for. Raises what the job raised."""
        settings = replace(self.settings, agent_silence_s=agent_silence_s or self.settings.agent_silence_s)
        stopping, raised = threading.Event(), []

        def run() -> None:
            try:
                status = JobStatus(settings)
                job = Job(settings, Options(**accepted), lambda: self._spark, status, stopping, before_write)
                job.run()
            except BaseException as error:  # noqa: BLE001 - raised again where the test waits for the job
                raised.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield thread
        finally:
            stopping.set()
            thread.join()
            if raised:
                raise raised[0]

    def make_topic(self, name: str, partitions: int = 1, **configs: str) -> None:
        ensure(self.connection, [TopicSpec(name, partitions, 1, configs)])

    def delete_topic(self, name: str) -> None:
        self.connection.ask(lambda client: client.delete_topics([name]))
        wait(lambda: name not in describe(self.connection).topics, f"the end of {name}")

    def drop_records(self, topic: str, before: int) -> None:
        """Have Kafka drop what is below an offset, as its retention does."""
        self.connection.ask(lambda client: client.delete_records({TopicPartition(topic, 0): before}))

    def send(self, topic: str, count: int, **fields: Any) -> None:
        producer = KafkaProducer(**client_config(self.settings))
        for number in range(count):
            message = {"agent_id": "a", "session_id": "s", "timestamp": time.time(), "n": number, **fields}
            producer.send(topic, json.dumps(message).encode(), b"a")
        producer.close()

    def enter(self, *rows: Row) -> None:
        """Put rows into the ledger, as the nightly job does."""
        append(self._spark, self.settings.lake, "ledger", rows)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with open_lake(self.settings.lake) as con:
            return list(con.execute(query).fetchall())

    def sealed(self, topic: str) -> int:
        """Offsets of a topic's newest incarnation that the ledger has as stored."""
        topic_id = describe(self.connection).topics[topic].topic_id
        stored = f"FROM ledger WHERE kind = 'stored' AND kafka_topic_id = '{topic_id}'"
        try:
            return int(self.rows(f"SELECT coalesce(sum(end_offset - start_offset), 0) {stored}")[0][0])
        except NoLakeError:
            return 0

    def wait_sealed(self, topic: str, count: int, running: threading.Thread, patience_s: float = PATIENCE_S) -> None:
        """Wait until so many offsets of a topic are stored; the lake is looked at after each commit only."""
        log = Path(self.settings.lake) / "ledger" / "_delta_log"
        seen = -1

        def is_there() -> bool:
            nonlocal seen
            commits = len(list(log.glob("*.json")))
            if commits == seen:
                return not running.is_alive()
            seen = commits
            return self.sealed(topic) >= count

        wait(is_there, f"{count} messages of {topic} in the lake", patience_s)


def wait(happened: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for something, or fail naming it."""
    end = time.monotonic() + patience_s
    while not happened():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.1)


def wait_ended(running: threading.Thread) -> None:
    """Wait for a job that ends by itself, or fail."""
    running.join(PATIENCE_S)
    assert not running.is_alive(), "the job goes on"


def audited(life: Life, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    """`agentmon audit --json` as typed: exit code, and the rows of each topic."""
    monkeypatch.setenv("AGENTMON_HOME", str(life.settings.home))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", life.settings.bootstrap)
    monkeypatch.setattr(sys, "argv", ["agentmon", "audit", "--json"])
    capsys.readouterr()
    code = main()
    found: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads(capsys.readouterr().out):
        found.setdefault(row["topic"], []).append(row)
    return code, found


def figures(rows: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    """These columns of an audit's rows."""
    return [tuple(row[name] for name in names) for row in rows]


def quick(settings: Settings) -> Settings:
    """A job that commits at once and merges small files early."""
    return replace(settings, monitor_interval_s=0.2, compact_files=2)
