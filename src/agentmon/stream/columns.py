"""What contracts/message.py says of one message, for many: a column at a time.

Most are usual (stream/usual.py). The others go through contracts/'s reader, which is the definition: a property test
holds the two together. They differ in the white space of JSON that is stored as text: here it is left as it came.
"""

from __future__ import annotations

import gc
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import compress
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agentmon.contracts.event_time import EARLIEST, MICROSECONDS_FROM, MILLISECONDS_FROM, microseconds
from agentmon.contracts.json_text import as_text
from agentmon.contracts.message import OWN_COLUMNS, Limits, headers_text, key_texts, read, within
from agentmon.contracts.topics import ACTION_STARTED, ACTIONS, table_of
from agentmon.contracts.values import whole
from agentmon.settings import Settings
from agentmon.stream.batch import Batch
from agentmon.stream.parsed import SCHEMAS, Parsed, joined
from agentmon.stream.usual import NOTHING, Usual, usual


class _Context(msgspec.Struct, gc=False):
    result: str | list[msgspec.Raw] | dict[str, msgspec.Raw] | None = None


class _RawContext(msgspec.Struct, gc=False):
    result: msgspec.Raw = NOTHING


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EARLIEST_US = (EARLIEST - _EPOCH) // _MICROSECOND
_TIME = pa.timestamp("us", "UTC")
_JSON = frozenset({"context", "data"})  # columns that keep JSON as it came

_decode_text = msgspec.json.Decoder(str).decode
_decode_context = msgspec.json.Decoder(_Context).decode
_decode_raw_context = msgspec.json.Decoder(_RawContext).decode

Columns = dict[str, Any]
Fields = Mapping[str, Sequence[Any]]


def read_batch(messages: pa.Table, settings: Settings, batch: Batch) -> Parsed:
    """Fetched messages as rows by table; of `batch` its ranges and ingest_time count."""
    return Reader.of(settings, {r.topic: r.topic_id for r in batch.ranges}, batch.ingest_time).read(messages)


class Reader:
    """Reads batches of Kafka's messages; what it says depends on these constants and the messages alone."""

    def __init__(self, limits: Limits, topic_ids: Mapping[str, str], ingest_time: datetime) -> None:
        self._limits = limits
        self._topic_ids = dict(topic_ids)
        self._ingest_time = ingest_time
        self._ingest_us = (ingest_time - _EPOCH) // _MICROSECOND
        self._ahead_us = timedelta(seconds=limits.max_ahead_s) // _MICROSECOND

    @classmethod
    def of(cls, settings: Settings, topic_ids: Mapping[str, str], ingest_time: datetime) -> Reader:
        """With the limits that are set."""
        limits = Limits(settings.max_message_bytes, settings.max_depth, settings.max_ahead_s)
        return cls(limits, topic_ids, ingest_time)

    def read(self, messages: pa.Table) -> Parsed:
        """Messages as live/fetcher.py brings them → rows by table, in any order."""
        return joined(map(self._read, messages.to_batches()))

    def _read(self, batch: pa.RecordBatch) -> Parsed:
        parts: dict[str, list[pa.Table]] = defaultdict(list)
        topics = batch.column("topic").dictionary_encode()
        codes = topics.indices.to_numpy()
        with _no_garbage_collection():
            for code, topic in enumerate(topics.dictionary.to_pylist()):
                for table, rows in self._read_topic(topic, _where(batch, codes == code)):
                    parts[table].append(rows)
        return {name: pa.concat_tables(tables) for name, tables in parts.items()}

    def _read_topic(self, topic: str, came: pa.RecordBatch) -> Iterator[tuple[str, pa.Table]]:
        table = table_of(topic)
        is_usual, messages = usual(came.column("value"), table, self._limits)
        if not is_usual.all():
            for other, rows in self._one_by_one(_where(came, ~is_usual)).items():
                yield other, pa.Table.from_pylist(rows, SCHEMAS[other])
            came = _where(came, is_usual)
        if topic == ACTIONS:
            is_start = np.array([message.type == ACTION_STARTED for message in messages], bool)
            if is_start.any():
                starts = list(compress(messages, is_start))
                yield (events := table_of(topic, ACTION_STARTED)), self._rows(events, starts, _where(came, is_start))
                messages, came = list(compress(messages, ~is_start)), _where(came, ~is_start)
        if messages:
            yield table, self._rows(table, messages, came)

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
        fields = _fields(messages)
        columns = self._own(table, fields) | self._origin(fields, came)
        columns["payload"] = came.column("value").view(pa.string())  # what is usual is UTF-8
        return pa.table([columns[name] for name in SCHEMAS[table].names], schema=SCHEMAS[table])

    def _own(self, table: str, fields: Fields) -> Columns:
        own = OWN_COLUMNS[table]
        texts = [name for name in own.texts if name not in _JSON]
        columns: Columns = {name: _texts(fields[name]) for name in texts}
        columns |= {name: _numbers(fields[name]) for name in own.numbers}
        columns |= {name: _wholes(fields[name]) for name in own.counts}
        if "context" in own.texts:
            contexts = list(map(_json_text, fields["context"]))
            columns["context"] = pa.array(contexts, pa.string())
        if table in ("actions", "learning"):
            columns["tool"] = pc.coalesce(_texts(fields["tool"]), _texts(fields["name"]))
        if table == "actions":
            success = pa.array(fields["success"], pa.bool_())
            columns["success"] = pc.coalesce(success, pc.greater(columns["reward"], 0.0))
            said = map(_json_text, fields["result"])
            columns["result"] = pa.array(map(self._result, said, fields["context"], contexts), pa.string())
        if table == "learning":
            columns["total_events"] = _wholes(fields["total_events"])
            columns |= {name: _numbers(fields[name]) for name in ("success_rate", "avg_reward")}
            columns["learning_trend"] = _texts(fields["learning_trend"])
            columns["data"] = pa.nulls(len(fields["data"]), pa.string())
        return columns

    def _result(self, said: str | None, context: msgspec.Raw, text: str | None) -> str | None:
        """The result, else the one within the context, whose text `text` is."""
        if said is not None or text is None or ('"result"' not in text and "\\" not in text):  # "r\u0065sult"
            return said
        try:
            found = _decode_context(context).result
            return found if found is None or isinstance(found, str) else _json_text(_decode_raw_context(context).result)
        except msgspec.DecodeError:  # no object, or none that msgspec takes
            return as_text(within(json.loads(bytes(context)), "result", self._limits))

    def _origin(self, fields: Fields, came: pa.RecordBatch) -> Columns:
        readable_keys, stored_keys = _keys(came.column("key"))
        topics = came.column("topic").dictionary_encode()
        ids = pa.array([self._topic_ids.get(topic) for topic in topics.dictionary.to_pylist()], pa.string())
        event_us, time_source = self._times(fields, came.column("timestamp_us"))
        return {
            "event_time": event_us.cast(_TIME),
            "event_date": event_us.cast(_TIME).cast(pa.date32()),
            "time_source": time_source,
            "agent_id": _agents(fields, readable_keys),
            "session_id": _not_empty(_texts(fields["session_id"])),
            "event_id": _not_empty(_texts(fields["event_id"])),
            "kafka_topic": came.column("topic"),
            "kafka_topic_id": ids.take(topics.indices),
            "kafka_partition": came.column("partition"),
            "kafka_offset": came.column("offset"),
            "kafka_timestamp": came.column("timestamp_us").cast(_TIME),
            "kafka_key": stored_keys,
            "kafka_headers": _headers(came.column("headers")),
            "ingest_time": pa.repeat(pa.scalar(self._ingest_time, _TIME), len(came)),
        }

    def _times(self, fields: Fields, kafka_us: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Event times in microseconds since 1970, and where they come from (contracts/event_time.py)."""
        told = zip(fields["timestamp"], fields["ts"], strict=True)
        said = _microseconds([ts if timestamp is None else timestamp for timestamp, ts in told])
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


def _where(batch: pa.RecordBatch, wanted: Any) -> pa.RecordBatch:
    """The rows of a mask; those that lie together are not copied."""
    indices = np.flatnonzero(wanted)
    if len(indices) and indices[-1] - indices[0] + 1 == len(indices):
        return batch.slice(indices[0], len(indices))
    return batch.take(pa.array(indices))


def _fields(messages: list[Usual]) -> Fields:
    """Messages of one kind, at least one: by a field's name, what each has there."""
    names = type(messages[0]).__struct_fields__
    return dict(zip(names, zip(*map(msgspec.structs.astuple, messages), strict=True), strict=True))


def _json_text(raw: msgspec.Raw) -> str | None:
    """A field's text: a JSON text's own, any other's JSON."""
    if raw is NOTHING:
        return None
    text = str(raw, "utf-8")
    if text[0] in "{[":
        return text
    try:
        return _decode_text(raw)
    except msgspec.DecodeError:  # no text, or half of a surrogate pair
        return as_text(json.loads(text))


def _texts(values: Sequence[Any]) -> pa.Array:
    """Of texts, of whole numbers, or of both."""
    for kind in (pa.string(), pa.int64()):
        try:
            return pa.array(values, kind).cast(pa.string())
        except (pa.ArrowTypeError, pa.ArrowInvalid, OverflowError):
            continue
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _numbers(values: Sequence[Any]) -> pa.Array:
    numbers = pa.array(values, pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))


def _wholes(values: Sequence[Any]) -> pa.Array:
    return pa.array([None if value is None else whole(value) for value in values], pa.int64())


def _microseconds(values: Sequence[Any]) -> Any:
    """Microseconds since 1970 as doubles, which hold every usable time exactly; NaN where there is no time."""
    try:
        x = _numbers(values).to_numpy(zero_copy_only=False)
    except (pa.ArrowTypeError, pa.ArrowInvalid):  # texts among them
        told = [microseconds(value) for value in values]
        return np.array([np.nan if us is None else float(us) for us in told])
    size = np.abs(x)
    with np.errstate(over="ignore", invalid="ignore"):
        us = np.where(size >= MICROSECONDS_FROM, x, np.where(size >= MILLISECONDS_FROM, x * 1e3, x * 1e6))
    return np.floor(us)


def _not_empty(texts: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def _agents(fields: Fields, keys: pa.Array) -> pa.Array:
    found = _not_empty(_texts(fields["agent_id"]))
    if not found.null_count:
        return found
    others = [_not_empty(_texts(fields[name])) for name in ("container", "hostname")]
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
