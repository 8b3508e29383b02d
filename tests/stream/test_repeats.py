"""A message that was sent twice counts once; whoever does not say so has sent two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kafka import KafkaProducer

from agentmon.contracts.topics import MAYBE_REPEAT
from agentmon.lake.connection import open_lake
from agentmon.live.client import Connection, client_config, spark_options
from agentmon.live.topics import TopicSpec, describe, ensure
from agentmon.settings import Settings
from agentmon.stream import run
from agentmon.stream.batch import Batch, Range, now
from agentmon.stream.commit import Store
from agentmon.stream.locks import WRITER_FILE
from agentmon.stream.source import read_ranges
from agentmon.stream.tables import create_missing

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: (partition, event_id, is marked): first copies, copies within a batch and in the next, marked and not.
FIRST = [
    (0, "a", False), (0, "b", True), (0, "c", False), (0, "c", True), (0, "b", True),
    (1, "t", True), (0, "t", False), (0, "u", False), (1, "u", True),
]  # fmt: skip
SECOND = [(0, "a", True), (0, "d", True), (0, "a", False), (0, None, True), (0, "e", False), (1, "d", True)]


class KilledError(Exception):
    """Stands for a kill -9 between two tables' commits."""


class Sent:
    """A topic of two partitions, and batches of what was sent there."""

    def __init__(self, spark: SparkSession, settings: Settings, connection: Connection, topic: str) -> None:
        self._spark, self._settings = spark, settings
        ensure(connection, [TopicSpec(topic, 2, 1)])
        view = describe(connection)
        self._topic, self._topic_id, self._cluster_id = topic, view.topics[topic].topic_id, view.cluster_id
        self._ends = {0: 0, 1: 0}
        self._batches = 0

    def send(self, messages: list[tuple[int, str | None, bool]]) -> Batch:
        """One after another, so that their times are in order."""
        producer = KafkaProducer(**client_config(self._settings))
        starts = dict(self._ends)
        for number, (partition, event_id, is_marked) in enumerate(messages):
            message = {"type": "x", "agent_id": "r", "timestamp": 1763000000, "event_id": event_id}
            headers = [(MAYBE_REPEAT, b"1")] if is_marked else []
            at_ms = 1_793_534_400_000 + 1000 * self._batches + number
            value = json.dumps(message).encode()
            producer.send(self._topic, value, partition=partition, headers=headers, timestamp_ms=at_ms).get(10)
            self._ends[partition] += 1
        producer.close()
        ranges = [Range(self._topic, self._topic_id, p, starts[p], end) for p, end in self._ends.items()]
        self._batches += 1
        kept = tuple(r for r in ranges if r.start < r.end)
        return Batch("query", self._batches, kept, now(), self._cluster_id)

    def store(self, batch: Batch, die_before: str | None = None) -> dict[str, int]:
        """Rows by table, as a batch that is read again from Kafka."""

        def before_write(table: str) -> None:
            if table == die_before:
                raise KilledError(table)

        messages = read_ranges(self._spark, spark_options(self._settings), batch.ranges)
        output = run.run_tasks(messages, batch, self._settings)
        Store(self._settings, before_write=before_write).commit(output, batch)
        return output.rows_by_table()


@pytest.fixture
def sent(spark: SparkSession, home_settings: Settings, connection: Connection, new_topic: Any) -> Sent:
    create_missing(home_settings.lake)
    Path(home_settings.lake, WRITER_FILE).write_text("{}")
    return Sent(spark, home_settings, connection, f"{new_topic('agent.unused')}.repeats")


def rows(lake: str, table: str) -> list[tuple[Any, ...]]:
    with open_lake(lake) as con:
        query = f"SELECT kafka_partition, kafka_offset, event_id FROM {table} ORDER BY kafka_timestamp"
        return con.execute(query).fetchall()


def test_second_copies_are_set_aside_and_a_batch_cut_off_is_done_alike(
    sent: Sent, home_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the two copies are read by two tasks."""
    monkeypatch.setattr(run, "MESSAGES_A_TASK", 1)
    lake = home_settings.lake
    first = sent.send(FIRST)
    # Cut off once its events are stored: done again, its rows must not be taken for copies of themselves.
    with pytest.raises(KilledError):
        sent.store(first, die_before="ledger")
    assert sent.store(first) == {"events": 6, "quarantine": 3}
    assert rows(lake, "events") == [(0, 0, "a"), (0, 1, "b"), (0, 2, "c"), (1, 0, "t"), (0, 5, "t"), (0, 6, "u")]
    assert rows(lake, "quarantine") == [(0, 3, "c"), (0, 4, "b"), (1, 1, "u")]
    assert sent.store(sent.send(SECOND)) == {"events": 4, "quarantine": 2}
    assert rows(lake, "events")[6:] == [(0, 8, "d"), (0, 9, "a"), (0, 10, None), (0, 11, "e")]
    assert rows(lake, "quarantine")[3:] == [(0, 7, "a"), (1, 2, "d")]
    with open_lake(lake) as con:
        query = "SELECT DISTINCT reason, error, agent_id, raw::VARCHAR LIKE '%event_id%' FROM quarantine"
        assert con.execute(query).fetchall() == [
            ("repeat", "The producer sent it twice: the first copy, with the same event_id, counts.", "r", True)
        ]
        assert con.execute("SELECT sum(other), sum(quarantined) FROM summaries").fetchone() == (10, 5)
    left = [path for path in Path(lake).rglob("part-*") if "_delta_log" not in path.parts]
    with open_lake(lake) as con:
        assert len(left) > 0
        assert con.execute("SELECT count(*) FROM events").fetchone() == (10,)


def test_thousands_that_a_restarted_producer_sends_again_count_once(sent: Sent, home_settings: Settings) -> None:
    """A gateway that comes back marks all of its last 90 seconds: some were stored, some never were."""
    again = [(n % 2, f"id-{n}", True) for n in range(600)]
    assert sent.store(sent.send([(n % 2, f"id-{n}", False) for n in range(400)])) == {"events": 400}
    assert sent.store(sent.send(again)) == {"events": 200, "quarantine": 400}
    with open_lake(home_settings.lake) as con:
        assert con.execute("SELECT count(*), count(DISTINCT event_id) FROM events").fetchone() == (600, 600)
        assert con.execute("SELECT sum(other), sum(quarantined) FROM summaries").fetchone() == (600, 400)
