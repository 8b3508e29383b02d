"""What `agentmon watch` knows and draws, whatever arrives: without Kafka and without a terminal."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentmon.contracts.measures import RECENT_REWARDS
from agentmon.contracts.message import Limits, read
from agentmon.contracts.running import MAX_NAMES, OTHER
from agentmon.live.rows import figure_of
from agentmon_cli.render import console
from agentmon_cli.watch_alerts import FIRES_FOR
from agentmon_cli.watch_board import MAX_AGENTS, NAME, Board, kept
from agentmon_cli.watch_screen import View, draw

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def row(topic: str = "agent.actions", **message: Any) -> dict[str, Any]:
    value = json.dumps({"agent_id": "a", **message}).encode()
    return read(value, topic=topic, partition=0, offset=0, kafka_timestamp=NOW, ingest_time=NOW, limits=Limits())


def thought(text: str, **message: Any) -> dict[str, Any]:
    return row("agent.thoughts", thought=text, **message)


def board_of(*rows: dict[str, Any]) -> Board:
    board = Board()
    for one in rows:
        board.add_row(one)
    return board


def screen(board: Board, view: View | None = None, width: int = 80, height: int = 24) -> str:
    out = io.StringIO()
    drawn = draw(board, view or View(kafka=None), width, height, NOW)
    console(out).print(drawn, width=width, height=height)
    return out.getvalue()


HUGE = b"1" + b"0" * 400


@pytest.mark.parametrize(
    "data",
    [
        b'"recent_rewards":[Infinity,1,2]',
        b'"recent_rewards":[NaN,1,2]',
        b'"recent_rewards":[%b,1]' % HUGE,
        b'"recent_rewards":{"1":2}',
        b'"p50_ms":%b' % HUGE,
        b'"p95_ms":Infinity,"metrics":{"cpu_percent":NaN,"memory_bytes":%b}' % HUGE,
    ],
)
@pytest.mark.parametrize("kind", [b"learning_update", b"metrics_update"])
def test_a_damaged_figure_changes_nothing(kind: bytes, data: bytes) -> None:
    board = board_of(row(reward=1))
    before = screen(board, View(agent="a"))
    figure = figure_of(b'{"type":"%b","data":{"agent_id":"a",%b}}' % (kind, data))
    assert figure is not None
    board.add_figure(figure.type, figure.data, NOW)
    assert screen(board, View(agent="a")) == before


@pytest.mark.parametrize("rewards", [[1.7e308, -1.7e308], [1.7e308]])
def test_the_largest_rewards_are_drawn_and_leave_room_for_others(rewards: list[float]) -> None:
    others = [row(agent_id="small", reward=0.5)] * RECENT_REWARDS
    shown = screen(board_of(*others, *(row(agent_id="large", reward=r) for r in rewards * RECENT_REWARDS)))
    assert re.search(r"small +▄{10} → +0\.50", shown)


def test_a_number_that_is_too_long_is_written_short() -> None:
    board = board_of(row(reward=1e300), row("agent.metrics", metrics={"memory_bytes": 1e300, "cpu_percent": 1e300}))
    board.add_figure("metrics_update", {"agent_id": "a", "p50_ms": 1e300, "p95_ms": 12_000}, NOW)
    shown = screen(board, View(agent="a"), 160)
    assert shown.count("1e+300") == 5  # the reward in the header, of the action and of the agent; its CPU twice
    assert "p50 1.67e+295min  p95 12.0s  9.54e+293 MiB" in shown


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"metrics": {"alert": "slow", "value": 9, "threshold": 5}}, "from outside: a slow 9 5"),
        ({"event": {"agent_id": "b", "metrics": '{"alert": "slow"}'}}, "from outside: b slow"),
        ({"metrics": {"memory_bytes": 1}, "note": {"alert": None}}, None),
        ({"metrics": {"alert": None}}, None),
        ({"metrics": {"kind": "alert", "n": 1}}, None),
    ],
)
def test_an_alert_from_outside_is_where_metrics_have_one(message: dict[str, Any], says: str | None) -> None:
    assert board_of(row("agent.metrics", **message)).alerts.firing(NOW) == ([says] if says else [])


def test_an_alert_is_over_when_it_is_said_to_be_or_not_said_again() -> None:
    alerts = board_of(row("agent.metrics", metrics={"alert": "slow"})).alerts
    alerts.take_update({"id": "1", "rule": "errors", "why": {"nested": []}}, NOW + timedelta(seconds=1))
    assert alerts.firing(NOW) == ["errors …", "from outside: a slow"]
    assert alerts.firing(NOW + FIRES_FOR) == ["errors …"]
    alerts.take_update({"id": "1", "state": "resolved"}, NOW)
    assert alerts.firing(NOW) == ["from outside: a slow"]


def test_what_is_kept_has_bounds_and_figures_stay_whole() -> None:
    board, count = Board(asked="mine"), 2 * MAX_AGENTS
    for number in range(count):
        board.add_row(row(agent_id=f"agent-{number}", success=True))
        board.add_row(row("agent.metrics", agent_id=f"agent-{number}", metrics={"alert": "x" * 1000}))
    board.add_row(row(agent_id="mine"))
    assert len(board.agents) == MAX_AGENTS + 2
    assert OTHER in board.agents
    assert board.agents["mine"].actions == 1
    assert f"{2 * count + 1:,} events" in screen(board)
    assert len(board.alerts.firing(NOW)) == MAX_NAMES
    assert max(map(len, board.alerts.firing(NOW))) < 2 * NAME


def test_names_of_tools_have_bounds_too() -> None:
    board = board_of(*(row(tool=f"{number}" + "x" * 10_000, agent_id="a" * 10_000) for number in range(2 * MAX_NAMES)))
    (name,) = board.agents
    tools = board.agents[name].tools
    assert (len(tools), tools.total(), tools[OTHER]) == (MAX_NAMES + 1, 2 * MAX_NAMES, MAX_NAMES)
    assert max(map(len, [name, *tools, board.actions[-1].agent])) == NAME
    assert screen(board, View(agent=kept("a" * 10_000))).count("200 events") == 1


def test_a_lake_with_too_many_agents_is_begun_with_the_newest() -> None:
    board = Board()
    figures = {
        "events": 3, "actions": 2, "known": 1, "successes": 1, "errors": 0, "learns": False, "rewards": [1.0],
        "action_reward_count": 1, "action_reward_sum": 1.0, "p50_ms": None, "p95_ms": None, "memory_bytes": None,
        "cpu_percent": None,
    }  # fmt: skip
    agents = [
        {"agent_id": f"agent-{n}", "last_event_time": NOW + timedelta(seconds=n), **figures}
        for n in range(MAX_AGENTS + 5)
    ]
    board.begin(agents, {("agent-0", "search"): 7, ("unknown", "search"): 1}, [], {}, NOW)
    assert len(board.agents) == MAX_AGENTS + 1
    other = board.agents[OTHER]
    assert (other.events, other.reward_count, other.tools["search"]) == (15, 5, 7)
    assert "agent-0" not in board.agents
    assert f"{3 * len(agents):,} events" in screen(board)


def test_what_the_job_says_is_shown_and_not_obeyed() -> None:
    shown = screen(Board(), View(kafka=None, job="job failed: bad \x1b]0;title\x07 topic"))
    assert "\x1b" not in shown
    assert r"\x1b]0;title\x07" in shown
