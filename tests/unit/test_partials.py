"""Partial figures of a batch: exact, additive, and apart where a session's silence could lie between."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.builders import T0, at, parsed, row

from agentmon.contracts.measures import bucket_of
from agentmon.contracts.tables import SESSIONS, SUMMARIES
from agentmon.lake.partials import COUNTED, Partials
from agentmon.stream.parsed import side_by_side

#: The columns that name the batch; the store fills them in.
BATCH = {"query_id", "batch_id"}


def summaries(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    return Partials(60).summaries(side_by_side(parsed(*rows), COUNTED)).to_pylist(maps_as_pydicts="strict")


def sessions(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    return Partials(60).sessions(side_by_side(parsed(*rows), COUNTED)).to_pylist()


def test_summaries_count_each_kind_per_window_agent_and_tool() -> None:
    rows = (
        row(tool="grep", success=True, reward=1.0, duration_ms=10.0, offset=1),
        row(tool="grep", success=False, reward=-1.0, duration_ms=10.0, error="no", seconds=1, offset=2),
        row(tool="grep", success=None, error="", seconds=61, offset=3),
        row("thoughts", seconds=2),
        row("learning", reward=0.5, seconds=3),
        row("metrics", metrics={"memory_bytes": 5.0}, seconds=4),
        row("quarantine"),
        row("events"),
    )
    found = {(r["window_start"], r["tool"]): SimpleNamespace(**r) for r in summaries(*rows)}
    first = found[T0, "grep"]
    assert (first.actions, first.known, first.successes, first.errors) == (2, 2, 1, 1)
    assert (first.action_reward_count, first.action_reward_sum, first.action_reward_min, first.action_reward_max) == (
        2,
        0.0,
        -1.0,
        1.0,
    )
    assert first.duration_buckets == {bucket_of(10.0): 2}
    assert (first.duration_count, first.duration_sum_ms) == (2, 20.0)
    assert [r["reward"] for r in first.recent_action_rewards] == [1.0, -1.0]
    second = found[at(60), "grep"]
    assert (second.actions, second.known, second.errors, second.duration_count) == (1, 0, 0, 0)
    rest = found[T0, None]
    assert (rest.thoughts, rest.learning, rest.metrics, rest.quarantined, rest.other, rest.actions) == (
        1,
        1,
        1,
        1,
        1,
        0,
    )
    assert rest.learning_reward_sum == 0.5
    assert rest.last_memory_bytes["value"] == 5.0
    assert set(SUMMARIES.column_names) - BATCH == set(found[T0, None].__dict__)


def test_durations_of_zero_and_less_have_a_bucket_of_their_own() -> None:
    (found,) = summaries(*(row(duration_ms=ms, offset=i) for i, ms in enumerate([0.0, -5.0, 1e-9, 1.0, 1500.0, 1e12])))
    expected: dict[int, int] = {}
    for ms in [0.0, -5.0, 1e-9, 1.0, 1500.0, 1e12]:
        expected[bucket_of(ms)] = expected.get(bucket_of(ms), 0) + 1
    assert found["duration_buckets"] == expected


def test_the_newest_twenty_rewards_are_kept_oldest_first() -> None:
    (found,) = summaries(*(row(reward=float(i), seconds=i / 10, offset=i, duration_ms=float(i)) for i in range(50)))
    assert [r["reward"] for r in found["recent_action_rewards"]] == [float(i) for i in range(30, 50)]


def test_sessions_add_up_and_know_their_end() -> None:
    (found,) = sessions(
        row(reward=0.5),
        row("thoughts", seconds=5),
        row("learning", reward=1.0, seconds=9),
        row("quarantine", session_id=None),
    )
    figures = ("actions", "thoughts", "action_reward_sum", "learning_reward_count")
    assert [found[name] for name in figures] == [1, 1, 0.5, 1]
    assert found["ended_at"] == at(9)
    assert set(SESSIONS.column_names) - BATCH == set(found)


def test_rows_without_a_session_never_span_a_silence() -> None:
    found = sessions(row(session_id=None), row(session_id=None, seconds=3600), row(session_id=None, seconds=3601))
    assert sorted((r["last_event_time"] - r["first_event_time"]).total_seconds() for r in found) == [0.0, 1.0]


def test_hostile_numbers_add_up_to_something_that_can_be_stored() -> None:
    (found,) = summaries(
        *(
            row(input_tokens=2**63 - 1, output_tokens=-(2**63), duration_ms=1e308, reward=1e308, offset=n)
            for n in range(2)
        )
    )
    assert (found["input_tokens"], found["output_tokens"]) == (2**63 - 1, -(2**63))
    assert found["duration_sum_ms"] == found["action_reward_sum"] == float("inf")
