"""What one message of agent.* means, in plain Python: the definition, and the reader of live rows.

The job reads many at once (stream/parse.py), and comes back here for what is unusual.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentmon.contracts.event_time import EPOCH, event_time, received_at
from agentmon.contracts.json_text import BLANKS, Fields, Json, opened, read_object, storable, text_of
from agentmon.contracts.measures import outcome
from agentmon.contracts.tables import MESSAGE_TABLES, Kind
from agentmon.contracts.topics import table_of
from agentmon.contracts.values import amount, count, error_text, number, reward, truth

#: Fields of agent.metrics messages that are no measurements, where the message has no object `metrics`.
NO_METRICS = (
    "timestamp", "ts", "action_count", "thought_count", "type", "topic", "agent_id", "session_id", "event_id",
    "service", "hostname", "pod", "container", "app_version", "caller", "event", "name", "tool",
)  # fmt: skip

#: The reason of a message that was readable, and came a second time.
REPEAT = "repeat"

#: Why a message is in quarantine: reason → one sentence.
ERRORS = {
    "empty": "The message has no value.",
    "too_large": "The value is longer than AGENTMON_MAX_MESSAGE_BYTES allows.",
    "not_utf8": "The value is not valid UTF-8.",
    "not_json": "The value is not JSON, has something before or after it, or is nested deeper than AGENTMON_MAX_DEPTH allows.",
    "not_object": "The value is JSON, but not an object.",
    REPEAT: "The producer sent it twice: the first copy, with the same event_id, counts.",
}

#: What JSON that is no object begins with: text, a list, a number, true, false, null, NaN, Infinity.
OTHER_JSON = '["-0123456789tfnNI'

_BLANK: dict[str, Any] = dict.fromkeys(
    name for table in MESSAGE_TABLES.values() for name in ("table", *table.column_names)
)
_READ: dict[Kind, Callable[[Json], Any]] = {
    "text": text_of,
    "json": text_of,
    "error": lambda field: error_text(text_of(field)),
    "number": lambda field: number(field.value),
    "reward": lambda field: reward(field.value),
    "amount": lambda field: amount(field.value),
    "count": lambda field: count(field.value),
}
#: By table, the columns that the field of their name fills, and how.
_SIMPLE = {
    name: [(column.name, _READ[column.kind]) for column in table.columns if column.kind]
    for name, table in MESSAGE_TABLES.items()
}


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
    row = _BLANK.copy()
    fields: Fields = {}
    time: Json | None = None
    message = _parse(value, limits)
    if isinstance(message, str):
        table, row["reason"], row["error"], row["raw"] = "quarantine", message, ERRORS[message], value
    else:
        assert value is not None
        event = opened(message.get("event"), limits.max_depth)
        fields = message if event is None else {**message, **event}
        times = (source.get(name) for source in (event or {}, message) for name in ("timestamp", "ts"))
        time = next(filter(None, times), None)
        table = table_of(topic, _text(fields, "type"))
        _fill(row, fields, table, message if event is None else event, limits)
        row["payload"] = value.decode()
    if kafka_timestamp is not None and kafka_timestamp < EPOCH:
        kafka_timestamp = None  # Kafka's -1
    key_text, row["kafka_key"] = key_texts(key)
    received = received_at(kafka_timestamp, ingest_time, limits.max_ahead_s)
    moment, row["time_source"] = event_time(time and time.value, received, limits.max_ahead_s)
    row["table"] = table
    row["event_time"] = moment
    row["event_date"] = moment.date()
    row["agent_id"] = _agent(fields, key_text)
    row["session_id"] = _text(fields, "session_id") or None
    row["event_id"] = _text(fields, "event_id") or None
    row["kafka_topic"] = topic
    row["kafka_topic_id"] = topic_id
    row["kafka_partition"] = partition
    row["kafka_offset"] = offset
    row["kafka_timestamp"] = kafka_timestamp
    row["kafka_headers"] = headers_text(headers)
    row["ingest_time"] = ingest_time
    return row


def _parse(value: bytes | None, limits: Limits) -> Fields | str:
    """The message's fields, or the reason why it has none."""
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


def _text(fields: Fields, *names: str) -> str | None:
    """What the first of these fields that is there holds, as text."""
    field = next(filter(None, map(fields.get, names)), None)
    return field and text_of(field)


def _agent(fields: Fields, key: str | None) -> str:
    return _text(fields, "agent_id") or key or _text(fields, "container") or _text(fields, "hostname") or "unknown"


def _fill(row: dict[str, Any], fields: Fields, table: str, plain: Fields, limits: Limits) -> None:
    """Fill in a table's own columns. `plain` is the object that metrics may lie in openly."""
    get = fields.get
    for name, read_field in _SIMPLE[table]:
        field = get(name)
        if field is not None:
            row[name] = read_field(field)
    if table in ("actions", "learning"):
        row["tool"] = _text(fields, "tool", "name")
    if table == "actions":
        success = get("success")
        row["success"] = outcome(success and truth(success.value), row["reward"])
        row["result"] = _text(fields, "result") if "result" in fields else result_of(get("context"), limits)
    elif table == "learning":
        report = {**fields, **(opened(get("data"), limits.max_depth) or {})}
        row["total_events"] = count(_value(report, "total_events"))
        row["success_rate"] = number(_value(report, "success_rate"))
        row["avg_reward"] = number(_value(report, "avg_reward"))
        row["learning_trend"] = _text(report, "learning_trend")
    elif table == "metrics":
        row["metrics"] = metrics_of(get("metrics"), plain, limits)


def _value(fields: Fields, name: str) -> Any:
    field = fields.get(name)
    return field and field.value


def result_of(context: Json | None, limits: Limits) -> str | None:
    """The result within an action's context, as text."""
    return _text(opened(context, limits.max_depth) or {}, "result")


def metrics_of(field: Json | None, plain: Fields, limits: Limits) -> dict[str, float]:
    """The numbers of the object `metrics`; without one, those of the message itself."""
    metrics = opened(field, limits.max_depth)
    if metrics is None:
        metrics = {name: entry for name, entry in plain.items() if name not in NO_METRICS}
    # A name with a lone surrogate changes when stored, so it may meet another: the last one wins.
    entries = {storable(name): number(entry.value) for name, entry in metrics.items()}
    return {name: entry for name, entry in entries.items() if entry is not None}


def _utf8(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def key_texts(key: bytes | None) -> tuple[str | None, str | None]:
    """Kafka's key as a name, which only text can be, and as it is stored: what is no text as base64."""
    text = _utf8(key)
    return text, _base64(key) if key is not None and text is None else text


def headers_text(headers: Sequence[tuple[str, bytes | None]]) -> str | None:
    """Kafka's headers as they are stored: a JSON list of {key, value} or {key, base64}."""
    if not headers:
        return None
    return json.dumps([_header(*header) for header in headers], ensure_ascii=False, separators=(",", ":"))


def _header(key: str, value: bytes | None) -> dict[str, str]:
    if value is None:
        return {"key": key}
    text = _utf8(value)
    return {"key": key, "base64": _base64(value)} if text is None else {"key": key, "value": text}
