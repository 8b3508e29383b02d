"""Test events with defaults: a test names only what it is about."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from agentmon.contracts.message import Limits
from agentmon.contracts.topics import MAYBE_REPEAT
from agentmon.stream.batch import Batch
from agentmon.stream.figures import Figures
from agentmon.stream.output import Output, encode
from agentmon.stream.parse import MESSAGES
from agentmon.stream.parsed import SCHEMAS, Parsed
from agentmon.stream.task import Task, figures_of

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
    parts = figures_of(parsed(*rows), 60.0)
    return figures.add(parts["summaries"], parts["actions"], parts["metrics"])


def kafka_messages(topic: str, *values: bytes | None, first: int = 0, marked: Collection[int] = ()) -> pa.RecordBatch:
    """Messages of a topic's one partition as Spark hands them to a task; those at `marked` may have been sent before."""
    return pa.RecordBatch.from_pylist(
        [
            {
                "key": None,
                "value": value,
                "topic": topic,
                "partition": 0,
                "offset": offset,
                "timestamp": T0 + timedelta(milliseconds=offset),
                "headers": spark_json([(MAYBE_REPEAT, b"1")] if offset in marked else None),
            }
            for offset, value in enumerate(values, start=first)
        ],
        MESSAGES,
    )


def spark_json(headers: Sequence[tuple[str, bytes | None]] | None) -> str | None:
    """Kafka's headers as Spark's to_json writes them."""
    if headers is None:
        return None
    return json.dumps([{"key": k} | ({} if v is None else {"value": base64.b64encode(v).decode()}) for k, v in headers])


def run_task(lake: str, batch: Batch, *messages: pa.RecordBatch, **fields: Any) -> Output:
    """What a task that gets these messages writes into a lake, whose tables exist, and returns."""
    values = {
        "lake": lake, "batch": batch.name, "writer": None, "limits": Limits(), "window_s": 60.0, "newest": (20, 500),
        "topic_ids": {r.topic: r.topic_id for r in batch.ranges}, "ingest_time": batch.ingest_time,
    }  # fmt: skip
    results = Task(**values | fields).run(messages)
    return Output.decode(pa.Table.from_batches([encode({}), *results]))


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
