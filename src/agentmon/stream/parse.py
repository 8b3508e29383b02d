"""Kafka's messages → rows by table, a column at a time: what contracts/message.py says of one message, for many.

Most are usual (stream/usual.py). The others go through contracts/'s reader, which is the definition; a property test
holds the two together. Spark's executors import this module: no pyspark, and nothing of the driver.
"""

from __future__ import annotations

import base64
import gc
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import compress
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agentmon.contracts.event_time import (
    EARLIEST,
    EPOCH,
    MICROSECONDS_FROM,
    MILLISECONDS_FROM,
    NANOSECONDS_FROM,
    microseconds,
)
from agentmon.contracts.json_text import STORED_AS, Json
from agentmon.contracts.message import Limits, headers_text, key_texts, read, result_of
from agentmon.contracts.tables import MESSAGE_TABLES, Kind
from agentmon.contracts.topics import ACTION_STARTED, ACTIONS, table_of
from agentmon.contracts.values import count, error_text, reward, truth
from agentmon.stream.parsed import SCHEMAS, Parsed, joined
from agentmon.stream.usual import NOTHING, Usual, usual

#: What is read of Spark's Kafka source (stream/source.py). Kafka's -1, no timestamp, may come as null or as a time before 1970.
MESSAGES = pa.schema(
    {
        "key": pa.binary(),
        "value": pa.binary(),
        "topic": pa.string(),
        "partition": pa.int32(),
        "offset": pa.int64(),
        "timestamp": pa.timestamp("us", "UTC"),
        # As Spark's to_json writes them: a list of {key, value in base64}. Spark looks at a batch's size after each row, and
        # for a nested column that takes longer than all the rest of its part.
        "headers": pa.string(),
    }
)

_MICROSECOND = timedelta(microseconds=1)
_EARLIEST_US = (EARLIEST - EPOCH) // _MICROSECOND
_LATEST_US = (datetime.max.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND
_TIME = MESSAGES.field("timestamp").type


class _Context(msgspec.Struct, gc=False):
    result: msgspec.Raw = NOTHING


_decode_string = msgspec.json.Decoder(str).decode
_decode_context = msgspec.json.Decoder(_Context).decode

Columns = dict[str, Any]
Fields = Mapping[str, Sequence[Any]]


class Parser:
    """Makes rows of Kafka's messages; the rows depend on these constants and the messages alone."""

    def __init__(self, limits: Limits, topic_ids: Mapping[str, str], ingest_time: datetime) -> None:
        self._limits = limits
        self._topic_ids = dict(topic_ids)
        self._ingest_time = ingest_time
        self._ingest_us = (ingest_time - EPOCH) // _MICROSECOND
        self._ahead_us = timedelta(seconds=limits.max_ahead_s) // _MICROSECOND

    def parse(self, messages: pa.Table | Iterable[pa.RecordBatch]) -> Parsed:
        """Messages with the columns of MESSAGES, in batches → rows by table, in any order."""
        batches = messages.to_batches() if isinstance(messages, pa.Table) else messages
        return joined(map(self._parse, batches))

    def _parse(self, batch: pa.RecordBatch) -> Parsed:
        parts: dict[str, list[pa.Table]] = defaultdict(list)
        topics = batch.column("topic").dictionary_encode()
        codes = topics.indices.to_numpy()
        with _no_garbage_collection():
            for code, topic in enumerate(topics.dictionary.to_pylist()):
                for table, rows in self._parse_topic(topic, _where(batch, codes == code)):
                    parts[table].append(rows)
        return {name: pa.concat_tables(tables) for name, tables in parts.items()}

    def _parse_topic(self, topic: str, messages: pa.RecordBatch) -> Iterator[tuple[str, pa.Table]]:
        table = table_of(topic)
        is_usual, structs = usual(messages.column("value"), table, self._limits)
        if not is_usual.all():
            for other, rows in self._one_by_one(_where(messages, ~is_usual)).items():
                yield other, pa.Table.from_pylist(rows, SCHEMAS[other])
            messages = _where(messages, is_usual)
        if topic == ACTIONS:
            is_start = np.array([struct.type == ACTION_STARTED for struct in structs], bool)
            if is_start.any():
                starts, events = list(compress(structs, is_start)), table_of(topic, ACTION_STARTED)
                yield events, self._rows(events, starts, _where(messages, is_start))
                structs, messages = list(compress(structs, ~is_start)), _where(messages, ~is_start)
        if structs:
            yield table, self._rows(table, structs, messages)

    def _one_by_one(self, messages: pa.RecordBatch) -> dict[str, list[dict[str, Any]]]:
        """The rows of messages that are not usual, by table."""
        rows: dict[str, list[dict[str, Any]]] = {}
        times_us = _kafka_us(messages).to_pylist()
        for message, us in zip(messages.drop_columns(["timestamp"]).to_pylist(), times_us, strict=True):
            row = read(
                message["value"],
                topic=message["topic"],
                partition=message["partition"],
                offset=message["offset"],
                kafka_timestamp=None if us is None else EPOCH + timedelta(microseconds=us),
                key=message["key"],
                headers=_pairs(message["headers"]),
                topic_id=self._topic_ids.get(message["topic"]),
                ingest_time=self._ingest_time,
                limits=self._limits,
            )
            rows.setdefault(row["table"], []).append(row)
        return rows

    def _rows(self, table: str, structs: list[Usual], messages: pa.RecordBatch) -> pa.Table:
        """The rows of usual messages, at least one, each with its struct."""
        fields = _fields(structs)
        columns = self._own(table, fields) | self._origin(fields, messages)
        columns["payload"] = messages.column("value").view(pa.string())  # what is usual is UTF-8
        return pa.table([columns[name] for name in SCHEMAS[table].names], schema=SCHEMAS[table])

    def _own(self, table: str, fields: Fields) -> Columns:
        columns: Columns = {
            column.name: _COLUMNS[column.kind](fields[column.name])
            for column in MESSAGE_TABLES[table].columns
            if column.kind
        }
        if table in ("actions", "learning"):
            columns["tool"] = pc.coalesce(_texts(fields["tool"]), _texts(fields["name"]))
        if table == "actions":
            columns["success"] = pc.coalesce(_truths(fields["success"]), pc.greater(columns["reward"], 0.0))
            results = map(self._result, fields["result"], fields["context"], columns["context"])
            columns["result"] = pa.array(results, pa.string())
        if table == "learning":
            columns["total_events"] = _counts(fields["total_events"])
            columns |= {name: _numbers(fields[name]) for name in ("success_rate", "avg_reward")}
            columns["learning_trend"] = _texts(fields["learning_trend"])
        return columns

    def _result(self, result: msgspec.Raw, context: msgspec.Raw, context_text: str | None) -> str | None:
        """The result as text, else the one within the context."""
        text = _json_text(result)
        if text is not None or context_text is None:
            return text
        if '"result"' not in context_text and "\\" not in context_text:  # "r\u0065sult"
            return None
        try:
            return _json_text(_decode_context(context).result)
        except msgspec.DecodeError:  # no object, or none that msgspec takes
            is_string = bytes(context).startswith(b'"')
            return result_of(Json(context_text if is_string else None, context_text), self._limits)

    def _origin(self, fields: Fields, messages: pa.RecordBatch) -> Columns:
        readable_keys, stored_keys = _keys(messages.column("key"))
        topics = messages.column("topic").dictionary_encode()
        ids = pa.array([self._topic_ids.get(topic) for topic in topics.dictionary.to_pylist()], pa.string())
        kafka_us = _kafka_us(messages)
        event_us, time_source = self._times(fields, kafka_us)
        return {
            "event_time": event_us.cast(_TIME),
            "event_date": event_us.cast(_TIME).cast(pa.date32()),
            "time_source": time_source,
            "agent_id": _agents(fields, readable_keys),
            "session_id": _not_empty(_texts(fields["session_id"])),
            "event_id": _not_empty(_texts(fields["event_id"])),
            "kafka_topic": messages.column("topic"),
            "kafka_topic_id": ids.take(topics.indices),
            "kafka_partition": messages.column("partition"),
            "kafka_offset": messages.column("offset"),
            "kafka_timestamp": kafka_us.cast(_TIME),
            "kafka_key": stored_keys,
            "kafka_headers": _headers(messages.column("headers")),
            "ingest_time": pa.repeat(pa.scalar(self._ingest_time, _TIME), len(messages)),
        }

    def _times(self, fields: Fields, kafka_us: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Event times in microseconds since 1970, and where they come from (contracts/event_time.py)."""
        times = zip(fields["timestamp"], fields["ts"], strict=True)
        own_us = _microseconds([ts if timestamp is None else timestamp for timestamp, ts in times])
        kafka = kafka_us.fill_null(np.iinfo(np.int64).min).to_numpy(zero_copy_only=False)
        is_usable = (kafka >= _EARLIEST_US) & (kafka <= self._ingest_us + self._ahead_us)
        received = np.where(is_usable, kafka, self._ingest_us)
        is_kept = (own_us >= _EARLIEST_US) & (own_us <= received + self._ahead_us)
        event_us = np.where(is_kept, np.where(is_kept, own_us, 0.0).astype(np.int64), received)
        source = np.where(is_kept, 0, np.where(np.isnan(own_us), 1, 2)).astype(np.int32)
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


def _where(batch: pa.RecordBatch, wanted: Any) -> pa.RecordBatch:
    """The rows of a mask; those that lie together are not copied."""
    indices = np.flatnonzero(wanted)
    if len(indices) and indices[-1] - indices[0] + 1 == len(indices):
        return batch.slice(indices[0], len(indices))
    return batch.take(pa.array(indices))


def _fields(structs: list[Usual]) -> Fields:
    """What structs of one kind, at least one, have in each field: name → values."""
    names = type(structs[0]).__struct_fields__
    return dict(zip(names, zip(*map(msgspec.structs.astuple, structs), strict=True), strict=True))


def _kafka_us(messages: pa.RecordBatch) -> pa.Array:
    """Kafka's timestamps in microseconds since 1970; null where there is none, or none of the years 1970 to 9999."""
    us = messages.column("timestamp").cast(pa.int64())
    is_time = pc.and_(pc.greater_equal(us, 0), pc.less_equal(us, _LATEST_US))
    return pc.if_else(is_time, us, pa.scalar(None, pa.int64()))


def _json_text(raw: msgspec.Raw | None) -> str | None:
    """A field's text: a string's content, any other JSON as it came."""
    if raw is NOTHING or raw is None:
        return None
    text = str(raw, "utf-8")
    if text[0] != '"':
        return STORED_AS.get(text, text)
    return _decode_string(raw)


def _json_texts(values: Sequence[msgspec.Raw | None]) -> list[str | None]:
    return list(map(_json_text, values))


def _texts(values: Sequence[Any]) -> pa.Array:
    """Of texts, of whole numbers, or of both."""
    for kind in (pa.string(), pa.int64()):
        try:
            return pa.array(values, kind).cast(pa.string())
        except (pa.ArrowTypeError, pa.ArrowInvalid, OverflowError):
            continue
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _errors(values: Sequence[Any]) -> pa.Array:
    """Of texts, whole numbers, true and false."""
    texts = ("true" if value is True else value if value is None else str(value) for value in values)
    return pa.array(map(error_text, texts), pa.string())


def _truths(values: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(values, pa.bool_())
    except (pa.ArrowTypeError, pa.ArrowInvalid):  # numbers or texts among them
        return pa.array(list(map(truth, values)), pa.bool_())


def _numbers(values: Sequence[Any]) -> pa.Array:
    numbers = pa.array(values, pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))


def _rewards(values: Sequence[Any]) -> pa.Array:
    try:
        return _numbers(values)
    except (pa.ArrowTypeError, pa.ArrowInvalid):  # true and false among them
        return _numbers(list(map(reward, values)))


def _amounts(values: Sequence[Any]) -> pa.Array:
    numbers = _numbers(values)
    return pc.if_else(pc.less(numbers, 0.0), pa.scalar(None, pa.float64()), pc.abs(numbers))


def _counts(values: Sequence[Any]) -> pa.Array:
    return pa.array([None if value is None else count(value) for value in values], pa.int64())


def _microseconds(values: Sequence[Any]) -> Any:
    """Microseconds since 1970 as doubles, which hold every usable time exactly; NaN where there is no time."""
    try:
        x = _numbers(values).to_numpy(zero_copy_only=False)
    except (pa.ArrowTypeError, pa.ArrowInvalid, OverflowError):  # texts among them, or nanoseconds
        return _one_by_one_us(values)
    size = np.abs(x)
    if np.any(size >= NANOSECONDS_FROM):
        return _one_by_one_us(values)
    with np.errstate(over="ignore", invalid="ignore"):
        us = np.where(size >= MICROSECONDS_FROM, x, np.where(size >= MILLISECONDS_FROM, x * 1e3, x * 1e6))
    return np.floor(us)


def _one_by_one_us(values: Sequence[Any]) -> Any:
    return np.array([np.nan if us is None else float(us) for us in map(microseconds, values)])


_COLUMNS: dict[Kind, Callable[[Sequence[Any]], Any]] = {
    "text": _texts,
    "json": _json_texts,
    "error": _errors,
    "reward": _rewards,
    "number": _numbers,
    "amount": _amounts,
    "count": _counts,
}


def _not_empty(texts: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def _agents(fields: Fields, keys: pa.Array) -> pa.Array:
    agents = _not_empty(_texts(fields["agent_id"]))
    if not agents.null_count:
        return agents
    others = [_not_empty(_texts(fields[name])) for name in ("container", "hostname")]
    return pc.coalesce(agents, _not_empty(keys), *others, "unknown")


def _keys(keys: pa.Array) -> tuple[pa.Array, pa.Array]:
    """As names, and as they are stored."""
    try:
        texts = keys.cast(pa.string())
    except pa.ArrowInvalid:  # not all are UTF-8
        names, stored = zip(*map(key_texts, keys.to_pylist()), strict=True)
        return pa.array(names, pa.string()), pa.array(stored, pa.string())
    return texts, texts


def _headers(headers: pa.Array) -> pa.Array:
    if headers.null_count == len(headers):
        return headers
    return pa.array([headers_text(_pairs(text)) for text in headers.to_pylist()], pa.string())


def _pairs(headers: str | None) -> list[tuple[str, bytes | None]]:
    """Headers as MESSAGES has them as (key, value); Spark leaves out a value that is null."""
    values = [] if headers is None else json.loads(headers)
    return [(h["key"], base64.b64decode(h["value"]) if "value" in h else None) for h in values]
