"""What `agentmon watch` knows and draws, whatever arrives: without Kafka and without a terminal."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from agentmon.contracts.measures import RECENT_REWARDS, SELFTEST_AGENT
from agentmon.contracts.message import Limits, read
from agentmon.contracts.running import MAX_NAMES, OTHER
from agentmon.live.rows import Received, figure_of
from agentmon.settings import Settings
from agentmon_cli.render import console
from agentmon_cli.watch import Watching
from agentmon_cli.watch_alerts import FIRES_FOR
from agentmon_cli.watch_board import MAX_AGENTS, NAME, Board, kept
from agentmon_cli.watch_keys import press
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
    assert "p50 >27y  p95 12.0s  9.537e+293 MiB" in shown


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


def test_the_selftest_is_on_no_screen() -> None:
    told = thought("does it arrive?", agent_id=SELFTEST_AGENT)
    board = board_of(told)
    board.begin([], {}, [told, thought("hm")], {}, NOW)
    assert "does it arrive?" not in screen(board)
    assert "hm" in screen(board)


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


@pytest.mark.parametrize(
    "arriving",
    [
        row(tool="new-search"),
        row(tool="search", agent_id="b"),
        row(tool="fetch"),
        thought("search"),
        row("agent.learning", reward=1),
    ],
)
@pytest.mark.parametrize("paused", [False, True])
def test_who_reads_older_rows_stays_with_them(arriving: dict[str, Any], paused: bool) -> None:
    board = board_of(*(row(tool=f"search-{number}") for number in range(30)))
    view = View(agent="a", words="search", kafka=None)
    for key in ("p", "down", "down") if paused else ("down", "down"):
        press(key, view, board)
    board.add_row(arriving)
    if paused:
        press("p", view, board)
    first = screen(board, view).splitlines()[2]
    assert "search-27" in first
    press("up", view, board)
    assert "search-28" in screen(board, view).splitlines()[2]


def test_scrolling_ends_at_the_oldest_row_of_each_panel() -> None:
    others = [row(agent_id="b")] * 5
    board, view = board_of(row(tool="one"), row(tool="two"), thought("only"), *others), View(agent="a")
    for _ in range(3):
        press("down", view, board)
    newest = screen(board, view).splitlines()[2]
    assert "one" in newest
    assert "only" in newest
    press("g", view, board)
    assert "two" in screen(board, view).splitlines()[2]


def test_a_small_screen_shows_an_agent_and_all_keys() -> None:
    board, view = board_of(*(row(agent_id=name, reward=1) for name in "ab")), View(kafka=None)
    shown = screen(board, view, 40, 10)
    assert "No rewards" not in shown
    assert "→" in shown
    press("?", view, board)
    lines = screen(board, view, 40, 10).splitlines()
    assert len(lines) == 10
    assert "q       quit" in lines[1]
    assert "any key closes it" in lines[8]


def test_what_the_job_says_is_shown_and_not_obeyed() -> None:
    shown = screen(Board(), View(kafka=None, job="job failed: bad \x1b]0;title\x07 topic"))
    assert "\x1b" not in shown
    assert r"\x1b]0;title\x07" in shown


@pytest.fixture
def watching(tmp_path: Path) -> Watching:
    return Watching(Settings(home=tmp_path), None, False)


def test_a_paused_screen_stands_still_while_figures_go_on(watching: Watching) -> None:
    board, view = watching._board, watching._view
    press("p", view, board)
    for number in range(3):
        watching._deliver(Received(rows=[row(tool=f"tool-{number}"), thought("why")]))
        watching._take_in()
    assert not watching._inbox
    still = screen(board, view)
    assert "PAUSED, 6 waiting" in still
    assert "0 events" in still
    assert "tool-" not in still
    press("p", view, board)
    shown = screen(board, view)
    assert "6 events" in shown
    assert "tool-2" in shown


def test_the_reader_waits_for_a_screen_that_takes_nothing(watching: Watching) -> None:
    batches = 30
    reader = Thread(target=lambda: [watching._deliver(Received(rows=[row()])) for _ in range(batches)])
    reader.start()
    most = 0
    while reader.is_alive() or watching._inbox:
        most = max(most, len(watching._inbox))
        if not reader.is_alive() or len(watching._inbox) >= 10:
            watching._take_in()
    assert (most, watching._board.received) == (10, batches)


def test_every_row_of_a_burst_has_its_line(watching: Watching) -> None:
    lines = watching._apply(Received(rows=[row(tool=f"tool-{number}") for number in range(2_000)]))
    assert [line.kind for line in lines] == [f"tool-{number}" for number in range(2_000)]
