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


def summaries(rows: DataFrame, batch: Batch, window_s: float) -> DataFrame:
    """Parsed rows → rows of the table summaries.

    In two steps, because a histogram per group is a count per (group, bucket) gathered into a map.
    """
    keys = ["window_us", "agent_id", "tool"]
    bucket = F.when(_in("actions"), bucket_of(F.col("duration_ms")))
    fine = (
        rows.withColumns({"window_us": _window_us(window_s), "bucket": bucket})
        .groupBy(*keys, "bucket")
        .agg(
            *(_count(_in(table)).alias(name) for name, table in _COUNTS.items()),
            _count(_in("actions") & F.col("success").isNotNull()).alias("known"),
            _count(_in("actions") & F.col("success")).alias("successes"),
            _count(_in("actions") & _has_error()).alias("errors"),
            *_reward_figures("action_reward", _in("actions")),
            *_reward_figures("learning_reward", _in("learning")),
            F.sum(F.when(_in("actions"), F.col("duration_ms"))).alias("duration_sum_ms"),
            *(F.sum(F.when(_in("actions"), F.col(name))).alias(name) for name in ("input_tokens", "output_tokens", "cost_usd")),
            F.min("event_time").alias("first_event_time"),
            F.max("event_time").alias("last_event_time"),
            _recent(_in("actions")).alias("recent_action_rewards"),
            _recent(_in("learning")).alias("recent_learning_rewards"),
            *(_last_metric(name).alias(f"last_{name}") for name in ("memory_bytes", "cpu_percent")),
        )
    )
    sums = [
        *_COUNTS, "known", "successes", "errors", "action_reward_count", "action_reward_sum", "learning_reward_count",
        "learning_reward_sum", "duration_sum_ms", "input_tokens", "output_tokens", "cost_usd",
    ]  # fmt: skip
    in_bucket = F.when(F.col("bucket").isNotNull(), F.col("actions"))
    coarse = fine.groupBy(*keys).agg(
        *(F.sum(name).alias(name) for name in sums),
        *(F.min(name).alias(name) for name in ("first_event_time", "action_reward_min", "learning_reward_min")),
        *(F.max(name).alias(name) for name in ("last_event_time", "action_reward_max", "learning_reward_max")),
        F.sum(in_bucket).alias("duration_count"),
        F.map_from_entries(F.collect_list(F.when(in_bucket.isNotNull(), F.struct("bucket", in_bucket)))).alias("duration_buckets"),
        *(_newest(name).alias(name) for name in ("recent_action_rewards", "recent_learning_rewards")),
        *(F.max_by(name, F.col(f"{name}.event_time")).alias(name) for name in ("last_memory_bytes", "last_cpu_percent")),
    )
    start = F.timestamp_micros("window_us")
    filled = {name: F.coalesce(F.col(name), F.lit(0)) for name in ("duration_count", *sums) if name != "cost_usd"}
    return coarse.withColumns(
        {
            **filled,
            "window_start": start,
            "window_end": F.timestamp_micros(F.col("window_us") + round(window_s * 1e6)),
            "event_date": F.to_date(start),
            **_batch_columns(batch),
        }
    ).select(*_typed(SUMMARIES))


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
    return partials.withColumns({"event_date": F.to_date("first_event_time"), **_batch_columns(batch)}).select(*_typed(SESSIONS))


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


def _recent(which: Column) -> Column:
    """The newest rewards of a group, in any order; empty where there are none."""
    order = F.struct("event_time", "kafka_partition", "kafka_offset")
    value = F.struct("reward", "event_time", "kafka_partition", "kafka_offset")
    chosen = which & F.col("reward").isNotNull()
    return F.max_by(F.when(chosen, value), F.when(chosen, order), RECENT_REWARDS)


def _newest(name: str) -> Column:
    """The newest rewards of all of a group's lists, oldest first."""
    together = F.flatten(F.collect_list(name))
    ordered = F.sort_array(F.transform(together, lambda r: F.struct(r.event_time, r.kafka_partition, r.kafka_offset, r.reward)), asc=False)
    newest = F.reverse(F.slice(ordered, 1, RECENT_REWARDS))
    return F.transform(newest, lambda r: F.struct(r.reward.alias("reward"), r.event_time, r.kafka_partition, r.kafka_offset))


def _last_metric(name: str) -> Column:
    value = F.try_element_at("metrics", F.lit(name))
    return F.max_by(
        F.when(value.isNotNull(), F.struct(value.alias("value"), F.col("event_time").alias("event_time"))),
        F.when(value.isNotNull(), F.col("event_time")),
    )


def _batch_columns(batch: Batch) -> dict[str, Column]:
    return {"query_id": F.lit(batch.query_id), "batch_id": constant(batch.batch_id, "bigint")}


def _typed(table: object) -> list[Column]:
    return [F.col(c.name).cast(c.type).alias(c.name) for c in table.columns]  # type: ignore[attr-defined]
