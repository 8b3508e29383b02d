"""Partial figures of a batch: exact, additive, and apart where a session's silence could lie between."""

from __future__ import annotations

from pyspark.sql import SparkSession
from tests.builders import T0, at, parsed, row

from agentmon.contracts.measures import bucket_of
from agentmon.contracts.tables import SESSIONS, SUMMARIES
from agentmon.stream.batch import Batch
from agentmon.stream.summarise import sessions, summaries

BATCH = Batch("query", 7, (), T0, "cluster")


def test_summaries_count_each_kind_per_window_agent_and_tool(spark: SparkSession) -> None:
    rows = parsed(
        spark,
        row(tool="grep", success=True, reward=1.0, duration_ms=10.0, offset=1),
        row(tool="grep", success=False, reward=-1.0, duration_ms=10.0, error="no", seconds=1, offset=2),
        row(tool="grep", success=None, error="", seconds=61, offset=3),
        row("thoughts", seconds=2),
        row("learning", reward=0.5, seconds=3),
        row("metrics", metrics={"memory_bytes": 5.0}, seconds=4),
        row("quarantine"),
        row("events"),
    )
    found = {(r.window_start.replace(tzinfo=None), r.tool): r for r in summaries(rows, BATCH, 60).collect()}
    first = found[T0.replace(tzinfo=None), "grep"]
    assert (first.actions, first.known, first.successes, first.errors) == (2, 2, 1, 1)
    assert (first.action_reward_count, first.action_reward_sum, first.action_reward_min, first.action_reward_max) == (
        2,
        0.0,
        -1.0,
        1.0,
    )
    assert first.duration_buckets == {bucket_of(10.0): 2}
    assert (first.duration_count, first.duration_sum_ms) == (2, 20.0)
    assert [r.reward for r in first.recent_action_rewards] == [1.0, -1.0]
    assert (first.query_id, first.batch_id) == ("query", 7)
    second = found[at(60).replace(tzinfo=None), "grep"]
    assert (second.actions, second.known, second.errors, second.duration_count) == (1, 0, 0, 0)
    rest = found[T0.replace(tzinfo=None), None]
    assert (rest.thoughts, rest.learning, rest.metrics, rest.quarantined, rest.other, rest.actions) == (
        1,
        1,
        1,
        1,
        1,
        0,
    )
    assert rest.learning_reward_sum == 0.5
    assert rest.last_memory_bytes.value == 5.0
    assert summaries(rows, BATCH, 60).columns == SUMMARIES.column_names


def test_durations_of_zero_and_less_have_a_bucket_of_their_own(spark: SparkSession) -> None:
    rows = parsed(spark, *(row(duration_ms=ms, offset=i) for i, ms in enumerate([0.0, -5.0, 1e-9, 1.0, 1500.0, 1e12])))
    (found,) = summaries(rows, BATCH, 60).collect()
    expected: dict[int, int] = {}
    for ms in [0.0, -5.0, 1e-9, 1.0, 1500.0, 1e12]:
        expected[bucket_of(ms)] = expected.get(bucket_of(ms), 0) + 1
    assert found.duration_buckets == expected


def test_the_newest_twenty_rewards_are_kept_oldest_first(spark: SparkSession) -> None:
    rows = parsed(spark, *(row(reward=float(i), seconds=i / 10, offset=i, duration_ms=float(i)) for i in range(50)))
    (found,) = summaries(rows, BATCH, 60).collect()
    assert [r.reward for r in found.recent_action_rewards] == [float(i) for i in range(30, 50)]


def test_sessions_add_up_and_know_their_end(spark: SparkSession) -> None:
    rows = parsed(
        spark,
        row(reward=0.5),
        row("thoughts", seconds=5),
        row("learning", reward=1.0, seconds=9),
        row("quarantine", session_id=None),
    )
    (found,) = sessions(rows, BATCH, 60).collect()
    assert (found.actions, found.thoughts, found.action_reward_sum, found.learning_reward_count) == (1, 1, 0.5, 1)
    assert found.ended_at.replace(tzinfo=None) == at(9).replace(tzinfo=None)
    assert sessions(rows, BATCH, 60).columns == SESSIONS.column_names


def test_rows_without_a_session_never_span_a_silence(spark: SparkSession) -> None:
    rows = parsed(spark, row(session_id=None), row(session_id=None, seconds=3600), row(session_id=None, seconds=3601))
    found = sessions(rows, BATCH, 60).collect()
    assert sorted((r.last_event_time - r.first_event_time).total_seconds() for r in found) == [0.0, 1.0]
