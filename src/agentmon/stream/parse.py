"""What a raw message means, as Spark columns: the same rules as contracts/message.py, at stream speed.

One pass of from_json over the value with one superset schema of texts; what is rare (an envelope, an
object within the message, an ISO time, headers) is computed only where it occurs. Three things decide
what a message costs: what is used twice is a column of an earlier select, or Spark computes it twice;
each select copies its rows, so they carry the bytes once and the fields as one struct; and Java never
compiles a method of more than 8,000 bytes, which Spark makes of a wide select: unless it holds a function
with a lambda, as the two wide ones here do (headers, metrics), which Spark splits into many methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from agentmon.contracts.json_text import BLANKS, MAX_NUMBER_LENGTH
from agentmon.contracts.message import ERRORS, NO_METRICS, OTHER_JSON, REPORT, Limits
from agentmon.contracts.tables import MESSAGE_TABLES
from agentmon.contracts.topics import ACTION_STARTED, ACTIONS, tables_by_topic
from agentmon.stream.batch import constant
from agentmon.stream.event_time import EPOCH_2000_US, message_time_us
from agentmon.stream.fields import number, truth, whole

#: Fields of a message that some column is made of; all are read as text.
FIELDS = (
    "type", "timestamp", "ts", "agent_id", "session_id", "event_id", "container", "hostname", "tool", "name",
    "action", "success", "reward", "duration_ms", "result", "error", "reasoning", "context", "action_id", "span_id",
    "input_tokens", "output_tokens", "cost_usd", "thought", "confidence", "thought_id", "data", "total_events",
    "success_rate", "avg_reward", "learning_trend", "metrics", "action_count", "thought_count",
)  # fmt: skip

_BAD = "_unreadable"
_KAFKA = ("topic", "partition", "offset", "timestamp", "key", "headers")
_COLUMNS = tuple(dict.fromkeys(name for table in MESSAGE_TABLES.values() for name in table.column_names))


def _texts(*names: str) -> str:
    return ", ".join(f"`{name}` STRING" for name in (*names, _BAD))


def parse(rows: DataFrame, *, limits: Limits, topic_ids: Mapping[str, str], ingest_time: datetime) -> DataFrame:
    """Rows of Spark's Kafka source → one row each, with `table` and every column of every message table.

    A column that a row's table does not have may hold anything; readers select the table's own.
    """
    options = json_options(limits)
    if "headers" not in rows.columns:
        rows = rows.withColumn("headers", F.lit(None).cast("array<struct<key:string,value:binary>>"))
    message = _message(rows, limits, options)
    judged = _judged(message, limits, ingest_time, options)
    made = {**_origin(topic_ids, ingest_time), **_own(options)}
    return judged.select("table", *(made.get(name, F.col(f"m.{name}")).alias(name) for name in _COLUMNS))


def json_options(limits: Limits) -> dict[str, str]:
    """from_json's options: strict JSON, but for NaN and the Infinities that Python's json.dumps writes."""
    return {
        "allowSingleQuotes": "false",
        "maxNestingDepth": str(limits.max_depth),
        "maxNumLen": str(MAX_NUMBER_LENGTH),  # reading a number takes the square of its length
        "maxStringLen": str(limits.max_bytes),
        "columnNameOfCorruptRecord": _BAD,
    }


def _message(rows: DataFrame, limits: Limits, options: dict[str, str]) -> DataFrame:
    """text, unfit (the bytes that are no text), reason (null where fine), event, and m: the message's fields."""
    value, fit = F.col("value"), F.col("reason").isNull()
    checked = rows.select(*_KAFKA, "value", _unfit(limits).alias("reason"))
    raw = checked.select(
        *_KAFKA,
        F.when(fit, value.cast("string")).alias("text"),
        F.when(~fit, value).alias("unfit"),
        "reason",
    )
    read = raw.select("*", F.from_json("text", _texts(*FIELDS, "event"), options).alias("m"))
    opened = read.select(
        *_KAFKA,
        *("text", "unfit", "m"),
        F.coalesce("reason", _unreadable()).alias("reason"),
        _opened("m.event", _texts(*FIELDS, "event"), options).alias("e"),
    )
    envelope = F.col("e").isNotNull() & F.col(f"e.{_BAD}").isNull()
    return opened.select(
        *_KAFKA[:-1],
        F.when(F.size("headers") > 0, F.to_json(F.transform("headers", _header))).alias("kafka_headers"),
        *("text", "unfit", "reason"),
        F.when(envelope, F.col("m.event")).alias("event"),
        # Broken JSON leaves the fields before the break.
        F.when(F.col("reason").isNull(), F.when(envelope, _merged()).otherwise(F.col("m"))).alias("m"),
    )


def _unfit(limits: Limits) -> Column:
    """Why a value is not even looked at as JSON; null where it is."""
    value = F.col("value")
    return (
        F.when(value.isNull() | (F.length(value) == 0), "empty")
        .when(F.length(value) > limits.max_bytes, "too_large")
        .when(~F.is_valid_utf8(value.cast("string")), "not_utf8")
    )


def _unreadable() -> Column:
    """not_object or not_json, where from_json made nothing of a text; null elsewhere."""
    start = F.substring(F.ltrim(F.col("text"), F.lit(BLANKS)), 1, 1)
    kind = F.when(start.isin(*OTHER_JSON), "not_object").otherwise("not_json")
    return F.when(F.col("m").isNull() | F.col(f"m.{_BAD}").isNotNull(), kind)


def _merged() -> Column:
    """The fields of an envelope: the event's win over its own. Its two names of time count as one field."""
    names = (*FIELDS, "event", _BAD)
    fields = {name: F.coalesce(f"e.{name}", f"m.{name}") for name in names}
    fields |= {"timestamp": F.coalesce("e.timestamp", "e.ts", "m.timestamp"), "ts": F.col("m.ts")}
    return F.struct(*(fields[name].alias(name) for name in names))


def _judged(message: DataFrame, limits: Limits, ingest_time: datetime, options: dict[str, str]) -> DataFrame:
    """+ table, event_us and time_source, key_text, reward, and the fields of objects within the message."""
    ahead = timedelta(seconds=limits.max_ahead_s)
    kafka_us = F.unix_micros("timestamp")
    usable = kafka_us.between(EPOCH_2000_US, constant(_us(ingest_time + ahead), "bigint"))
    key = F.col("key").cast("string")
    timed = message.select(
        "*",
        _table().alias("table"),
        F.when(usable, kafka_us).otherwise(constant(_us(ingest_time), "bigint")).alias("kafka_us"),
        F.coalesce("m.timestamp", "m.ts").alias("time"),
        number(F.coalesce("m.timestamp", "m.ts")).alias("time_number"),
        F.when(F.is_valid_utf8(key), key).alias("key_text"),
        number(F.col("m.reward")).alias("reward"),
    )
    told = F.col("told_us")
    timed = timed.select("*", message_time_us(F.col("time"), lambda _: F.col("time_number")).alias("told_us"))
    accepted = (told >= EPOCH_2000_US) & (told <= F.col("kafka_us") + round(limits.max_ahead_s * 1e6))
    in_context = (F.col("table") == "actions") & F.col("m.result").isNull()
    return timed.select(
        *("topic", "partition", "offset", "timestamp", "key", "kafka_headers"),
        *("text", "unfit", "reason", "event", "m", "table", "key_text", "reward"),
        F.when(accepted, told.cast("bigint")).otherwise(F.col("kafka_us")).alias("event_us"),
        F.when(accepted, "message").when(told.isNotNull(), "clamped").otherwise("kafka").alias("time_source"),
        F.when(in_context, _opened("m.context", _texts("result"), options)).alias("in_context"),
        F.when(F.col("table") == "learning", _opened("m.data", _texts(*REPORT), options)).alias("in_data"),
    )


def _table() -> Column:
    topic = F.col("topic")
    started = (topic == ACTIONS) & (F.col("m.type") == ACTION_STARTED)
    chosen = F.when(F.col("reason").isNotNull(), "quarantine").when(started, "events")
    for name, table in tables_by_topic().items():
        chosen = chosen.when(topic == name, table)
    return chosen.otherwise("events")


def _origin(topic_ids: Mapping[str, str], ingest_time: datetime) -> dict[str, Column]:
    """The columns that every message table has."""
    agent = (F.nullif(F.col(name), F.lit("")) for name in ("m.agent_id", "key_text", "m.container", "m.hostname"))
    fine = F.col("reason").isNull()
    event_time = F.timestamp_micros("event_us")
    return {
        "event_time": event_time,
        "event_date": F.to_date(event_time),
        "time_source": F.col("time_source"),
        "agent_id": F.coalesce(*agent, F.lit("unknown")),
        "session_id": F.nullif("m.session_id", F.lit("")),
        "event_id": F.nullif("m.event_id", F.lit("")),
        "kafka_topic_id": _lookup(F.col("topic"), topic_ids),
        "kafka_partition": F.col("partition"),
        "kafka_offset": F.col("offset"),
        "kafka_topic": F.col("topic"),
        "kafka_timestamp": F.col("timestamp"),
        "kafka_key": F.when(F.col("key").isNotNull(), F.coalesce("key_text", _base64(F.col("key")))),
        "kafka_headers": F.col("kafka_headers"),
        "ingest_time": F.timestamp_micros(constant(_us(ingest_time), "bigint")),
        "payload": F.when(fine, F.col("text")),
        "raw": F.when(~fine, F.coalesce("unfit", F.col("text").cast("binary"))),
        "reason": F.col("reason"),
        "error": F.when(fine, F.col("m.error")).otherwise(_lookup(F.col("reason"), ERRORS)),
    }


def _own(options: dict[str, str]) -> dict[str, Column]:
    """The columns of single tables; those that are a field's text as it is are left out."""
    named = F.col("table").isin("actions", "learning")
    sound = F.col(f"in_data.{_BAD}").isNull()
    report = {name: F.coalesce(F.when(sound, F.col(f"in_data.{name}")), F.col(f"m.{name}")) for name in REPORT}
    in_context = F.when(F.col(f"in_context.{_BAD}").isNull(), F.col("in_context.result"))
    counts = ("input_tokens", "output_tokens", "action_count", "thought_count")
    return {
        "tool": F.when(named, F.coalesce("m.tool", "m.name")),
        "success": F.coalesce(truth(F.col("m.success")), F.col("reward") > 0),
        "reward": F.col("reward"),
        "result": F.coalesce(F.col("m.result"), in_context),
        **{name: number(F.col(f"m.{name}")) for name in ("duration_ms", "cost_usd", "confidence")},
        **{name: whole(F.col(f"m.{name}")) for name in counts},
        "total_events": whole(report["total_events"]),
        **{name: number(report[name]) for name in ("success_rate", "avg_reward")},
        "learning_trend": report["learning_trend"],
        "metrics": F.when(F.col("table") == "metrics", _metrics(options)),
    }


def _metrics(options: dict[str, str]) -> Column:
    """The numbers of the metrics object; of a message without one, the message's own."""

    def numbers(text: Column, without: tuple[str, ...] = ()) -> Column:
        entries = F.map_entries(F.from_json(text, "map<string,string>", options))
        # from_json leaves repeated names in its map; putting it together anew lets the last one win.
        told = F.transform_values(F.map_from_entries(entries), lambda _, value: number(value))
        return F.map_filter(told, lambda name, value: value.isNotNull() & ~name.isin(*without))

    candidates = (numbers(F.col("m.metrics")), numbers(F.coalesce("event", "text"), NO_METRICS))
    return F.coalesce(*candidates, F.expr("map()").cast("map<string,double>"))


def _opened(name: str, schema: str, options: dict[str, str]) -> Column:
    """The fields of an object within the message, or of a text that is one (some producers encode twice)."""
    text = F.col(name)
    return F.when(F.ltrim(text, F.lit(BLANKS)).startswith("{"), F.from_json(text, schema, options))


def _header(header: Column) -> Column:
    text = header["value"].cast("string")
    valid = F.is_valid_utf8(text)
    return F.struct(
        header["key"].alias("key"),
        F.when(valid, text).alias("value"),
        F.when(~valid, _base64(header["value"])).alias("base64"),
    )


def _base64(value: Column) -> Column:
    """In one line: Spark breaks it after 76 characters."""
    return F.translate(F.base64(value), "\r\n", "")


def _lookup(key: Column, values: Mapping[str, str]) -> Column:
    found = F.lit(None).cast("string")
    for name, value in sorted(values.items()):
        found = F.when(key == name, value).otherwise(found)
    return found


def _us(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6)
