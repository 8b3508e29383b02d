"""A message that was sent twice counts once; whoever does not say so has sent two."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from kafka import KafkaProducer

from agentmon.contracts.topics import MAYBE_REPEAT
from agentmon.lake.connection import open_lake
from agentmon.live.client import Connection, client_config
from agentmon.live.topics import describe
from agentmon.settings import Settings
from agentmon.stream.batch import Batch, Range, now
from agentmon.stream.parse import read_batch
from agentmon.stream.repeats import move_repeats
from agentmon.stream.source import read_ranges
from agentmon.stream.store import Store
from agentmon.stream.tables import create_missing


class KilledError(Exception):
    """Stands for a kill -9 between two tables' writes."""


@pytest.fixture
def topic(broker: Settings, new_topic: Callable[..., str]) -> str:
    """Messages: first copies, copies within a batch and in the next, marked and not."""
    name = new_topic("agent.repeats")
    producer = KafkaProducer(**client_config(broker))
    for event_id, is_marked in (
        ("a", False), ("b", True), ("c", False), ("c", True), ("b", True),
        # the second batch
        ("a", True), ("d", True), ("a", False), (None, True), ("e", False), ("d", True),
    ):  # fmt: skip
        message = {"type": "x", "agent_id": "r", "timestamp": 1763000000, "event_id": event_id}
        headers = [(MAYBE_REPEAT, b"1")] if is_marked else []
        producer.send(name, json.dumps(message).encode(), headers=headers).get(10)
    producer.close()
    return name


def rows(lake: str, table: str) -> list[tuple[Any, ...]]:
    with open_lake(lake) as con:
        return con.execute(f"SELECT kafka_offset, event_id FROM {table} ORDER BY 1").fetchall()


def test_second_copies_are_set_aside_and_a_batch_cut_off_is_done_alike(
    home_settings: Settings, connection: Connection, topic: str
) -> None:
    view = describe(connection)
    lake = home_settings.lake
    create_missing(lake)

    def batch(number: int, start: int, end: int) -> Batch:
        return Batch(
            "query", number, (Range(topic, view.topics[topic].topic_id, 0, start, end),), now(), view.cluster_id
        )

    def store(one: Batch, die_before: str | None = None) -> dict[str, int]:
        def before_write(table: str) -> None:
            if table == die_before:
                raise KilledError(table)

        (messages,) = read_ranges(home_settings, one.ranges, 100)
        parsed = move_repeats(read_batch(messages, home_settings, one), lake, one.ranges)
        return Store(home_settings, before_write=before_write).store(parsed, one)

    first, second = batch(0, 0, 5), batch(1, 5, 11)
    # Cut off once its events are stored: done again, its rows must not be taken for copies of themselves.
    with pytest.raises(KilledError):
        store(first, die_before="ledger")
    stored = store(first)
    assert (stored["events"], stored["quarantine"]) == (3, 2)
    assert rows(lake, "events") == [(0, "a"), (1, "b"), (2, "c")]
    assert rows(lake, "quarantine") == [(3, "c"), (4, "b")]
    stored = store(second)
    assert (stored["events"], stored["quarantine"]) == (4, 2)
    assert rows(lake, "events")[3:] == [(6, "d"), (7, "a"), (8, None), (9, "e")]
    assert rows(lake, "quarantine")[2:] == [(5, "a"), (10, "d")]
    with open_lake(lake) as con:
        told = con.execute("SELECT DISTINCT reason, error, agent_id, raw::VARCHAR LIKE '%event_id%' FROM quarantine")
        assert told.fetchall() == [
            ("repeat", "The producer sent it twice: the first copy, with the same event_id, counts.", "r", True)
        ]
        assert con.execute("SELECT sum(other), sum(quarantined) FROM summaries").fetchone() == (7, 4)
