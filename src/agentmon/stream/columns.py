"""What contracts/message.py says of one message, for many: a column at a time.

Most messages are strict JSON with fields of the expected kinds, no envelope, and nothing that needs a second look.
msgspec decodes of these only the columns' fields, and leaves the rest as text. Whatever it refuses or `Usual` does not
know goes through contracts/'s reader, which is the definition: a property test holds the two together. They differ
in the white space of JSON that is stored as text, which is left here as it came.
"""

from __future__ import annotations

import gc
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agentmon.contracts.event_time import EARLIEST, MICROSECONDS_FROM, MILLISECONDS_FROM, microseconds
from agentmon.contracts.json_text import MAX_NAME_LENGTH, MAX_NUMBER_LENGTH, as_text
from agentmon.contracts.message import OWN_COLUMNS, Limits, headers_text, key_texts, read, within
from agentmon.contracts.topics import ACTION_STARTED, METRICS, table_of
from agentmon.contracts.values import whole
from agentmon.settings import Settings
from agentmon.stream.batch import Batch
from agentmon.stream.parsed import SCHEMAS, Parsed, joined

_Text = str | None
_TextOrInt = str | int | None
_Number = float | None
_NOTHING = msgspec.Raw()


class Usual(msgspec.Struct, gc=False):
    """The fields of a usual message; Raw is any JSON, as it came. gc=False: they refer to nothing that could refer back."""

    type: _Text = None
    agent_id: _TextOrInt = None
    session_id: _TextOrInt = None
    event_id: _TextOrInt = None
    timestamp: float | str | None = None
    ts: float | str | None = None
    container: _Text = None
    hostname: _Text = None
    tool: _Text = None
    name: _Text = None
    action: _Text = None
    success: bool | None = None
    reward: _Number = None
    duration_ms: _Number = None
    result: msgspec.Raw = _NOTHING
    error: _Text = None
    reasoning: _Text = None
    context: msgspec.Raw = _NOTHING
    action_id: _TextOrInt = None
    span_id: _TextOrInt = None
    input_tokens: _Number = None
    output_tokens: _Number = None
    cost_usd: _Number = None
    thought: _Text = None
    confidence: _Number = None
    thought_id: _TextOrInt = None
    total_events: _Number = None
    success_rate: _Number = None
    avg_reward: _Number = None
    learning_trend: _Text = None
    # Where one of these is there, contracts/'s reader is asked.
    event: msgspec.Raw = _NOTHING
    data: msgspec.Raw = _NOTHING


class _Context(msgspec.Struct, gc=False):
    result: msgspec.Raw = _NOTHING


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EARLIEST_US = (EARLIEST - _EPOCH) // _MICROSECOND
_TIME = pa.timestamp("us", "UTC")
_ALL_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_NUMBER = b"0" * MAX_NUMBER_LENGTH
_JSON = frozenset({"context", "data"})  # columns that keep JSON as it came

_decode = msgspec.json.Decoder(Usual).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_context = msgspec.json.Decoder(_Context).decode

Columns = dict[str, Any]


def read_batch(messages: pa.Table, settings: Settings, batch: Batch) -> Parsed:
    """Fetched messages as rows by table; of `batch` its ranges and ingest_time count."""
    limits = Limits(settings.max_message_bytes, settings.max_depth, settings.max_ahead_s)
    return Reader(limits, {r.topic: r.topic_id for r in batch.ranges}, batch.ingest_time).read(messages)


class Reader:
    """Reads batches of Kafka's messages; what it says depends on these constants and the messages alone."""

    def __init__(self, limits: Limits, topic_ids: Mapping[str, str], ingest_time: datetime) -> None:
        self._limits = limits
        self._max_bytes = min(limits.max_bytes, MAX_NAME_LENGTH)
        self._shallow_bytes = 2 * limits.max_depth  # in so few no more brackets open and close
        self._topic_ids = dict(topic_ids)
        self._ingest_time = ingest_time
        self._ingest_us = (ingest_time - _EPOCH) // _MICROSECOND
        self._ahead_us = timedelta(seconds=limits.max_ahead_s) // _MICROSECOND

    def read(self, messages: pa.Table) -> Parsed:
        """Messages as source.fetch brings them → rows by table, in any order."""
        return joined(map(self._read, messages.to_batches()))

    def _read(self, batch: pa.RecordBatch) -> Parsed:
        usual: dict[str, tuple[list[int], list[Usual]]] = defaultdict(lambda: ([], []))
        others: list[int] = []
        values, topics = batch.column("value").to_pylist(), batch.column("topic").to_pylist()
        tables = {topic: table_of(topic) for topic in set(topics)}
        all_utf8 = _are_utf8(batch.column("value"))
        with _no_garbage_collection():
            for index, (value, topic) in enumerate(zip(values, topics, strict=True)):
                found = self._usual(value, topic) if all_utf8 or _is_utf8(value) else None
                if found is None:
                    others.append(index)
                    continue
                table = tables[topic] if found.type != ACTION_STARTED else table_of(topic, found.type)
                indices, messages = usual[table]
                indices.append(index)
                messages.append(found)
            parts: dict[str, list[pa.Table]] = {name: [] for name in SCHEMAS}
            for table, (indices, messages) in usual.items():
                came = batch if len(indices) == len(values) else batch.take(pa.array(indices, pa.int32()))
                parts[table].append(self._rows(table, messages, came))
            if others:
                for table, rows in self._one_by_one(batch.take(pa.array(others, pa.int32()))).items():
                    parts[table].append(pa.Table.from_pylist(rows, SCHEMAS[table]))
        return {name: pa.concat_tables(tables) for name, tables in parts.items() if tables}

    def is_usual(self, value: bytes | None, topic: str) -> bool:
        """Whether a message is read here, and not by contracts/."""
        return _is_utf8(value) and self._usual(value, topic) is not None

    def _usual(self, value: bytes | None, topic: str) -> Usual | None:
        if not value or len(value) > self._max_bytes:
            return None
        if len(value) > self._shallow_bytes and value.count(b"{") + value.count(b"[") > self._limits.max_depth:
            return None
        if len(value) > MAX_NUMBER_LENGTH and _LONG_NUMBER in value.translate(_ALL_DIGITS_ALIKE):
            return None
        try:
            found = _decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        is_known = found.event is found.data is _NOTHING and topic != METRICS
        return found if is_known else None

    def _one_by_one(self, batch: pa.RecordBatch) -> dict[str, list[dict[str, Any]]]:
        rows: dict[str, list[dict[str, Any]]] = {}
        for came in batch.to_pylist():
            us = came["timestamp_us"]
            row = read(
                came["value"],
                topic=came["topic"],
                partition=came["partition"],
                offset=came["offset"],
                kafka_timestamp=None if us is None else _EPOCH + timedelta(microseconds=us),
                key=came["key"],
                headers=[(h["key"], h["value"]) for h in came["headers"] or ()],
                topic_id=self._topic_ids.get(came["topic"]),
                ingest_time=self._ingest_time,
                limits=self._limits,
            )
            rows.setdefault(row["table"], []).append(row)
        return rows

    def _rows(self, table: str, messages: list[Usual], came: pa.RecordBatch) -> pa.Table:
        columns = self._own(table, messages) | self._origin(messages, came)
        columns["payload"] = came.column("value").cast(pa.string())
        return pa.table([columns[name] for name in SCHEMAS[table].names], schema=SCHEMAS[table])

    def _own(self, table: str, messages: list[Usual]) -> Columns:
        own = OWN_COLUMNS[table]
        texts = [name for name in own.texts if name not in _JSON]
        columns: Columns = {name: _texts(_field(messages, name)) for name in texts}
        columns |= {name: _numbers(_field(messages, name)) for name in own.numbers}
        columns |= {name: _wholes(_field(messages, name)) for name in own.counts}
        if "context" in own.texts:
            columns["context"] = pa.array([_json_text(message.context) for message in messages], pa.string())
        if table in ("actions", "learning"):
            columns["tool"] = pc.coalesce(_texts(_field(messages, "tool")), _texts(_field(messages, "name")))
        if table == "actions":
            said = pa.array(_field(messages, "success"), pa.bool_())
            columns["success"] = pc.coalesce(said, pc.greater(columns["reward"], 0.0))
            columns["result"] = pa.array([self._result(message) for message in messages], pa.string())
        if table == "learning":
            columns["total_events"] = _wholes(_field(messages, "total_events"))
            columns |= {name: _numbers(_field(messages, name)) for name in ("success_rate", "avg_reward")}
            columns["learning_trend"] = _texts(_field(messages, "learning_trend"))
            columns["data"] = pa.nulls(len(messages), pa.string())
        return columns

    def _result(self, message: Usual) -> str | None:
        said = _json_text(message.result)
        if said is not None or message.context is _NOTHING:
            return said
        context = bytes(message.context)
        if context.startswith(b"{"):
            return _json_text(_decode_context(context).result)
        return as_text(within(json.loads(context), "result", self._limits))

    def _origin(self, messages: list[Usual], came: pa.RecordBatch) -> Columns:
        readable_keys, stored_keys = _keys(came.column("key"))
        topics = came.column("topic").dictionary_encode()
        ids = pa.array([self._topic_ids.get(topic) for topic in topics.dictionary.to_pylist()], pa.string())
        event_us, time_source = self._times(messages, came.column("timestamp_us"))
        return {
            "event_time": event_us.cast(_TIME),
            "event_date": event_us.cast(_TIME).cast(pa.date32()),
            "time_source": time_source,
            "agent_id": _agents(messages, readable_keys),
            "session_id": _not_empty(_texts(_field(messages, "session_id"))),
            "event_id": _not_empty(_texts(_field(messages, "event_id"))),
            "kafka_topic": came.column("topic"),
            "kafka_topic_id": ids.take(topics.indices),
            "kafka_partition": came.column("partition"),
            "kafka_offset": came.column("offset"),
            "kafka_timestamp": came.column("timestamp_us").cast(_TIME),
            "kafka_key": stored_keys,
            "kafka_headers": _headers(came.column("headers")),
            "ingest_time": pa.repeat(pa.scalar(self._ingest_time, _TIME), len(came)),
        }

    def _times(self, messages: list[Usual], kafka_us: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Event times in microseconds since 1970, and where they come from (contracts/event_time.py)."""
        said = _microseconds([m.ts if m.timestamp is None else m.timestamp for m in messages])
        kafka = kafka_us.fill_null(np.iinfo(np.int64).min).to_numpy(zero_copy_only=False)
        is_usable = (kafka >= _EARLIEST_US) & (kafka <= self._ingest_us + self._ahead_us)
        received = np.where(is_usable, kafka, self._ingest_us)
        is_kept = (said >= _EARLIEST_US) & (said <= received + self._ahead_us)
        event_us = np.where(is_kept, np.where(is_kept, said, 0.0).astype(np.int64), received)
        source = np.where(is_kept, 0, np.where(np.isnan(said), 1, 2)).astype(np.int32)
        names = pa.array(["message", "kafka", "clamped"])
        return pa.array(event_us, pa.int64()), names.take(pa.array(source))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Many small objects in a row set the collector off again and again; none of these are in circles."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _are_utf8(values: pa.Array) -> bool:
    try:
        values.cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True


def _is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _field(messages: list[Usual], name: str) -> list[Any]:
    return list(map(attrgetter(name), messages))


def _json_text(raw: msgspec.Raw) -> str | None:
    """A field's text: a JSON text's own, any other's JSON."""
    if raw is _NOTHING:
        return None
    text = str(raw, "utf-8")
    if text[0] in "{[":
        return text
    try:
        return _decode_text(raw)
    except msgspec.DecodeError:  # no text, or half of a surrogate pair
        return as_text(json.loads(text))


def _texts(values: list[Any]) -> pa.Array:
    kinds = set(map(type, values))
    if int in kinds:
        if str not in kinds:
            try:
                return pa.array(values, pa.int64()).cast(pa.string())
            except (pa.ArrowInvalid, OverflowError):  # one beyond 64 bits
                pass
        values = [str(value) if type(value) is int else value for value in values]
    return pa.array(values, pa.string())


def _numbers(values: list[Any]) -> pa.Array:
    numbers = pa.array(values, pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))


def _wholes(values: list[Any]) -> pa.Array:
    return pa.array([None if value is None else whole(value) for value in values], pa.int64())


def _microseconds(values: list[Any]) -> Any:
    """Microseconds since 1970 as doubles, which hold every usable time exactly; NaN where there is no time."""
    if str in set(map(type, values)):
        told = [microseconds(value) for value in values]
        return np.array([np.nan if us is None else float(us) for us in told])
    x = _numbers(values).to_numpy(zero_copy_only=False)
    size = np.abs(x)
    with np.errstate(over="ignore", invalid="ignore"):
        us = np.where(size >= MICROSECONDS_FROM, x, np.where(size >= MILLISECONDS_FROM, x * 1e3, x * 1e6))
    return np.floor(us)


def _not_empty(texts: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def _agents(messages: list[Usual], keys: pa.Array) -> pa.Array:
    found = _not_empty(_texts(_field(messages, "agent_id")))
    if not found.null_count:
        return found
    others = [_not_empty(_texts(_field(messages, name))) for name in ("container", "hostname")]
    return pc.coalesce(found, _not_empty(keys), *others, "unknown")


def _keys(keys: pa.Array) -> tuple[pa.Array, pa.Array]:
    """As names, and as they are stored."""
    try:
        texts = keys.cast(pa.string())
    except pa.ArrowInvalid:  # not all are UTF-8
        names, stored = zip(*map(key_texts, keys.to_pylist()), strict=True)
        return pa.array(names, pa.string()), pa.array(stored, pa.string())
    return texts, texts


def _headers(headers: pa.Array) -> pa.Array:
    if not pc.any(pc.greater(pc.list_value_length(headers), 0)).as_py():
        return pa.nulls(len(headers), pa.string())
    told = [[(h["key"], h["value"]) for h in some or ()] for some in headers.to_pylist()]
    return pa.array([headers_text(some) for some in told], pa.string())
