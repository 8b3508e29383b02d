"""Running figures per agent, in the driver's memory: what learning_update and metrics_update say.

State is a function of the offsets it has taken in: read from the lake at a sealed position, then
brought forward row by row. It needs no checkpoint, is right after any crash, and is bounded: so many
names per agent, windows only as far back as the watermark, agents only until they fall silent.

The watermark is each agent's own (its newest event time less AGENTMON_WATERMARK), so that no agent's
figures wait for, or are cut off by, another agent's clock.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from agentmon.contracts.measures import bucket_of, quantile, trend
from agentmon.contracts.running import MAX_NAMES, OTHER, Agent, Order, Window, keep_recent


class Row(NamedTuple):
    """What the figures need of one stored message; `at` is its event time in microseconds."""

    table: str
    agent_id: str
    at: int
    partition: int
    offset: int
    tool: str | None = None
    action: str | None = None
    success: bool | None = None
    reward: float | None = None
    duration_ms: float | None = None
    error: bool = False
    metrics: Mapping[str, float] | None = None


class Figures:
    """Running figures of all agents.

    window_s, watermark_s and silence_s as in the settings.
    """

    def __init__(self, window_s: float, watermark_s: float, silence_s: float) -> None:
        self._window_us = round(window_s * 1e6)
        self._watermark_us = round(watermark_s * 1e6)
        self._silence_s = silence_s
        self.agents: dict[str, Agent] = {}

    def window_of(self, at: int) -> int:
        """Start of the window that an event time falls into, microseconds."""
        return at - at % self._window_us

    def add(self, rows: Iterable[Row]) -> set[tuple[str, int]]:
        """Take rows in; returns the (agent_id, window start) whose figures changed.

        A row behind its agent's watermark counts in the running figures, but not in its window.
        """
        changed: set[tuple[str, int]] = set()
        for row in rows:
            agent = self.agents.setdefault(row.agent_id, Agent())
            start = self.window_of(row.at)
            if start + self._window_us <= agent.newest - self._watermark_us:
                agent.late += 1
                start = self.window_of(agent.newest)
            else:
                _count_in_window(agent.windows.setdefault(start, Window()), row)
            _count(agent, row)
            changed.add((row.agent_id, start))
        now = time.time()
        for name in {name for name, _ in changed}:
            self.agents[name].heard = now
            self._close_windows(self.agents[name])
        return changed

    def _close_windows(self, agent: Agent) -> None:
        closed = [s for s in agent.windows if s + self._window_us <= agent.newest - self._watermark_us]
        for start in closed:
            del agent.windows[start]

    def drop_silent(self, now_s: float) -> int:
        """Forget agents that nothing was heard of for so long; the lake keeps them. Returns how many."""
        silent = [name for name, agent in self.agents.items() if agent.heard < now_s - self._silence_s]
        for name in silent:
            del self.agents[name]
        return len(silent)

    def messages(self, changed: Iterable[tuple[str, int]], position: str) -> list[tuple[str, dict[str, Any]]]:
        """(agent_id, message) for what changed: a learning_update and a metrics_update per agent and window.

        `position` names the offsets taken in so far. Figures are a function of these, so a message
        sent again has the same id and says the same.
        """
        out: list[tuple[str, dict[str, Any]]] = []
        for name, start in sorted(changed):
            agent = self.agents.get(name)
            if agent is None:
                continue
            window = agent.windows.get(start, Window())
            bounds = {"start": iso(start), "end": iso(start + self._window_us)}
            for kind, data in (
                ("learning_update", _learning(name, agent, window, bounds)),
                ("metrics_update", _metrics(name, agent, window, bounds)),
            ):
                out.append((name, {"type": kind, "data": data, "id": f"{kind}:{name}:{start // 1_000_000}:{position}"}))
        return out


def _count(agent: Agent, row: Row) -> None:
    agent.events += 1
    agent.newest = max(agent.newest, row.at)
    if row.table == "actions":
        agent.actions += 1
        outcome_known = row.success is not None
        agent.known += outcome_known
        agent.successes += bool(row.success)
        _count_name(agent.tools, row.tool)
        _count_name(agent.distribution, row.action)
        _count_reward(agent.action_rewards, agent.recent_action, row)
    elif row.table == "learning":
        _count_reward(agent.learning_rewards, agent.recent_learning, row)
    for metric, value in (row.metrics or {}).items():
        known = agent.metrics.get(metric)
        if (known is None and len(agent.metrics) < MAX_NAMES) or (known is not None and known[0] <= row.at):
            agent.metrics[metric] = (row.at, value)


def _count_in_window(window: Window, row: Row) -> None:
    window.events += 1
    window.thoughts += row.table == "thoughts"
    if row.table in ("actions", "learning") and row.reward is not None:
        window.reward_count += 1
        window.reward_sum += row.reward
    if row.table == "actions":
        window.actions += 1
        window.known += row.success is not None
        window.successes += bool(row.success)
        window.errors += row.error
        if row.duration_ms is not None:
            window.durations[bucket_of(row.duration_ms)] += 1


def _count_name(names: Counter[str], name: str | None) -> None:
    if name is not None:
        names[name if name in names or len(names) < MAX_NAMES else OTHER] += 1


def _count_reward(sums: list[float], recent: list[tuple[Order, float]], row: Row) -> None:
    if row.reward is None:
        return
    sums[0] += 1
    sums[1] += row.reward
    keep_recent(recent, (row.at, row.partition, row.offset), row.reward)


def _mean(total: float, count: float) -> float | None:
    return total / count if count else None


def _rewards(agent: Agent) -> tuple[list[float], list[float]]:
    """(count and sum, newest values) of the agent's rewards: of learning where there are any, else of actions."""
    if agent.learning_rewards[0]:
        return agent.learning_rewards, [reward for _, reward in agent.recent_learning]
    return agent.action_rewards, [reward for _, reward in agent.recent_action]


def _learning(name: str, agent: Agent, window: Window, bounds: dict[str, str]) -> dict[str, Any]:
    (count, total), recent = _rewards(agent)
    return {
        "agent_id": name,
        "total_events": agent.events,
        "success_rate": _mean(agent.successes, agent.known),
        "avg_reward": _mean(total, count),
        "learning_trend": trend(recent),
        "tool_usage": dict(agent.tools.most_common()),
        "action_distribution": dict(agent.distribution.most_common()),
        "recent_rewards": recent,
        "late": agent.late,
        "last_event_time": iso(agent.newest),
        "window": {
            **bounds,
            "events": window.events,
            "actions": window.actions,
            "thoughts": window.thoughts,
            "success_rate": _mean(window.successes, window.known),
            "avg_reward": _mean(window.reward_sum, window.reward_count),
        },
    }


def _metrics(name: str, agent: Agent, window: Window, bounds: dict[str, str]) -> dict[str, Any]:
    return {
        "agent_id": name,
        "window": bounds,
        "actions": window.actions,
        "thoughts": window.thoughts,
        "error_rate": _mean(window.errors, window.actions),
        "p50_ms": quantile(window.durations, 0.5),
        "p95_ms": quantile(window.durations, 0.95),
        "metrics": {metric: value for metric, (_, value) in sorted(agent.metrics.items())},
    }


def newest_per_agent(rows: Iterable[tuple[str, int, Any]], limit: int) -> list[Any]:
    """Of (agent_id, order, row) at most `limit` rows per agent, the newest; in order."""
    by_agent: dict[str, list[tuple[int, int, Any]]] = {}
    for serial, (agent_id, order, row) in enumerate(rows):
        kept = by_agent.setdefault(agent_id, [])
        if len(kept) < limit:
            heapq.heappush(kept, (order, serial, row))
        else:
            heapq.heappushpop(kept, (order, serial, row))
    return [row for _, _, row in sorted(entry for kept in by_agent.values() for entry in kept)]


def iso(us: int) -> str:
    """Microseconds since 1970 as ISO 8601, UTC."""
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def finite(value: float | None) -> float | None:
    """The value, or None where it is no finite number."""
    return value if value is not None and math.isfinite(value) else None
