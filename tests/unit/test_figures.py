"""Running figures: right whatever the order of arrival, bounded, and the same id for the same position."""

from __future__ import annotations

import json
import random
from typing import Any

import pyarrow as pa
from tests.builders import at, parsed, row, take_in

from agentmon.contracts.measures import trend
from agentmon.lake.partials import COUNTED
from agentmon.stream.counts import action_counts
from agentmon.stream.figures import MAX_NAMES, OTHER, Figures
from agentmon.stream.parsed import side_by_side
from agentmon.stream.updates import chosen, newest_rows

Row = dict[str, Any]


def figures(window_s: float = 60, watermark_s: float = 600, silence_s: float = 3600) -> Figures:
    return Figures(window_s, watermark_s, silence_s)


def action(at_s: float = 0, agent_id: str = "a", offset: int = 0, **fields: object) -> Row:
    values = {"tool": "grep", "action": "call", "success": True, "reward": 1.0, "duration_ms": 100.0, **fields}
    return row("actions", at_s, offset, agent_id=agent_id, **values)


def learning(at_s: float = 0, reward: float | None = 1.0, agent_id: str = "a", offset: int = 0) -> Row:
    return row("learning", at_s, offset, agent_id=agent_id, reward=reward)


def update(kind: str, state: Figures, changed: set[tuple[str, int]], agent_id: str = "a") -> dict:
    found = [m for name, m in state.messages(changed, "here") if name == agent_id and m["type"] == kind]
    return found[-1]["data"]


def test_counts_rates_and_means_of_an_agent() -> None:
    state = figures()
    changed = take_in(
        state,
        action(0, success=True, reward=1.0),
        action(1, success=False, reward=0.0, error="no", tool="sed"),
        action(2, success=None, reward=None),
    )
    data = update("learning_update", state, changed)
    assert data["total_events"] == 3
    assert data["success_rate"] == 0.5
    assert data["avg_reward"] == 0.5
    assert data["tool_usage"] == {"grep": 2, "sed": 1}
    assert data["action_distribution"] == {"call": 3}
    metrics = update("metrics_update", state, changed)
    assert metrics["actions"] == 3
    assert metrics["error_rate"] == 1 / 3
    assert abs(metrics["p50_ms"] - 100) <= 1


def test_learning_rewards_win_over_action_rewards() -> None:
    state = figures()
    changed = take_in(state, action(reward=0.0), learning(1, 0.75))
    assert update("learning_update", state, changed)["avg_reward"] == 0.75


def test_thousands_of_rewards_in_one_trigger_in_any_order_keep_the_newest_twenty() -> None:
    rows = [learning(i, float(i % 7), offset=i) for i in range(5000)]
    expected = [found["reward"] for found in rows[-20:]]
    random.Random(7).shuffle(rows)
    state = figures(watermark_s=10_000)
    data = update("learning_update", state, take_in(state, *rows))
    assert data["recent_rewards"] == expected
    assert data["learning_trend"] == trend(expected)


def test_rewards_at_the_same_moment_are_ordered_by_partition_and_offset() -> None:
    state = figures()
    data = update("learning_update", state, take_in(state, learning(0, 2.0, offset=2), learning(0, 1.0, offset=1)))
    assert data["recent_rewards"] == [1.0, 2.0]


def test_a_row_behind_the_watermark_counts_but_not_in_its_window() -> None:
    state = figures(window_s=60, watermark_s=120)
    take_in(state, action(600))
    changed = take_in(state, action(0))
    data = update("learning_update", state, changed)
    assert data["late"] == 1
    assert data["total_events"] == 2
    assert data["window"]["events"] == 1


def test_another_agents_clock_closes_no_window() -> None:
    state = figures(window_s=60, watermark_s=60)
    take_in(state, action(100_000, agent_id="ahead"))
    changed = take_in(state, action(0, agent_id="a"))
    assert update("learning_update", state, changed)["late"] == 0


def test_windows_behind_the_watermark_are_let_go() -> None:
    state = figures(window_s=60, watermark_s=120)
    for second in range(0, 12_000, 100):
        take_in(state, action(second))
    assert sum(len(agent.windows) for agent in state.agents.values()) <= 4


def test_names_are_bounded() -> None:
    state = figures()
    changed = take_in(state, *(action(tool=f"tool-{i}", offset=i) for i in range(3 * MAX_NAMES)))
    usage = update("learning_update", state, changed)["tool_usage"]
    assert len(usage) == MAX_NAMES + 1
    assert usage[OTHER] == 2 * MAX_NAMES
    assert sum(usage.values()) == 3 * MAX_NAMES


def test_agents_that_nothing_was_heard_of_are_dropped_however_old_their_events() -> None:
    state = figures(silence_s=3600)
    take_in(state, action(0, agent_id="quiet"), action(0, agent_id="heard"))
    now = state.agents["heard"].heard
    state.agents["quiet"].heard = now - 3601
    assert state.drop_silent(now) == 1
    assert set(state.agents) == {"heard"}
    assert state.silent == {"quiet"}


def test_newest_metric_wins() -> None:
    state = figures()
    newer = row("metrics", 1, 1, metrics={"memory_bytes": 2.0})
    older = row("metrics", metrics={"memory_bytes": 1.0, "cpu_percent": 5.0})
    changed = take_in(state, newer, older)
    assert update("metrics_update", state, changed)["metrics"] == {"cpu_percent": 5.0, "memory_bytes": 2.0}


def test_the_newest_metrics_are_each_agents_own() -> None:
    state = figures()
    changed = take_in(
        state,
        row("metrics", 0, 3, metrics={"x": 3.0}),
        row("metrics", 0, 1, metrics={"x": 1.0, "y": 1.0}),  # at the same moment, but before it in Kafka
        row("metrics", 5, 2, agent_id="b", metrics={"x": 2.0}),
        row("metrics", 1, 4, agent_id="b", metrics={}),
        action(2, agent_id="c"),
    )
    found = {name: update("metrics_update", state, changed, name)["metrics"] for name in ("a", "b", "c")}
    assert found == {"a": {"x": 3.0, "y": 1.0}, "b": {"x": 2.0}, "c": {}}


def test_the_same_position_gives_the_same_messages() -> None:
    rows = [action(i, offset=i) for i in range(50)]
    one, two = figures(), figures()
    changed = take_in(one, *rows)
    for found in rows:
        take_in(two, found)
    assert list(one.messages(changed, "p")) == list(two.messages(changed, "p"))
    assert {m["id"] for _, m in one.messages(changed, "p")}.isdisjoint({m["id"] for _, m in one.messages(changed, "q")})


def test_updates_are_the_newest_rows_of_each_agent_in_order_whichever_task_had_them() -> None:
    rows = [action(i, "a", i) for i in range(10)] + [row("thoughts", 5, 99, agent_id="b", thought="x"), learning(11)]
    whole = chosen(newest_rows(parsed(*rows), 3), 3)
    of_two = pa.concat_tables(newest_rows(parsed(*half), 3) for half in (rows[::2], rows[1::2]))
    assert chosen(of_two, 3) == whole
    messages = [json.loads(message) for _, message in whole]
    assert [m["id"] for m in messages] == ["id:0:99", "id:0:7", "id:0:8", "id:0:9"]
    assert [agent for agent, _ in whole] == ["b", "a", "a", "a"]
    assert messages[0]["type"] == "thought_update"
    assert messages[-1]["data"]["timestamp"] == at(9).timestamp()


def test_an_agents_rarest_actions_are_counted_together() -> None:
    """A batch of as many names as messages would otherwise return all of them to the driver."""
    rows = [action(agent_id=a, action=f"action-{n % 250}", offset=n) for a in "ab" for n in range(375)]
    counts = action_counts(side_by_side(parsed(*rows), COUNTED)).to_pylist()
    of_a = {count["action"]: count["count"] for count in counts if count["agent_id"] == "a"}
    assert len(of_a) == MAX_NAMES + 1
    assert (of_a["action-0"], of_a[OTHER], sum(of_a.values())) == (2, 375 - 2 * MAX_NAMES, 375)
    assert sum(count["count"] for count in counts) == 750


def test_updates_open_a_context_that_every_reader_takes() -> None:
    contexts = ['{"a": 1.5}', '{"a": NaN}', '{"a": 1e400}', "7"]
    updates = chosen(newest_rows(parsed(*(action(n, offset=n, context=text) for n, text in enumerate(contexts))), 9), 9)
    shown = [json.loads(message)["data"]["context"] for _, message in updates]
    assert shown == [{"a": 1.5}, '{"a": NaN}', '{"a": 1e400}', 7]
