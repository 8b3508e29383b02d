"""A batch reaches every table once, whatever stops it on the way."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from kafka import KafkaProducer

from agentmon.lake.connection import open_lake
from agentmon.lake.ledger import has_batch, read_positions
from agentmon.live.client import Connection, client_config
from agentmon.live.offsets import beginning_and_end
from agentmon.live.topics import describe
from agentmon.settings import Settings
from agentmon.stream import files
from agentmon.stream.batch import Batch, Range, now
from agentmon.stream.parse import read_batch
from agentmon.stream.resume import unsealed_batch
from agentmon.stream.source import read_ranges
from agentmon.stream.store import Store
from agentmon.stream.tables import create_missing

MESSAGES = [
    {
        "type": "agent_action",
        "tool": "grep",
        "reward": 1.0,
        "agent_id": "a",
        "session_id": "s",
        "timestamp": 1763000000,
    },
    {"type": "agent_action", "tool": "sed", "reward": 0.0, "agent_id": "a", "session_id": "s", "timestamp": 1763000001},
    {"type": "action_started", "tool": "sed", "agent_id": "a", "timestamp": 1763000001},
    "not json",
]


class KilledError(Exception):
    """Stands for a kill -9 between two tables' writes."""


@pytest.fixture
def batch(broker: Settings, connection: Connection, new_topic: Callable[..., str]) -> Batch:
    """MESSAGES in a topic of this test's own, as one batch."""
    topic = new_topic("agent.store")
    producer = KafkaProducer(**client_config(broker))
    for message in MESSAGES:
        producer.send(topic, message.encode() if isinstance(message, str) else json.dumps(message).encode())
    producer.close()
    view = describe(connection)
    (_, end) = beginning_and_end(connection, {topic: 1})[topic, 0]
    assert end == len(MESSAGES)
    return Batch("query", 0, (Range(topic, view.topics[topic].topic_id, 0, 0, end),), now(), view.cluster_id)


def store(settings: Settings, batch: Batch, die_before: str | None = None) -> None:
    def before_write(table: str) -> None:
        if table == die_before:
            raise KilledError(table)

    create_missing(settings.lake)
    (messages,) = read_ranges(settings, batch.ranges, 100)
    Store(settings, before_write=before_write).store(read_batch(messages, settings, batch), batch)


def figures(lake: str) -> dict[str, Any]:
    """What an outsider reads: rows per table and sums of the figures."""
    with open_lake(lake) as con:
        tables = ("events", "quarantine", "ledger", "summaries", "sessions")
        found: dict[str, Any] = {t: con.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables}
        found["other"], found["quarantined"] = con.execute(
            "SELECT sum(other), sum(quarantined) FROM summaries"
        ).fetchone()
        found["offsets"] = con.execute(
            "SELECT kafka_offset FROM events UNION ALL SELECT kafka_offset FROM quarantine ORDER BY 1"
        ).fetchall()
    return found


def test_a_batch_is_in_every_table_once_and_sealed(home_settings: Settings, batch: Batch) -> None:
    store(home_settings, batch)
    once = figures(home_settings.lake)
    assert once["offsets"] == [(0,), (1,), (2,), (3,)]
    assert (once["other"], once["quarantined"]) == (3, 1)
    assert has_batch(home_settings.lake, "query", 0)
    assert [p.end_offset for p in read_positions(home_settings.lake)] == [4]
    store(home_settings, batch)
    assert figures(home_settings.lake) == once


@pytest.mark.parametrize("table", ["quarantine", "summaries", "ledger"])
def test_a_batch_cut_off_is_found_and_finished(home_settings: Settings, batch: Batch, table: str) -> None:
    with pytest.raises(KilledError):
        store(home_settings, batch, die_before=table)
    lake = home_settings.lake
    assert not has_batch(lake, "query", 0)
    assert figures(lake)["summaries"] == 0, "an unsealed batch is in no figure"
    found = unsealed_batch(lake, lambda query, number: has_batch(lake, query, number))
    assert found == batch
    store(home_settings, found)
    after = figures(lake)
    assert after["offsets"] == [(0,), (1,), (2,), (3,)]
    assert (after["other"], after["quarantined"], after["ledger"]) == (3, 1, 1)
    assert unsealed_batch(lake, lambda query, number: has_batch(lake, query, number)) is None


def test_a_table_that_can_not_be_written_leaves_no_files_of_the_others(
    home_settings: Settings, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk each attempt would leave some, until there is no room for anything."""
    write = files.pq.write_table

    def full(rows: pa.Table, *args: Any, **kwargs: Any) -> None:
        if "raw" in rows.column_names:  # quarantine
            raise OSError(errno.ENOSPC, "No space left on device")
        write(rows, *args, **kwargs)

    monkeypatch.setattr(files.pq, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        store(home_settings, batch)
    assert not [path for path in Path(home_settings.lake).rglob("*.parquet") if "_delta_log" not in path.parts]
    monkeypatch.undo()
    store(home_settings, batch)
    assert figures(home_settings.lake)["offsets"] == [(0,), (1,), (2,), (3,)]
