"""What a raw message means, as Spark columns: the same rules as contracts/message.py, at stream speed.

One pass of from_json over the value with one superset schema of texts; what is rare (an envelope, an
ISO time, headers, the map of metrics) is computed only where it occurs. No cast may fail: Spark's ANSI
mode would end the query over one odd message.
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

#: Fields of a message that some column is made of; all are read as text.
FIELDS = (
    "type", "timestamp", "ts", "agent_id", "session_id", "event_id", "container", "hostname", "tool", "name",
    "action", "success", "reward", "duration_ms", "result", "error", "reasoning", "context", "action_id", "span_id",
    "input_tokens", "output_tokens", "cost_usd", "thought", "confidence", "thought_id", "data", "total_events",
    "success_rate", "avg_reward", "learning_trend", "metrics", "action_count", "thought_count",
)  # fmt: skip

_NUMBER = r"\A *[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)? *\z"
_BAD = "_unreadable"
_EVENT_SCHEMA = ", ".join(f"`{name}` STRING" for name in (*FIELDS, _BAD))
_SCHEMA = f"{_EVENT_SCHEMA}, `event` STRING"
_REPORT_SCHEMA = ", ".join(f"`{name}` STRING" for name in (*REPORT, _BAD))
_RESULT_SCHEMA = f"`result` STRING, `{_BAD}` STRING"


def parse(rows: DataFrame, *, limits: Limits, topic_ids: Mapping[str, str], ingest_time: datetime) -> DataFrame:
    """Rows of Spark's Kafka source → one row each, with `table` and every column of every message table.

    A column that a row's table does not have may hold anything; readers select the table's own.
    """
    options = json_options(limits)
    if "headers" not in rows.columns:
        rows = rows.withColumn("headers", F.lit(None).cast("array<struct<key:string,value:binary>>"))
    text = F.col("value").cast("string")
    unfit = _unfit(limits)
    read = rows.select(
        "topic", "partition", "offset", "timestamp", "key", "headers", "value",
        F.when(unfit.isNull(), text).alias("text"),
        unfit.alias("unfit"),
    ).select("*", F.from_json("text", _SCHEMA, options).alias("m"))  # fmt: skip
    opened = read.select(
        "*", F.when(F.col("m.event").isNotNull(), F.from_json("m.event", _EVENT_SCHEMA, options)).alias("told")
    ).select("*", _sound("told").alias("e"))
    named = opened.select(
        *("topic", "partition", "offset", "timestamp", "key", "headers", "value", "text"),
        F.col("m.event").alias("event"),
        _reason().alias("reason"),
        *(
            F.coalesce(F.col(f"e.{name}"), F.col(f"m.{name}")).alias(name)
            for name in FIELDS
            if name not in ("timestamp", "ts")
        ),
        F.coalesce("e.timestamp", "e.ts", "m.timestamp", "m.ts").alias("time"),
    )
    return _columns(named, limits, topic_ids, ingest_time, options)


def json_options(limits: Limits) -> dict[str, str]:
    """from_json's options: strict JSON, but for NaN and the Infinities that Python's json.dumps writes."""
    return {
        "allowSingleQuotes": "false",
        "maxNestingDepth": str(limits.max_depth),
        "maxNumLen": str(MAX_NUMBER_LENGTH),  # reading a number takes the square of its length
        "maxStringLen": str(limits.max_bytes),
        "columnNameOfCorruptRecord": _BAD,
    }


def number(text: Column) -> Column:
    """The finite number that a text says; null where it says none. Java's own 1d, 0x1p3 are no numbers."""
    value = F.when(text.rlike(_NUMBER), text.try_cast("double"))
    return F.when(F.abs(value) < float("inf"), value)


def whole_number(text: Column) -> Column:
    """The number, cut toward zero, where it fits 64 bits."""
    value = number(text)
    return F.when(F.abs(value) < 2.0**63, value.cast("bigint"))


def truth(text: Column) -> Column:
    """true, false, 1 and 0, in any case; null for anything else."""
    plain = F.lower(F.trim(text))
    return F.when(plain.isin("true", "1"), True).when(plain.isin("false", "0"), False)


def _sound(name: str) -> Column:
    """What from_json made of a text, null where that was broken: it has the fields before the break then.

    By name, because an expression used twice would be computed twice.
    """
    return F.when(F.col(f"{name}.{_BAD}").isNull(), F.col(name))


def _unfit(limits: Limits) -> Column:
    """Why a value is not even looked at as JSON; null where it is."""
    value = F.col("value")
    return (
        F.when(value.isNull() | (F.length(value) == 0), "empty")
        .when(F.length(value) > limits.max_bytes, "too_large")
        .when(~F.is_valid_utf8(value.cast("string")), "not_utf8")
    )


def _reason() -> Column:
    """Why a message goes to quarantine; null where it doesn't."""
    start = F.substring(F.ltrim(F.col("text"), F.lit(BLANKS)), 1, 1)
    unreadable = F.col("m").isNull() | F.col(f"m.{_BAD}").isNotNull()
    return F.coalesce(
        F.col("unfit"),
        F.when(unreadable, F.when(start.isin(*OTHER_JSON), "not_object").otherwise("not_json")),
    )


def _columns(
    named: DataFrame, limits: Limits, topic_ids: Mapping[str, str], ingest_time: datetime, options: dict[str, str]
) -> DataFrame:
    fine = F.col("reason").isNull()
    key = F.col("key").cast("string")
    key_text = F.when(F.is_valid_utf8(key), key)
    ahead = timedelta(seconds=limits.max_ahead_s)
    kafka_us = F.unix_micros("timestamp")
    usable = kafka_us.between(EPOCH_2000_US, constant(_us(ingest_time + ahead), "bigint"))
    timed = named.select(
        "*",
        _table().alias("table"),
        F.when(usable, kafka_us).otherwise(constant(_us(ingest_time), "bigint")).alias("kafka_us"),
        F.when(fine, message_time_us(F.col("time"), number)).alias("told_us"),
        key_text.alias("key_text"),
    )
    accepted = (F.col("told_us") >= EPOCH_2000_US) & (
        F.col("told_us") <= F.col("kafka_us") + round(limits.max_ahead_s * 1e6)
    )
    event_us = F.when(accepted, F.col("told_us").cast("bigint")).otherwise(F.col("kafka_us"))
    in_context = (F.col("table") == "actions") & F.col("result").isNull() & F.col("context").isNotNull()
    in_data = (F.col("table") == "learning") & F.col("data").isNotNull()
    dated = timed.select(
        "*",
        F.timestamp_micros(event_us).alias("event_time"),
        F.coalesce(accepted, F.lit(False)).alias("accepted"),
        F.when(in_context, F.from_json("context", _RESULT_SCHEMA, options)).alias("in_context"),
        F.when(in_data, F.from_json("data", _REPORT_SCHEMA, options)).alias("in_data"),
    )
    made = {
        **_origin(topic_ids, ingest_time),
        **_own(options),
        "payload": F.when(fine, F.col("text")),
        "raw": F.when(~fine, F.col("value")),
    }
    names = ["table", *dict.fromkeys(c.name for t in MESSAGE_TABLES.values() for c in t.columns)]
    return dated.select(*(made.get(name, F.col(name)).alias(name) for name in names))


def _us(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6)


def _table() -> Column:
    topic = F.col("topic")
    started = (topic == ACTIONS) & (F.col("type") == ACTION_STARTED)
    chosen = F.when(F.col("reason").isNotNull(), "quarantine").when(started, "events")
    for name, table in tables_by_topic().items():
        chosen = chosen.when(topic == name, table)
    return chosen.otherwise("events")


def _origin(topic_ids: Mapping[str, str], ingest_time: datetime) -> dict[str, Column]:
    told = F.col("told_us").isNotNull()
    fine = F.col("reason").isNull()  # a broken message may have fields, those before the break
    named, container, hostname = (
        F.when(fine & (F.col(name) != ""), F.col(name)) for name in ("agent_id", "container", "hostname")
    )
    return {
        "agent_id": F.coalesce(named, F.nullif("key_text", F.lit("")), container, hostname, F.lit("unknown")),
        "session_id": F.when(fine & (F.col("session_id") != ""), F.col("session_id")),
        "event_id": F.when(fine & (F.col("event_id") != ""), F.col("event_id")),
        "kafka_topic_id": _lookup(F.col("topic"), topic_ids),
        "kafka_partition": F.col("partition"),
        "kafka_offset": F.col("offset"),
        "kafka_topic": F.col("topic"),
        "kafka_timestamp": F.col("timestamp"),
        "kafka_key": F.when(F.col("key").isNotNull(), F.coalesce("key_text", _base64(F.col("key")))),
        "kafka_headers": _headers(),
        "time_source": F.when(F.col("accepted"), "message").when(told, "clamped").otherwise("kafka"),
        "ingest_time": F.timestamp_micros(constant(_us(ingest_time), "bigint")),
        "event_date": F.to_date("event_time"),
    }


def _lookup(key: Column, values: Mapping[str, str]) -> Column:
    found = F.lit(None).cast("string")
    for name, value in sorted(values.items()):
        found = F.when(key == name, value).otherwise(found)
    return found


def _headers() -> Column:
    def readable(header: Column) -> Column:
        text = header["value"].cast("string")
        valid = F.is_valid_utf8(text)
        return F.struct(
            header["key"].alias("key"),
            F.when(valid, text).alias("value"),
            F.when(~valid, _base64(header["value"])).alias("base64"),
        )

    return F.when(F.size("headers") > 0, F.to_json(F.transform("headers", readable)))


def _base64(value: Column) -> Column:
    """In one line: Spark breaks it after 76 characters."""
    return F.translate(F.base64(value), "\r\n", "")


def _own(options: dict[str, str]) -> dict[str, Column]:
    is_action, is_learning = F.col("table") == "actions", F.col("table") == "learning"
    reward = number(F.col("reward"))
    progress = {name: F.coalesce(_sound("in_data")[name], F.col(name)) for name in REPORT}
    return {
        "tool": F.when(is_action | is_learning, F.coalesce("tool", "name")),
        "success": F.coalesce(truth(F.col("success")), reward > 0),
        "reward": reward,
        "result": F.coalesce(F.col("result"), _sound("in_context")["result"]),
        **{name: number(F.col(name)) for name in ("duration_ms", "cost_usd", "confidence")},
        **{
            name: whole_number(F.col(name))
            for name in ("input_tokens", "output_tokens", "action_count", "thought_count")
        },
        "total_events": whole_number(progress["total_events"]),
        **{name: number(progress[name]) for name in ("success_rate", "avg_reward")},
        "learning_trend": progress["learning_trend"],
        "metrics": F.when(F.col("table") == "metrics", _metrics(options)),
        "error": F.when(F.col("reason").isNull(), F.col("error")).otherwise(_lookup(F.col("reason"), ERRORS)),
    }


def _metrics(options: dict[str, str]) -> Column:
    """The numbers of the metrics object; of a message without one, the message's own."""

    def numbers(text: Column, without: tuple[str, ...] = ()) -> Column:
        entries = F.map_entries(F.from_json(text, "map<string,string>", options))
        # from_json leaves repeated names in its map; putting it together anew lets the last one win.
        told = F.transform_values(F.map_from_entries(entries), lambda _, value: number(value))
        return F.map_filter(told, lambda name, value: value.isNotNull() & ~name.isin(*without))

    candidates = (numbers(F.col("metrics")), numbers(F.col("event"), NO_METRICS), numbers(F.col("text"), NO_METRICS))
    return F.coalesce(*candidates, F.expr("map()").cast("map<string,double>"))
