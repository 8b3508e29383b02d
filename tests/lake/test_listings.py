"""actions, thoughts, learning, metrics, sessions, tools, history."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.lake.conftest import MakeLake
from tests.lake.rows import at, message, sealed, session, summary

from agentmon.contracts.measures import HISTOGRAM_ACCURACY, SELFTEST_AGENT, bucket_of
from agentmon.errors import UsageError
from agentmon.lake import listings
from agentmon.lake.history import read_history, readable_width
from agentmon.lake.listings import read_rows
from agentmon.lake.run import read_run
from agentmon.lake.selection import Rows, Selection
from agentmon.lake.sessions import read_sessions
from agentmon.lake.tools import read_tools

DAY = 24 * 60


@pytest.fixture(scope="module")
def lake(make_lake: MakeLake) -> str:
    return make_lake(
        actions=[
            *(message(day * DAY, offset=day, session_id="s", tool=f"day {day}") for day in range(5)),
            message(0, offset=9, session_id="s", tool="same moment"),
            message(1, offset=10, agent_id="b", tool="one"),
            message(5, offset=11, agent_id="b", tool="two"),
            message(60, offset=12, agent_id="b", tool="three"),
        ],
        sessions=[
            session(0, 10, learning_reward_count=1, learning_reward_sum=0.5, ended_at=at(10)),
            session(10, 20, batch=2, errors=1),
            session(100, 110, session_id="running"),
            session(1, 5, agent_id="b", session_id=None),
            session(60, 60, agent_id="b", session_id=None),
            session(0, 900, session_id="half", batch=3),
        ],
        summaries=[
            summary(
                0, tool="x", actions=2, known=2, successes=1, errors=1, action_reward_count=2, action_reward_sum=8.0,
                input_tokens=5, output_tokens=7, cost_usd=0.5, duration_count=2, duration_buckets={bucket_of(50.0): 2},
            ),
            summary(
                9, tool="y", actions=2, known=2, successes=2,
                learning=1, learning_reward_count=1, learning_reward_sum=1.0,
            ),
            summary(30, agent_id="b", tool="x", actions=1, action_reward_count=1, action_reward_sum=3.0),
            summary(30, agent_id=SELFTEST_AGENT, tool="probe", actions=1),
            summary(40, batch=3, tool="half", actions=1000),
        ],
        ledger=[sealed(1), sealed(2)],
    )  # fmt: skip


def column(rows: Rows, name: str) -> list[Any]:
    return [row[name] for row in rows.dicts()]


def test_rows_come_newest_first_across_days(lake: str) -> None:
    tools = column(read_rows(lake, "actions", Selection(agent="a")), "tool")
    assert tools == ["day 4", "day 3", "day 2", "day 1", "same moment", "day 0"]


def test_a_limit_that_leaves_rows_out_says_so(lake: str) -> None:
    rows = read_rows(lake, "actions", Selection(agent="a", limit=4))
    assert len(rows.dicts()) == 4
    assert rows.cut
    whole = read_rows(lake, "actions", Selection(agent="a", limit=6))
    assert len(whole.dicts()) == 6
    assert not whole.cut


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize(
    "wanted", [Selection(), Selection(agent="b"), Selection(since=at(1), until=at(DAY)), Selection(limit=7)]
)
def test_a_large_listing_is_sorted_in_parts(
    lake: str, monkeypatch: pytest.MonkeyPatch, wanted: Selection, rows: int
) -> None:
    whole = read_rows(lake, "actions", wanted).dicts()
    assert len(whole) > 2
    monkeypatch.setattr(listings, "_SORTED", rows)
    assert read_rows(lake, "actions", wanted).dicts() == whole


def test_since_is_inclusive_and_until_exclusive(lake: str) -> None:
    rows = read_rows(lake, "actions", Selection(since=at(DAY), until=at(3 * DAY)))
    assert column(rows, "tool") == ["day 2", "day 1"]


def test_a_session_by_its_id(lake: str) -> None:
    assert len(read_rows(lake, "actions", Selection(session="s")).dicts()) == 6


def test_a_session_without_an_id_by_its_start(lake: str) -> None:
    rows = read_rows(lake, "actions", Selection(session=f"b@{int(at(1).timestamp())}"))
    assert column(rows, "tool") == ["two", "one"]


NAMED = f"a@{int(at(0).timestamp())}"
MULTI = "of\ntwo lines"


@pytest.fixture(scope="module")
def like_named(make_lake: MakeLake) -> str:
    """Agent a has a session without an id, which is shown as NAMED; b has one that is called so, as c has, with both."""
    start = int(at(0).timestamp())
    mine = {"b": NAMED, "c": f"c@{start}"}
    return make_lake(
        actions=[
            *(message(0, agent_id=who, session_id=None, tool=f"{who[0]}, no id") for who in ("a", "c", MULTI)),
            *(message(300, agent_id=who, session_id=name, tool=f"{who}, id") for who, name in mine.items()),
        ],
        sessions=[
            *(session(0, 0, agent_id=who, session_id=None, actions=1) for who in ("a", "c", MULTI)),
            *(session(300, 300, agent_id=who, session_id=name, actions=1) for who, name in mine.items()),
        ],
        ledger=[sealed(1)],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "agent", "tools"),
    [
        (NAMED, "a", ["a, no id"]),
        (NAMED, "b", ["b, id"]),
        (NAMED.replace("a", "c"), "c", ["c, id"]),
        (NAMED.replace("a", MULTI), MULTI, ["o, no id"]),
    ],
)
def test_a_session_that_is_called_as_one_without_an_id(
    like_named: str, name: str, agent: str, tools: list[str]
) -> None:
    assert column(read_rows(like_named, "actions", Selection(agent=agent, session=name)), "tool") == tools
    run = read_run(like_named, name, agent)
    assert [step["tool"] for step in run.steps] == tools


def test_of_sessions_of_one_name_the_agent_is_asked_for(like_named: str) -> None:
    with pytest.raises(UsageError, match=r"--agent \(a, b\)"):
        read_run(like_named, NAMED)


@pytest.mark.parametrize("table", ["actions", "thoughts", "learning", "metrics"])
def test_an_empty_table_is_an_empty_result(empty_lake: str, table: str) -> None:
    rows = read_rows(empty_lake, table, Selection(limit=20))
    assert "event_time" in rows.columns
    assert rows.dicts() == []
    assert not rows.cut


def test_sessions_add_up_their_partials(lake: str) -> None:
    one = next(s for s in read_sessions(lake, Selection(session="s")).dicts())
    assert (one["first_event_time"], one["last_event_time"], one["duration_s"]) == (at(0), at(20), 1200)
    assert (one["actions"], one["errors"], one["reward"], one["outcome"]) == (2, 1, 0.5, "success")
    assert (one["in_progress"], one["ended_at"]) == (False, at(10))


def test_a_session_is_in_progress_until_30_minutes_of_silence(lake: str) -> None:
    wanted = Selection(session="running")
    (before,) = read_sessions(lake, wanted, now=at(139)).dicts()
    (after,) = read_sessions(lake, wanted, now=at(141)).dicts()
    assert (before["in_progress"], before["ended_at"]) == (True, None)
    assert (after["in_progress"], after["ended_at"]) == (False, at(110))


def test_sessions_without_an_id_are_named_by_their_start(lake: str) -> None:
    found = read_sessions(lake, Selection(agent="b"))
    assert column(found, "session_id") == [f"b@{int(at(60).timestamp())}", f"b@{int(at(1).timestamp())}"]


def test_sessions_of_half_a_batch_are_left_out(lake: str) -> None:
    assert "half" not in column(read_sessions(lake, Selection()), "session_id")


def test_tools_count_actions_the_most_used_first(lake: str) -> None:
    found = read_tools(lake, Selection()).dicts()
    assert [(t["tool"], t["count"]) for t in found] == [("x", 3), ("y", 2)]
    assert found[0]["success_rate"] == 0.5


def test_the_selftest_shows_when_asked_for(lake: str) -> None:
    assert column(read_tools(lake, Selection(agent=SELFTEST_AGENT)), "tool") == ["probe"]


def test_history_buckets_add_up(lake: str) -> None:
    first, second = read_history(lake, Selection(), timedelta(minutes=10)).rows.dicts()
    assert (first["bucket_start"], first["actions"], first["errors"]) == (at(0), 4, 1)
    assert (first["success_rate"], first["input_tokens"], first["output_tokens"], first["cost_usd"]) == (
        0.75,
        5,
        7,
        0.5,
    )
    assert first["p50_ms"] == pytest.approx(50, rel=HISTOGRAM_ACCURACY)
    assert (second["bucket_start"], second["actions"], second["p95_ms"]) == (at(30), 1, None)


def test_counts_of_tokens_beyond_a_bigint_stand_at_its_ends(make_lake: MakeLake) -> None:
    most, least = 2**63 - 1, -(2**63)
    rows = [summary(batch=batch, input_tokens=most, output_tokens=least) for batch in (1, 2)]
    lake = make_lake(summaries=rows, ledger=[sealed(1), sealed(2)])
    (found,) = read_history(lake, Selection(), timedelta(days=1)).rows.dicts()
    assert (found["input_tokens"], found["output_tokens"]) == (most, least)


def test_history_has_one_kind_of_reward_in_all_buckets(lake: str) -> None:
    assert column(read_history(lake, Selection(), timedelta(minutes=10)).rows, "avg_reward") == [1.0, None]
    assert column(read_history(lake, Selection(agent="b"), timedelta(minutes=10)).rows, "avg_reward") == [3.0]


def test_history_of_a_time(lake: str) -> None:
    assert len(read_history(lake, Selection(since=at(20)), timedelta(minutes=10)).rows.dicts()) == 1
    assert read_history(lake, Selection(since=at(5 * DAY))).rows.dicts() == []


def test_a_width_that_a_person_can_read_is_chosen() -> None:
    assert readable_width(at(0), at(30)) == timedelta(minutes=1)
    assert readable_width(at(0), at(DAY)) == timedelta(minutes=30)
    assert readable_width(None, None) == timedelta(minutes=1)
