"""Rows of the lake's tables with defaults: a test names only what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark.sql import SparkSession

from agentmon.contracts.tables import SUMMARIES, TABLES, Table
from agentmon.stream.files import place_of

T0 = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
RUN = "run"

Row = dict[str, Any]


def at(minutes: float) -> datetime:
    """A moment so many minutes after T0."""
    return T0 + timedelta(minutes=minutes)


def message(minutes: float = 0, offset: int = 0, **fields: Any) -> Row:
    """A row of a table of messages."""
    moment = at(minutes)
    defaults = {
        "event_time": moment,
        "event_date": moment.date(),
        "agent_id": "a",
        "kafka_topic": "agent.actions",
        "kafka_topic_id": "id",
        "kafka_partition": 0,
        "kafka_offset": offset,
        "time_source": "message",
    }
    return defaults | fields


def summary(minutes: float = 0, batch: int | None = 1, **fields: Any) -> Row:
    """A partial of a minute's window; batch None: collapsed by the nightly job."""
    start = at(minutes)
    counts = {c.name: 0 for c in SUMMARIES.columns if c.type == "bigint"}
    defaults = {
        "window_start": start,
        "window_end": start + timedelta(minutes=1),
        "event_date": start.date(),
        "agent_id": "a",
        "first_event_time": start,
        "last_event_time": start,
        "duration_buckets": {},
        "agent_duration_count": None,  # as of a version that knew histograms per tool only
        "recent_action_rewards": [],
        "recent_learning_rewards": [],
        "query_id": None if batch is None else RUN,
        "batch_id": batch,
    }
    return counts | defaults | fields


def session(first: float, last: float, batch: int | None = 1, **fields: Any) -> Row:
    """A partial of a session from one minute to another."""
    defaults = {
        "agent_id": "a",
        "session_id": "s",
        "first_event_time": at(first),
        "last_event_time": at(last),
        "event_date": at(first).date(),
        "actions": 1,
        "thoughts": 1,
        "errors": 0,
        "action_reward_sum": 0.0,
        "learning_reward_count": 0,
        "learning_reward_sum": 0.0,
        "query_id": None if batch is None else RUN,
        "batch_id": batch,
    }
    return defaults | fields


def sealed(batch: int, minutes: float = 0, end: int = 10, **fields: Any) -> Row:
    """A ledger's row: a batch that is whole."""
    defaults = {
        "query_id": RUN,
        "batch_id": batch,
        "kind": "stored",
        "kafka_topic": "agent.actions",
        "kafka_topic_id": "id",
        "kafka_partition": 0,
        "start_offset": 0,
        "end_offset": end,
        "cluster_id": "cluster",
        "committed_at": at(minutes),
        "event_date": at(minutes).date(),
    }
    return defaults | fields


def rewards(*values: tuple[float, float]) -> list[tuple[float, datetime, int, int]]:
    """Entries of recent_*_rewards from (reward, minutes)."""
    return [(reward, at(minutes), 0, offset) for offset, (reward, minutes) in enumerate(values)]


def append(spark: SparkSession, lake: str, table: str, rows: Sequence[Row]) -> None:
    """Append rows to a table of the lake, as one commit."""
    wanted: Table = TABLES[table]
    values = [tuple(row.get(name) for name in wanted.column_names) for row in rows]
    frame = spark.createDataFrame(values, wanted.ddl()).coalesce(1)
    frame.write.format("delta").mode("append").save(place_of(lake, table))
