"""What one message of agent.* means, in plain Python: the reader of live rows.

stream/parse.py says the same as Spark columns, and a property-based test holds the two together. Where
they could differ, this one follows what Spark's JSON reader (Jackson) does.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from agentmon.contracts.measures import outcome
from agentmon.contracts.tables import MESSAGE_TABLES
from agentmon.contracts.topics import table_of

#: Message times before this are taken for mistakes.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
#: From here on a time in numbers is microseconds or milliseconds; below, seconds.
MICROSECONDS_FROM = 1e14
MILLISECONDS_FROM = 1e11

#: Digits of a number, and characters of a field's name, at the most: Jackson's own limits.
MAX_NUMBER_LENGTH = 1000
MAX_NAME_LENGTH = 50_000

#: A number as text. ASCII only: Python's float() would also take 1_000 and digits of other scripts.
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
#: ISO 8601: a date, or date and time with an optional offset (as far as +18:00, as Java has it).
ISO_TIME = (
    r"(?!0000)(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"([T ](?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d)(:(?P<second>[0-5]\d)(\.(?P<fraction>\d{1,9}))?)?"
    r"(Z|(?P<sign>[+-])(?!18:?0*[1-9])(?P<hours>0\d|1[0-8]):?(?P<minutes>[0-5]\d))?)?"
)

#: Fields of agent.metrics messages that are no measurements, where the message has no object `metrics`.
NO_METRICS = (
    "timestamp", "ts", "action_count", "thought_count", "type", "topic", "agent_id", "session_id", "event_id", "service",
    "hostname", "pod", "container", "app_version", "caller", "event", "name", "tool",
)  # fmt: skip

#: Why a message is in quarantine: reason → one sentence.
ERRORS = {
    "empty": "The message has no value.",
    "too_large": "The value is longer than AGENTMON_MAX_MESSAGE_BYTES allows.",
    "not_utf8": "The value is not valid UTF-8.",
    "not_json": "The value is not JSON, or nested deeper than AGENTMON_MAX_DEPTH allows.",
    "not_object": "The value is JSON, but not an object.",
}

_COLUMNS = list(dict.fromkeys(name for table in MESSAGE_TABLES.values() for name in table.column_names))
_NUMBER = re.compile(NUMBER, re.ASCII)
_ISO_TIME = re.compile(ISO_TIME, re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# What Jackson takes for infinity beyond what Python does, with the strings around it, which stay as they are.
_OTHER_INFINITY = re.compile(r'"(?:[^"\\]|\\.)*"|[+-]INF|\+Infinity')


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
    message = _parse(value, limits)
    if isinstance(message, str):
        row |= {"table": "quarantine", "reason": message, "error": ERRORS[message], "raw": value}
        fields: Mapping[str, Any] = {}
        times: list[Any] = []
    else:
        assert value is not None
        event = _opened(message.get("event"), limits)
        fields = message if event is None else {**message, **_present(event)}
        times = [source.get(name) for source in (event or {}, message) for name in ("timestamp", "ts")]
        table = table_of(topic, text(fields.get("type")))
        row |= _own_columns(fields, table, message if event is None else event, limits)
        row |= {"table": table, "payload": value.decode()}
    key_text = _utf8(key)
    received = _usable(kafka_timestamp, ingest_time, limits)
    event_time, time_source = _event_time(next((t for t in times if t is not None), None), received, limits)
    return row | {
        "event_time": event_time,
        "event_date": event_time.date(),
        "time_source": time_source,
        "agent_id": _agent(fields, key_text),
        "session_id": text(fields.get("session_id")) or None,
        "event_id": text(fields.get("event_id")) or None,
        "kafka_topic": topic,
        "kafka_topic_id": topic_id,
        "kafka_partition": partition,
        "kafka_offset": offset,
        "kafka_timestamp": kafka_timestamp,
        "kafka_key": key_text if key is None or key_text is not None else _base64(key),
        "kafka_headers": _headers(headers),
        "ingest_time": ingest_time,
    }


def _agent(fields: Mapping[str, Any], key: str | None) -> str:
    container, hostname = text(fields.get("container")), text(fields.get("hostname"))
    return text(fields.get("agent_id")) or key or container or hostname or "unknown"


def _own_columns(fields: Mapping[str, Any], table: str, plain: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """The columns that a message's fields fill. `plain` is the object that the metrics may lie in openly."""
    get = fields.get
    context = _opened(get("context"), limits) if table == "actions" else None
    data = (_opened(get("data"), limits) if table == "learning" else None) or {}
    reward = number(get("reward"))
    report = {name: data.get(name) if data.get(name) is not None else get(name) for name in _REPORT}
    return {
        **{name: text(get(name)) for name in _TEXT},
        **{name: number(get(name)) for name in ("duration_ms", "cost_usd", "confidence")},
        **{name: whole(get(name)) for name in ("input_tokens", "output_tokens", "action_count", "thought_count")},
        "tool": text(get("tool") if get("tool") is not None else get("name")),
        "reward": reward,
        "success": outcome(truth(get("success")), reward),
        "result": text(get("result") if get("result") is not None else (context or {}).get("result")),
        "total_events": whole(report["total_events"]),
        "success_rate": number(report["success_rate"]),
        "avg_reward": number(report["avg_reward"]),
        "learning_trend": text(report["learning_trend"]),
        "metrics": _metrics(get("metrics"), plain, limits) if table == "metrics" else None,
    }


_TEXT = ("type", "action", "error", "reasoning", "context", "action_id", "span_id", "thought", "thought_id", "data")
_REPORT = ("total_events", "success_rate", "avg_reward", "learning_trend")


# What a value of JSON means in a column of some type.


def text(value: Any) -> str | None:
    """Text as it is; anything else as its JSON text, numbers as Java writes them.

    >>> text("a"), text(16), text(True), text([1, None]), text(1e7)
    ('a', '16', 'true', '[1,null]', '1.0E7')
    """
    if value is None:
        return None
    if isinstance(value, str):
        return _storable(value)
    if isinstance(value, float):
        return _float_text(value) if math.isfinite(value) else f'"{_infinity(value)}"'
    return _json_text(value)


def number(value: Any) -> float | None:
    """A finite number, also where it comes as text; None for anything else, true and false included.

    >>> number(2), number(" 1e3 "), number("1_0"), number("NaN"), number(True)
    (2.0, 1000.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str):
        value = value.strip(" ")
        if not _NUMBER.fullmatch(value):
            return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if math.isfinite(result) else None


def whole(value: Any) -> int | None:
    """A number cut off at its point; None where it does not fit into 64 bits."""
    result = number(value)
    return None if result is None or abs(result) >= 2**63 else int(result)


def truth(value: Any) -> bool | None:
    """true or false, also as text, and 1 or 0; None for anything else."""
    return {"true": True, "1": True, "false": False, "0": False}.get((text(value) or "").strip(" ").lower())


def microseconds(value: Any) -> int | None:
    """A message's time as microseconds since 1970: epoch seconds, milliseconds or microseconds, or ISO 8601 text.

    >>> microseconds(1763000004.1), microseconds("1763000004100"), microseconds("2025-11-13 02:13:24.1Z")
    (1763000004100000, 1763000004100000, 1763000004100000)
    """
    x = number(value)
    if x is None:
        return _iso_microseconds(value.strip(" ")) if isinstance(value, str) else None
    factor = 1.0 if abs(x) >= MICROSECONDS_FROM else 1e3 if abs(x) >= MILLISECONDS_FROM else 1e6
    # Rounded, not cut off: 1763000004.1 is a little less than it looks.
    return math.floor(x * factor + 0.5)


def _iso_microseconds(value: str) -> int | None:
    found = _ISO_TIME.fullmatch(value)
    if not found:
        return None
    part = found.groupdict(default="")
    clock = (int(part[name] or 0) for name in ("hour", "minute", "second"))
    try:
        date = datetime(int(part["year"]), int(part["month"]), int(part["day"]), *clock, tzinfo=UTC)
    except ValueError:  # 30 February
        return None
    offset = int(part["hours"] or 0) * 60 + int(part["minutes"] or 0)
    us = (date - _EPOCH) // _MICROSECOND + int(part["fraction"][:6].ljust(6, "0"))
    return us + (offset if part["sign"] == "-" else -offset) * 60_000_000


# Where the message happened in time.


def _usable(kafka_timestamp: datetime | None, ingest_time: datetime, limits: Limits) -> datetime:
    """Kafka's timestamp, or the time of reading where a producer set an absurd one."""
    latest = ingest_time + timedelta(seconds=limits.max_ahead_s)
    if kafka_timestamp is not None and EARLIEST <= kafka_timestamp <= latest:
        return kafka_timestamp
    return ingest_time


def _event_time(value: Any, received: datetime, limits: Limits) -> tuple[datetime, str]:
    """(event_time, time_source)"""
    given = microseconds(value)
    if given is None:
        return received, "kafka"
    earliest = (EARLIEST - _EPOCH) // _MICROSECOND
    latest = (received - _EPOCH + timedelta(seconds=limits.max_ahead_s)) // _MICROSECOND
    if earliest <= given <= latest:
        return _EPOCH + timedelta(microseconds=given), "message"
    return received, "clamped"


# Measurements.


def _metrics(value: Any, plain: Mapping[str, Any], limits: Limits) -> dict[str, float]:
    """The numbers of the object `metrics`; without one, those of the message itself."""
    metrics = _opened(value, limits)
    if metrics is None:
        metrics = {name: entry for name, entry in plain.items() if name not in NO_METRICS}
    # A name with a lone surrogate changes when stored, so it may meet another: the last one wins.
    entries = {_storable(name): entry for name, entry in metrics.items()}
    read_entries = ((name, number(entry)) for name, entry in entries.items())
    return {name: entry for name, entry in read_entries if entry is not None}


# JSON.


def _parse(value: bytes | None, limits: Limits) -> dict[str, Any] | str:
    """The message's object, or the reason why it has none."""
    if not value:
        return "empty"
    if len(value) > limits.max_bytes:
        return "too_large"
    try:
        content = value.decode()
    except UnicodeDecodeError:
        return "not_utf8"
    message = _scan(content, limits)
    if message is not None:
        return message
    return "not_json" if _scan(f'{{"v":{content}}}', limits) is None else "not_object"


def _scan(content: str, limits: Limits) -> dict[str, Any] | None:
    """The JSON object that a text begins with (what follows is not looked at, as in Spark), None if there is none."""
    start = len(content) - len(content.lstrip(" \t\n\r"))
    if not content.startswith("{", start):
        return None
    try:
        found, _ = _DECODER.raw_decode(content, start)
    except RecursionError:
        return None
    except ValueError:
        if "INF" not in content and "+Infinity" not in content:
            return None
        plain = _OTHER_INFINITY.sub(_python_infinity, content)
        return None if plain == content else _scan(plain, limits)
    # Walking through all of it takes longer than parsing it: only where the text allows for a breach.
    if content.count("{") + content.count("[") > limits.max_depth or len(content) > MAX_NAME_LENGTH:
        for name_length, depth in _extents(found):
            if name_length > MAX_NAME_LENGTH or depth > limits.max_depth:
                return None
    return found  # type: ignore[no-any-return]


def _integer(digits: str) -> int:
    if len(digits) > MAX_NUMBER_LENGTH and len(digits.lstrip("-")) > MAX_NUMBER_LENGTH:
        raise ValueError("number too long")
    return int(digits)


def _float(digits: str) -> float:
    if len(digits) > MAX_NUMBER_LENGTH and sum(map(str.isdigit, digits)) > MAX_NUMBER_LENGTH:
        raise ValueError("number too long")
    return float(digits)


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_float)


def _python_infinity(found: re.Match[str]) -> str:
    token = found.group()
    return token if token.startswith('"') else "-Infinity" if token.startswith("-") else "Infinity"


def _extents(root: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """(length of the longest name, depth) of every object and list in a message, without recursion."""
    waiting: list[tuple[Any, int]] = [(root, 1)]
    while waiting:
        node, depth = waiting.pop()
        if isinstance(node, dict):
            yield max(map(len, node), default=0), depth
            waiting.extend((child, depth + 1) for child in node.values())
        elif isinstance(node, list):
            yield 0, depth
            waiting.extend((child, depth + 1) for child in node)


def _opened(value: Any, limits: Limits) -> dict[str, Any] | None:
    """An object, or text that is one (some producers encode twice); None for anything else."""
    if isinstance(value, str):
        return _scan(_storable(value), limits) if value.startswith("{") else None
    if not isinstance(value, dict):
        return None
    # Spark opens it by way of its JSON text, which has names for what JSON has no numbers for.
    return {name: _infinity(v) if isinstance(v, float) and not math.isfinite(v) else v for name, v in value.items()}


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _storable(value: str) -> str:
    """Text that UTF-8 can hold: lone surrogates become question marks."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _json_text(value: Any) -> str:
    """JSON without NaN and Infinity (their names as text instead)."""
    try:
        result = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return _json_text(json.loads(json.dumps(value), parse_constant=str))
    if result.isascii():
        return result
    try:
        result.encode()
    except UnicodeEncodeError:  # lone surrogates, which only an escape can stand for
        return json.dumps(value, separators=(",", ":"))
    return result


def _float_text(value: float) -> str:
    """A float as Java's Double.toString has it: with an exponent below 0.001 and from 10 million on."""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    mantissa, _, exponent = f"{value:.{len(_digits(value)) - 1}e}".partition("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}E{int(exponent)}"


def _digits(value: float) -> str:
    """The fewest digits that tell a float from its neighbours."""
    return repr(value).partition("e")[0].replace("-", "").replace(".", "").strip("0") or "0"


def _infinity(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


# Kafka's key and headers.


def _utf8(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _headers(headers: Sequence[tuple[str, bytes | None]]) -> str | None:
    def entry(key: str, value: bytes | None) -> dict[str, str]:
        if value is None:
            return {"key": key}
        shown = _utf8(value)
        return {"key": key, **({"base64": _base64(value)} if shown is None else {"value": shown})}

    return _json_text([entry(*header) for header in headers]) if headers else None
