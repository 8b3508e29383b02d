"""status: from summaries, sessions and the ledger, never from raw rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.lake.conftest import MakeLake
from tests.lake.rows import at, rewards, sealed, session, summary

from agentmon.contracts.measures import HISTOGRAM_ACCURACY, SELFTEST_AGENT, bucket_of, bucket_value
from agentmon.errors import Exit, NoLakeError
from agentmon.lake.history import read_history
from agentmon.lake.selection import Selection
from agentmon.lake.status import read_status


@pytest.fixture(scope="module")
def lake(make_lake: MakeLake) -> str:
    rising = [(0.1, m) for m in range(10)] + [(0.9, m) for m in range(10, 20)]
    return make_lake(
        summaries=[
            summary(
                tool="search", actions=3, known=2, successes=1, errors=1, action_reward_count=3, action_reward_sum=1.5,
                duration_count=3, duration_buckets={bucket_of(100.0): 2, bucket_of(900.0): 1},
                recent_action_rewards=rewards(*[(9.0, m) for m in range(3)]), last_memory_bytes=(1.0, at(0)),
            ),
            # Two partials whose rewards interleave; only in order of time do they rise.
            summary(
                thoughts=4, learning=10, learning_reward_count=10, learning_reward_sum=5.0,
                recent_learning_rewards=rewards(*rising[::2]), last_memory_bytes=(2.0, at(1)),
            ),
            summary(
                2, batch=2, learning=10, learning_reward_count=10, learning_reward_sum=5.0,
                recent_learning_rewards=rewards(*rising[1::2]), last_event_time=at(19),
            ),
            summary(
                batch=None, tool="search", actions=1, known=1, successes=1, duration_count=1,
                duration_buckets={bucket_of(100.0): 1},
            ),
            summary(agent_id="b", tool="book", actions=4, action_reward_count=4, action_reward_sum=1.0),
            summary(agent_id="b", tool="apply", actions=4, other=1, metrics=1),
            summary(agent_id="broken", quarantined=2),
            summary(agent_id=SELFTEST_AGENT, tool="probe", actions=7),
            summary(batch=3, tool="half", actions=1000, known=1000, successes=1000, last_event_time=at(500)),
        ],
        sessions=[
            session(0, 1),
            session(1, 2, batch=2),
            session(0, 9, session_id="t", batch=None),
            session(0, 1, agent_id="b", session_id=None),
            session(31, 40, agent_id="b", session_id=None, batch=2),  # 30 minutes: the same one
            session(71, 72, agent_id="b", session_id=None),  # 31 minutes: another
            session(0, 5, agent_id="b", session_id=None),
            session(0, 1, session_id="half", batch=3),
        ],
        ledger=[sealed(1), sealed(2, 3), sealed(1, 1, query_id="other")],
    )  # fmt: skip


@pytest.fixture(scope="module")
def status(lake: str) -> dict[str, Any]:
    return read_status(lake)


def test_events_are_the_sum_of_the_six_counts(status: dict[str, Any]) -> None:
    totals = status["totals"]
    assert [totals[n] for n in ("actions", "thoughts", "learning", "metrics", "other", "quarantined")] == [
        12,
        4,
        20,
        1,
        1,
        2,
    ]
    assert totals["events"] == 40


def test_half_a_batch_and_the_selftest_are_left_out(status: dict[str, Any]) -> None:
    assert [tool["tool"] for tool in status["tools"]] == ["apply", "book", "search"]
    assert status["freshness"]["last_event_time"] == at(19)
    assert SELFTEST_AGENT not in [agent["agent_id"] for agent in status["agents"]]


def test_an_agent_with_nothing_readable_is_not_listed(status: dict[str, Any]) -> None:
    assert [agent["agent_id"] for agent in status["agents"]] == ["a", "b"]


def test_rates_are_over_what_is_known_and_null_where_nothing_is(status: dict[str, Any]) -> None:
    a, b = status["agents"]
    assert a["success_rate"] == pytest.approx(2 / 3)
    assert a["error_rate"] == pytest.approx(1 / 4)
    assert b["success_rate"] is None
    assert b["error_rate"] == 0


def test_rewards_are_of_learning_where_there_are_any_else_of_actions(status: dict[str, Any]) -> None:
    a, b = status["agents"]
    assert a["avg_reward"] == pytest.approx(0.5)
    assert b["avg_reward"] == pytest.approx(0.25)
    assert status["totals"]["avg_reward"] == pytest.approx(0.5)
    search = status["tools"][2]
    assert (search["count"], search["avg_reward"]) == (4, pytest.approx(0.5))


def test_the_trend_is_in_order_of_time_across_partials(status: dict[str, Any]) -> None:
    assert [agent["learning_trend"] for agent in status["agents"]] == ["improving", "stable"]


def test_quantiles_come_from_the_merged_histogram(status: dict[str, Any]) -> None:
    a, b = status["agents"]
    assert a["p50_ms"] == pytest.approx(100, rel=HISTOGRAM_ACCURACY)
    assert (b["p50_ms"], b["p95_ms"]) == (None, None)


def test_quantiles_are_of_all_tools_in_rows_of_older_versions_too(make_lake: MakeLake) -> None:
    slow, fast = bucket_of(900.0), bucket_of(10.0)
    rows = [
        # Of two tools in one window; the first row has both tools' durations.
        summary(
            tool="book", actions=3, duration_buckets={fast: 3}, agent_duration_count=10, agent_duration_buckets={fast: 3, slow: 7}
        ),
        summary(tool="pay", actions=7, duration_buckets={slow: 7}, agent_duration_count=0, agent_duration_buckets={}),
        summary(tool="pay", actions=10, duration_buckets={fast: 10}),  # an older version's
    ]  # fmt: skip
    lake = make_lake(summaries=rows, ledger=[sealed(1)])
    found = read_status(lake)["agents"][0]
    assert (found["p50_ms"], found["p95_ms"]) == (bucket_value(fast), bucket_value(slow))
    buckets = read_history(lake, Selection()).rows.dicts()
    assert [(one["p50_ms"], one["p95_ms"]) for one in buckets] == [(bucket_value(fast), bucket_value(slow))]


def test_sessions_without_an_id_end_after_30_minutes_of_silence(status: dict[str, Any]) -> None:
    assert [agent["sessions"] for agent in status["agents"]] == [2, 2]


def test_memory_is_the_newest_and_cpu_null_where_never_published(status: dict[str, Any]) -> None:
    assert (status["agents"][0]["memory_bytes"], status["agents"][0]["cpu_percent"]) == (2.0, None)


def test_freshness_is_the_newest_seal(status: dict[str, Any]) -> None:
    assert status["freshness"]["last_commit_time"] == at(3)


def test_raw_rows_are_not_read(lake: str, tmp_path: Path) -> None:
    copy = tmp_path / "lake"
    shutil.copytree(lake, copy)
    for table in ("actions", "thoughts", "learning", "metrics", "events", "quarantine"):
        shutil.rmtree(copy / table)
    assert read_status(str(copy))["totals"]["events"] == 40


def test_an_empty_lake_has_zeros_and_nulls(empty_lake: str) -> None:
    status = read_status(empty_lake)
    assert status["totals"]["events"] == 0
    assert status["totals"]["success_rate"] is None
    assert (status["agents"], status["tools"]) == ([], [])
    assert status["freshness"] == {"last_event_time": None, "last_commit_time": None}
    json.dumps(status, default=str, allow_nan=False)


def test_no_lake_is_exit_code_4_and_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoLakeError, match="agentmon up") as raised:
        read_status(str(tmp_path / "nothing"))
    assert raised.value.exit_code is Exit.NO_LAKE
    assert "\n" not in str(raised.value)
