"""What one message of agent.* means, in plain Python: the reader of live rows.

stream/parse.py says the same as Spark columns, and a property-based test holds the two together. Where
they could differ, this one follows what Spark's JSON reader (Jackson) does.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentmon.contracts.event_time import event_time, received_at
from agentmon.contracts.json_text import BLANKS, as_object, as_text, read_object, storable, write
from agentmon.contracts.measures import outcome
from agentmon.contracts.tables import MESSAGE_TABLES
from agentmon.contracts.topics import table_of
from agentmon.contracts.values import number, truth, whole

#: Fields of agent.metrics messages that are no measurements, where the message has no object `metrics`.
NO_METRICS = (
    "timestamp", "ts", "action_count", "thought_count", "type", "topic", "agent_id", "session_id", "event_id",
    "service", "hostname", "pod", "container", "app_version", "caller", "event", "name", "tool",
)  # fmt: skip

#: Why a message is in quarantine: reason → one sentence.
ERRORS = {
    "empty": "The message has no value.",
    "too_large": "The value is longer than AGENTMON_MAX_MESSAGE_BYTES allows.",
    "not_utf8": "The value is not valid UTF-8.",
    "not_json": "The value is not JSON, or nested deeper than AGENTMON_MAX_DEPTH allows.",
    "not_object": "The value is JSON, but not an object.",
}

#: What JSON that is no object begins with: text, a list, a number, true, false, null, NaN, Infinity.
OTHER_JSON = '["-0123456789tfnNI'

#: Figures of a learning report: in `data`, else in the message itself.
REPORT = ("total_events", "success_rate", "avg_reward", "learning_trend")

_TEXTS = ("type", "action", "error", "reasoning", "context", "action_id", "span_id", "thought", "thought_id", "data")
_NUMBERS = ("reward", "duration_ms", "cost_usd", "confidence")
_COUNTS = ("input_tokens", "output_tokens", "action_count", "thought_count")
_COLUMNS = tuple(dict.fromkeys(name for table in MESSAGE_TABLES.values() for name in table.column_names))
_OWN_COLUMNS = {name: frozenset(table.own_column_names) for name, table in MESSAGE_TABLES.items()}


@dataclass(frozen=True)
class Limits:
    """What is too much in one message: bytes, levels of JSON, seconds ahead of Kafka's time."""

    max_bytes: int = 16 * 1024 * 1024
    max_depth: int = 200
    max_ahead_s: float = 300.0


def read(
    value: bytes | None,
    *,
    topic: str,
    partition: int,
    offset: int,
    kafka_timestamp: datetime | None,
    ingest_time: datetime,
    limits: Limits,
    key: bytes | None = None,
    headers: Sequence[tuple[str, bytes | None]] = (),
    topic_id: str | None = None,
) -> dict[str, Any]:
    """One message as a row: `table`, and every column of every table of messages (null where it has none).

    Never raises on account of what a message holds: what can't be read is a row of `quarantine`.
    """
    row: dict[str, Any] = dict.fromkeys(_COLUMNS)
    fields: Mapping[str, Any] = {}
    told = None
    message = _parse(value, limits)
    if isinstance(message, str):
        row |= {"table": "quarantine", "reason": message, "error": ERRORS[message], "raw": value}
    else:
        assert value is not None
        event = as_object(message.get("event"), limits.max_depth)
        fields = message if event is None else {**message, **_present(event)}
        times = (source.get(name) for source in (event or {}, message) for name in ("timestamp", "ts"))
        told = next((time for time in times if time is not None), None)
        table = table_of(topic, as_text(fields.get("type")))
        row |= _own_columns(fields, table, message if event is None else event, limits)
        row |= {"table": table, "payload": value.decode()}
    key_text = _utf8(key)
    received = received_at(kafka_timestamp, ingest_time, limits.max_ahead_s)
    moment, time_source = event_time(told, received, limits.max_ahead_s)
    return row | {
        "event_time": moment,
        "event_date": moment.date(),
        "time_source": time_source,
        "agent_id": _agent(fields, key_text),
        "session_id": as_text(fields.get("session_id")) or None,
        "event_id": as_text(fields.get("event_id")) or None,
        "kafka_topic": topic,
        "kafka_topic_id": topic_id,
        "kafka_partition": partition,
        "kafka_offset": offset,
        "kafka_timestamp": kafka_timestamp,
        "kafka_key": key_text if key is None or key_text is not None else _base64(key),
        "kafka_headers": write([_header(*header) for header in headers]) if headers else None,
        "ingest_time": ingest_time,
    }


def _parse(value: bytes | None, limits: Limits) -> dict[str, Any] | str:
    """The message's object, or the reason why it has none."""
    if not value:
        return "empty"
    if len(value) > limits.max_bytes:
        return "too_large"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return "not_utf8"
    message = read_object(text, limits.max_depth)
    if message is not None:
        return message
    return "not_object" if text.lstrip(BLANKS).startswith(tuple(OTHER_JSON)) else "not_json"


def _agent(fields: Mapping[str, Any], key: str | None) -> str:
    named, container, hostname = (as_text(fields.get(name)) for name in ("agent_id", "container", "hostname"))
    return named or key or container or hostname or "unknown"


def _own_columns(fields: Mapping[str, Any], table: str, plain: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """The columns of a table that a message's fields fill. `plain` is the object that metrics may lie in openly."""
    get = fields.get
    context = as_object(get("context"), limits.max_depth) if table == "actions" else None
    data = as_object(get("data"), limits.max_depth) if table == "learning" else None
    report = {name: _first((data or {}).get(name), get(name)) for name in REPORT}
    columns: dict[str, Any] = {name: as_text(get(name)) for name in _TEXTS}
    columns |= {name: number(get(name)) for name in _NUMBERS}
    columns |= {name: whole(get(name)) for name in _COUNTS}
    columns |= {
        "tool": as_text(_first(get("tool"), get("name"))),
        "success": outcome(truth(get("success")), columns["reward"]),
        "result": as_text(_first(get("result"), (context or {}).get("result"))),
        "total_events": whole(report["total_events"]),
        "success_rate": number(report["success_rate"]),
        "avg_reward": number(report["avg_reward"]),
        "learning_trend": as_text(report["learning_trend"]),
        "metrics": _metrics(get("metrics"), plain, limits) if table == "metrics" else None,
    }
    return {name: value for name, value in columns.items() if name in _OWN_COLUMNS[table]}


def _metrics(value: Any, plain: Mapping[str, Any], limits: Limits) -> dict[str, float]:
    """The numbers of the object `metrics`; without one, those of the message itself."""
    metrics = as_object(value, limits.max_depth)
    if metrics is None:
        metrics = {name: entry for name, entry in plain.items() if name not in NO_METRICS}
    # A name with a lone surrogate changes when stored, so it may meet another: the last one wins.
    entries = {storable(name): number(entry) for name, entry in metrics.items()}
    return {name: entry for name, entry in entries.items() if entry is not None}


def _first(value: Any, other: Any) -> Any:
    return other if value is None else value


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _utf8(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _header(key: str, value: bytes | None) -> dict[str, str]:
    if value is None:
        return {"key": key}
    text = _utf8(value)
    return {"key": key, "base64": _base64(value)} if text is None else {"key": key, "value": text}
