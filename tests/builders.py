"""Test events with defaults: a test names only what it is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from agentmon.contracts.tables import MESSAGE_TABLES

T0 = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """A moment so many seconds after T0."""
    return T0 + timedelta(seconds=seconds)


def parsed_schema() -> str:
    """The columns of parsed rows, as Spark DDL."""
    return ", ".join(f"`{name}` {type_}" for name, type_ in _columns().items())


def _columns() -> dict[str, str]:
    columns = {"table": "string"}
    for table in MESSAGE_TABLES.values():
        columns.update({c.name: c.type for c in table.columns})
    return columns


def parsed(spark: SparkSession, *rows: dict[str, Any]) -> DataFrame:
    """A frame of parsed rows; see `row`."""
    return spark.createDataFrame([tuple(r.get(name) for name in _columns()) for r in rows], parsed_schema())


def row(table: str = "actions", seconds: float = 0, offset: int = 0, **fields: Any) -> dict[str, Any]:
    """One parsed row of agent `a`, so many seconds after T0."""
    moment = at(seconds)
    values = {
        "table": table,
        "event_time": moment,
        "event_date": moment.date(),
        "agent_id": "a",
        "session_id": "s",
        "kafka_topic": f"agent.{table}",
        "kafka_topic_id": "id",
        "kafka_partition": 0,
        "kafka_offset": offset,
        "kafka_timestamp": moment,
        "ingest_time": moment,
        "time_source": "message",
        "payload": "{}",
    }
    return values | fields
