"""What one message of agent.* means, in plain Python: the definition, and the reader of live rows.

The job reads many at once (stream/columns.py), and comes back here for what is unusual.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from agentmon.contracts.event_time import event_time, received_at
from agentmon.contracts.json_text import (
    BLANKS,
    as_object,
    as_text,
    plain_text,
    read_object,
    read_plain_object,
    storable,
    write,
)
from agentmon.contracts.measures import outcome
from agentmon.contracts.tables import MESSAGE_TABLES
from agentmon.contracts.topics import table_of
from agentmon.contracts.values import number, truth, whole

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
    "not_json": "The value is not JSON, or nested deeper than AGENTMON_MAX_DEPTH allows.",
    "not_object": "The value is JSON, but not an object.",
    REPEAT: "The producer sent it twice: the first copy, with the same event_id, counts.",
}

#: What JSON that is no object begins with: text, a list, a number, true, false, null, NaN, Infinity.
OTHER_JSON = '["-0123456789tfnNI'

#: Figures of a learning report: in `data`, else in the message itself.
REPORT = ("total_events", "success_rate", "avg_reward", "learning_trend")

_TEXTS = ("type", "action", "error", "reasoning", "context", "action_id", "span_id", "thought", "thought_id", "data")
_NUMBERS = ("reward", "duration_ms", "cost_usd", "confidence")
_COUNTS = ("input_tokens", "output_tokens", "action_count", "thought_count")
_BLANK: dict[str, Any] = dict.fromkeys(
    name for table in MESSAGE_TABLES.values() for name in ("table", *table.column_names)
)
_FILLED = ("tool", "success", "result", *REPORT, "metrics")  # not simply the field of their name


class Own(NamedTuple):
    """The columns of a table that are simply the field of their name, by what they hold."""

    texts: tuple[str, ...]
    numbers: tuple[str, ...]
    counts: tuple[str, ...]


#: By table.
OWN_COLUMNS = {
    name: Own(
        *(
            tuple(column for column in table.own_column_names if column in fields and column not in _FILLED)
            for fields in (_TEXTS, _NUMBERS, _COUNTS)
        )
    )
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
    fields: Mapping[str, Any] = {}
    told = None
    text: Callable[[Any], str | None] = plain_text
    message: dict[str, Any] | str | None = None
    if value and len(value) <= limits.max_bytes:
        message = read_plain_object(value, limits.max_depth)
    if message is None:
        message, text = _parse(value, limits), as_text
    if isinstance(message, str):
        table, row["reason"], row["error"], row["raw"] = "quarantine", message, ERRORS[message], value
    else:
        assert value is not None
        event = as_object(message["event"], limits.max_depth) if "event" in message else None
        fields = message if event is None else {**message, **_present(event)}
        times = (source.get(name) for source in (event or {}, message) for name in ("timestamp", "ts"))
        told = next((time for time in times if time is not None), None)
        table = table_of(topic, _text_of(fields, "type", text))
        _fill(row, fields, table, message if event is None else event, limits, text)
        row["payload"] = value.decode()
    key_text, row["kafka_key"] = key_texts(key)
    received = received_at(kafka_timestamp, ingest_time, limits.max_ahead_s)
    moment, row["time_source"] = event_time(told, received, limits.max_ahead_s)
    row["table"] = table
    row["event_time"] = moment
    row["event_date"] = moment.date()
    row["agent_id"] = _agent(fields, key_text, text)
    row["session_id"] = _text_of(fields, "session_id", text) or None
    row["event_id"] = _text_of(fields, "event_id", text) or None
    row["kafka_topic"] = topic
    row["kafka_topic_id"] = topic_id
    row["kafka_partition"] = partition
    row["kafka_offset"] = offset
    row["kafka_timestamp"] = kafka_timestamp
    row["kafka_headers"] = headers_text(headers)
    row["ingest_time"] = ingest_time
    return row


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


def _text_of(fields: Mapping[str, Any], name: str, text: Callable[[Any], str | None]) -> str | None:
    value = fields.get(name)
    return None if value is None else text(value)


def _agent(fields: Mapping[str, Any], key: str | None, text: Callable[[Any], str | None]) -> str:
    return (
        _text_of(fields, "agent_id", text)
        or key
        or _text_of(fields, "container", text)
        or _text_of(fields, "hostname", text)
        or "unknown"
    )


def _fill(
    row: dict[str, Any],
    fields: Mapping[str, Any],
    table: str,
    plain: Mapping[str, Any],
    limits: Limits,
    text: Callable[[Any], str | None],
) -> None:
    """Fill in a table's own columns. `plain` is the object that metrics may lie in openly."""
    get = fields.get
    texts, numbers, counts = OWN_COLUMNS[table]
    for name in texts:
        value = get(name)
        if value is not None:
            row[name] = text(value)
    for name in numbers:
        value = get(name)
        if value is not None:
            row[name] = number(value)
    for name in counts:
        value = get(name)
        if value is not None:
            row[name] = whole(value)
    if table in ("actions", "learning"):
        row["tool"] = text(_first(get("tool"), get("name")))
    if table == "actions":
        row["success"] = outcome(truth(get("success")), row["reward"])
        row["result"] = text(_first(get("result"), within(get("context"), "result", limits)))
    elif table == "learning":
        report = {name: _first(within(get("data"), name, limits), get(name)) for name in REPORT}
        row["total_events"] = whole(report["total_events"])
        row["success_rate"] = number(report["success_rate"])
        row["avg_reward"] = number(report["avg_reward"])
        row["learning_trend"] = text(report["learning_trend"])
    elif table == "metrics":
        row["metrics"] = metrics_of(get("metrics"), plain, limits)


def within(value: Any, name: str, limits: Limits) -> Any:
    """A field of an object within the message, or of a text that is one."""
    if type(value) is dict and name not in value:
        return None
    return (as_object(value, limits.max_depth) or {}).get(name) if value is not None else None


def metrics_of(value: Any, plain: Mapping[str, Any], limits: Limits) -> dict[str, float]:
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


def key_texts(key: bytes | None) -> tuple[str | None, str | None]:
    """Kafka's key as a name, which only text can be, and as it is stored: what is no text as base64."""
    text = _utf8(key)
    return text, _base64(key) if key is not None and text is None else text


def headers_text(headers: Sequence[tuple[str, bytes | None]]) -> str | None:
    """Kafka's headers as they are stored: a JSON list of {key, value} or {key, base64}."""
    return write([_header(*header) for header in headers]) if headers else None


def _header(key: str, value: bytes | None) -> dict[str, str]:
    if value is None:
        return {"key": key}
    text = _utf8(value)
    return {"key": key, "base64": _base64(value)} if text is None else {"key": key, "value": text}
