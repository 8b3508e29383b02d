"""Additive partial figures of one batch: per window, agent and tool, and per session.

Nothing is merged with what is stored: readers add up, so a late row is just one more partial.
"""

from __future__ import annotations

import math

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from agentmon.contracts.measures import HISTOGRAM_GAMMA, RECENT_REWARDS, SESSION_SILENCE_S, ZERO_BUCKET
from agentmon.contracts.tables import SESSIONS, SUMMARIES
from agentmon.stream.batch import Batch, constant

_COUNTS = {
    "actions": "actions",
    "thoughts": "thoughts",
    "learning": "learning",
    "metrics": "metrics",
    "other": "events",
    "quarantined": "quarantine",
}
_FIGURES = (
    "known", "successes", "errors", "action_reward_count", "action_reward_sum", "learning_reward_count",
    "learning_reward_sum", "duration_sum_ms", "input_tokens", "output_tokens",
)  # fmt: skip
_SUMS = (*_COUNTS, *_FIGURES, "cost_usd")
_GROUP = ("window_us", "agent_id", "tool")
#: Metrics whose newest value is kept, as last_<name>.
_LAST = ("memory_bytes", "cpu_percent")


def summaries(rows: DataFrame, batch: Batch, window_s: float) -> DataFrame:
    """Parsed rows → rows of the table summaries.

    First numbers per (group, histogram bucket), which Spark can keep in a hash table, and the newest
    rewards per group, which it can't (they would make it sort all rows); then both per group.
    """
    keyed = rows.select(
        "table", "agent_id", "success", "reward", "duration_ms", "input_tokens", "output_tokens", "cost_usd",
        "event_time", "kafka_partition", "kafka_offset",
        _window_us(window_s).alias("window_us"),
        F.when(_in("actions") | _in("learning"), F.col("tool")).alias("tool"),
        F.when(_in("actions"), bucket_of(F.col("duration_ms"))).alias("bucket"),
        (_in("actions") & _has_error()).alias("failed"),
        *(F.when(_in("metrics"), F.try_element_at("metrics", F.lit(name))).alias(name) for name in _LAST),
    )  # fmt: skip
    merged = _numbers(keyed).unionByName(_recent_rewards(keyed), allowMissingColumns=True)
    counted = F.when(F.col("bucket").isNotNull(), F.col("actions"))
    per_group = merged.groupBy(*_GROUP).agg(
        *(F.sum(name).alias(name) for name in _SUMS),
        *(F.min(name).alias(name) for name in ("first_event_time", "action_reward_min", "learning_reward_min")),
        *(F.max(name).alias(name) for name in ("last_event_time", "action_reward_max", "learning_reward_max")),
        F.sum(counted).alias("duration_count"),
        F.map_from_entries(F.collect_list(F.when(counted.isNotNull(), F.struct("bucket", counted)))).alias(
            "duration_buckets"
        ),
        *(_newest(name).alias(name) for name in ("recent_action_rewards", "recent_learning_rewards")),
        *(F.max(F.when(F.col(f"{name}_at").isNotNull(), F.struct(f"{name}_at", name))).alias(name) for name in _LAST),
    )
    start = F.timestamp_micros("window_us")
    return per_group.withColumns(
        {
            **{name: F.coalesce(F.col(name), F.lit(0)) for name in (*_COUNTS, *_FIGURES, "duration_count")},
            **{f"last_{name}": _last(name) for name in _LAST},
            "window_start": start,
            "window_end": F.timestamp_micros(F.col("window_us") + round(window_s * 1e6)),
            "event_date": F.to_date(start),
            **_batch_columns(batch),
        }
    ).select(*_typed(SUMMARIES))


def _numbers(keyed: DataFrame) -> DataFrame:
    action = _in("actions")
    return keyed.groupBy(*_GROUP, "bucket").agg(
        *(_count(_in(table)).alias(name) for name, table in _COUNTS.items()),
        _count(action & F.col("success").isNotNull()).alias("known"),
        _count(action & F.col("success")).alias("successes"),
        _count(F.col("failed")).alias("errors"),
        *_reward_figures("action_reward", action),
        *_reward_figures("learning_reward", _in("learning")),
        F.sum(F.when(action, F.col("duration_ms"))).alias("duration_sum_ms"),
        *(F.sum(F.when(action, F.col(name))).alias(name) for name in ("input_tokens", "output_tokens", "cost_usd")),
        F.min("event_time").alias("first_event_time"),
        F.max("event_time").alias("last_event_time"),
        *(F.max_by(name, F.when(F.col(name).isNotNull(), F.col("event_time"))).alias(name) for name in _LAST),
        *(F.max(F.when(F.col(name).isNotNull(), F.col("event_time"))).alias(f"{name}_at") for name in _LAST),
    )


def _recent_rewards(keyed: DataFrame) -> DataFrame:
    """The newest rewards of each group, in any order."""
    order = F.struct("event_time", "kafka_partition", "kafka_offset")
    value = F.struct("reward", "event_time", "kafka_partition", "kafka_offset")
    rewarded = keyed.where((_in("actions") | _in("learning")) & F.col("reward").isNotNull())
    newest = rewarded.groupBy(*_GROUP, _in("actions").alias("acted")).agg(
        F.max_by(value, order, RECENT_REWARDS).alias("newest")
    )
    return newest.select(
        *_GROUP,
        F.when(F.col("acted"), F.col("newest")).alias("recent_action_rewards"),
        F.when(~F.col("acted"), F.col("newest")).alias("recent_learning_rewards"),
    )


def sessions(rows: DataFrame, batch: Batch, window_s: float) -> DataFrame:
    """Parsed rows → rows of the table sessions.

    Rows without a session_id are kept apart by time, so that no partial spans a silence that ends a session.
    """
    step = min(window_s, SESSION_SILENCE_S / 2)
    apart = F.when(F.col("session_id").isNull(), _window_us(step))
    ended = _in("learning") & F.col("session_id").isNotNull() & F.col("reward").isNotNull()
    partials = (
        rows.where(F.col("table").isin("actions", "thoughts", "learning", "metrics", "events"))
        .withColumn("apart", apart)
        .groupBy("agent_id", "session_id", "apart")
        .agg(
            F.min("event_time").alias("first_event_time"),
            F.max("event_time").alias("last_event_time"),
            _count(_in("actions")).alias("actions"),
            _count(_in("thoughts")).alias("thoughts"),
            _count(_in("actions") & _has_error()).alias("errors"),
            F.coalesce(F.sum(F.when(_in("actions"), F.col("reward"))), F.lit(0.0)).alias("action_reward_sum"),
            F.count(F.when(_in("learning"), F.col("reward"))).alias("learning_reward_count"),
            F.coalesce(F.sum(F.when(_in("learning"), F.col("reward"))), F.lit(0.0)).alias("learning_reward_sum"),
            F.min(F.when(ended, F.col("event_time"))).alias("ended_at"),
        )
    )
    return partials.withColumns({"event_date": F.to_date("first_event_time"), **_batch_columns(batch)}).select(
        *_typed(SESSIONS)
    )


def bucket_of(value: Column) -> Column:
    """contracts.measures.bucket_of as a column."""
    return F.when(value > 0, F.ceil(F.log(value) / F.lit(math.log(HISTOGRAM_GAMMA))).cast("int")).when(
        value.isNotNull(), F.lit(ZERO_BUCKET)
    )


def _in(table: str) -> Column:
    return F.col("table") == table


def _window_us(length_s: float) -> Column:
    """Start of the window that a row falls into, microseconds since 1970."""
    us = F.unix_micros("event_time")
    return us - F.pmod(us, F.lit(round(length_s * 1e6)))


def _has_error() -> Column:
    return F.col("error").isNotNull() & (F.col("error") != "")


def _count(condition: Column) -> Column:
    return F.count(F.when(condition, F.lit(1)))


def _reward_figures(name: str, which: Column) -> list[Column]:
    reward = F.when(which, F.col("reward"))
    figures = {"count": F.count(reward), "sum": F.sum(reward), "min": F.min(reward), "max": F.max(reward)}
    return [column.alias(f"{name}_{figure}") for figure, column in figures.items()]


def _newest(name: str) -> Column:
    """The newest rewards of all of a group's lists, oldest first."""
    together = F.flatten(F.collect_list(name))
    ordered = F.sort_array(
        F.transform(together, lambda r: F.struct(r.event_time, r.kafka_partition, r.kafka_offset, r.reward)), asc=False
    )
    newest = F.reverse(F.slice(ordered, 1, RECENT_REWARDS))
    return F.transform(
        newest, lambda r: F.struct(r.reward.alias("reward"), r.event_time, r.kafka_partition, r.kafka_offset)
    )


def _last(name: str) -> Column:
    newest = F.col(name)
    return F.when(newest.isNotNull(), F.struct(newest[name].alias("value"), newest[f"{name}_at"].alias("event_time")))


def _batch_columns(batch: Batch) -> dict[str, Column]:
    return {"query_id": F.lit(batch.query_id), "batch_id": constant(batch.batch_id, "bigint")}


def _typed(table: object) -> list[Column]:
    return [F.col(c.name).cast(c.type).alias(c.name) for c in table.columns]  # type: ignore[attr-defined]
