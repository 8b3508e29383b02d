"""Test events with defaults: a test names only what it is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from agentmon.lake.partials import COUNTED
from agentmon.stream.figures import Figures
from agentmon.stream.parsed import SCHEMAS, Parsed, side_by_side

T0 = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """A moment so many seconds after T0."""
    return T0 + timedelta(seconds=seconds)


def parsed(*rows: dict[str, Any]) -> Parsed:
    """Parsed rows, as the reader makes them; see `row`."""
    return {
        name: pa.Table.from_pylist([r for r in rows if r["table"] == name], schema) for name, schema in SCHEMAS.items()
    }


def take_in(figures: Figures, *rows: dict[str, Any]) -> set[tuple[str, int]]:
    """Bring running figures forward with parsed rows, as the job does."""
    batch = side_by_side(parsed(*rows), COUNTED)
    return figures.add(batch, figures.partials.summaries(batch))


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
