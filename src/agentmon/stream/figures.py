"""Running figures per agent, in the driver's memory: what learning_update and metrics_update say.

State is a function of the offsets it has taken in: read from the lake at a sealed position, then
brought forward with the partial figures of each micro-batch, a few rows per agent however many messages
there were. It needs no checkpoint, is right after any crash, and is bounded: so many names per agent,
windows only as far back as the watermark, agents only until they fall silent. Of these the name is kept: who
comes back is read from the lake again.

The watermark is each agent's own (its newest event time less AGENTMON_WATERMARK), so that no agent's
figures wait for, or are cut off by, another agent's clock.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from agentmon.contracts.measures import RECENT_REWARDS, quantile, trend
from agentmon.contracts.running import MAX_NAMES, OTHER, Agent, Order, Window, keep_recent
from agentmon.lake.partials import to_rows
from agentmon.stream.counts import ORDER
from agentmon.stream.newest import newest_of_each

_COUNTS = ("actions", "thoughts", "learning", "metrics", "other", "quarantined")
#: Columns of summaries that are taken in.
_READ = [
    "window_start", "agent_id", "tool", *_COUNTS, "known", "successes", "errors", "action_reward_count", "action_reward_sum",
    "learning_reward_count", "learning_reward_sum", "agent_duration_buckets", "last_event_time",
]  # fmt: skip


class Figures:
    """Running figures of all agents.

    window_s, watermark_s and silence_s as in the settings.
    """

    def __init__(self, window_s: float, watermark_s: float, silence_s: float) -> None:
        self._window_us = round(window_s * 1e6)
        self._watermark_us = round(watermark_s * 1e6)
        self._silence_s = silence_s
        self.agents: dict[str, Agent] = {}
        #: Agents of the lake that are not among these.
        self.silent: set[str] = set()

    def window_of(self, at: int) -> int:
        """Start of the window that an event time falls into, microseconds."""
        return at - at % self._window_us

    def add(self, summaries: pa.Table, actions: pa.Table, metrics: pa.Table) -> set[tuple[str, int]]:
        """Take in a micro-batch's partial figures; the (agent_id, window start) whose figures changed.

        summaries: rows as of the table summaries; actions, metrics: as stream/counts.py gives them. Of each, rows of
        several tasks one after another. Rows of a window behind its agent's watermark count in the running figures, but
        in no window.
        """
        changed: set[tuple[str, int]] = set()
        for part in to_rows(summaries.select(_READ)):
            agent = self.agents.setdefault(part["agent_id"], Agent())
            events = sum(part[name] for name in _COUNTS)
            start = part["window_start"]
            if start + self._window_us <= agent.newest - self._watermark_us:
                agent.late += events
                start = self.window_of(agent.newest)
            else:
                _count_in_window(agent.windows.setdefault(start, Window()), part, events)
            _count(agent, part, events)
            changed.add((part["agent_id"], start))
        for kind in ("action", "learning"):
            for agent_id, order, reward in _newest_rewards(summaries, kind):
                agent = self.agents[agent_id]
                keep_recent(agent.recent_action if kind == "action" else agent.recent_learning, order, reward)
        for agent_id, action, count in _sorted_rows(actions):
            _count_name(self.agents[agent_id].distribution, action, count)
        for agent_id, metric, at, value in _sorted_rows(metrics):
            _keep_newest(self.agents[agent_id].metrics, metric, at, value)
        now = time.time()
        for name in {name for name, _ in changed}:
            agent = self.agents[name]
            agent.heard, agent.newest = now, max(agent.newest, agent.seen)
            self._close_windows(agent)
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
        self.silent.update(silent)
        return len(silent)

    def messages(self, changed: Iterable[tuple[str, int]], position: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """(agent_id, message) for what changed: a learning_update and a metrics_update per agent and window.

        `position` names the offsets taken in so far. Figures are a function of these, so a message
        sent again has the same id and says the same.
        """
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
                yield name, {"type": kind, "data": data, "id": f"{kind}:{name}:{start // 1_000_000}:{position}"}


def _count(agent: Agent, part: Mapping[str, Any], events: int) -> None:
    agent.events += events
    # `newest`, the watermark's base, moves only once the whole batch is in: else late would depend on its order.
    agent.seen = max(agent.seen, part["last_event_time"])
    agent.actions += part["actions"]
    agent.known += part["known"]
    agent.successes += part["successes"]
    if part["actions"] and part["tool"] is not None:
        _count_name(agent.tools, part["tool"], part["actions"])
    for kind, sums in (("action", agent.action_rewards), ("learning", agent.learning_rewards)):
        sums[0] += part[f"{kind}_reward_count"]
        sums[1] += part[f"{kind}_reward_sum"]


def _sorted_rows(table: pa.Table) -> list[tuple[Any, ...]]:
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _newest_rewards(summaries: pa.Table, kind: str) -> Iterator[tuple[str, Order, float]]:
    """The newest rewards of each agent, of all its windows and tools."""
    lists = summaries[f"recent_{kind}_rewards"].combine_chunks()
    rewards = lists.flatten()
    agents = summaries["agent_id"].combine_chunks().take(pc.list_parent_indices(lists)).dictionary_encode()
    order = [pc.struct_field(rewards, name).cast(pa.int64()).to_numpy() for name in ORDER]
    newest = newest_of_each(agents.indices.to_numpy(), *order, most=RECENT_REWARDS)
    orders = zip(*(numbers[newest].tolist() for numbers in order), strict=True)
    values = pc.struct_field(rewards, "reward").take(pa.array(newest)).to_pylist()
    return zip(agents.take(pa.array(newest)).to_pylist(), orders, values, strict=True)


def _count_in_window(window: Window, part: Mapping[str, Any], events: int) -> None:
    window.events += events
    for name in ("actions", "thoughts", "known", "successes", "errors"):
        setattr(window, name, getattr(window, name) + part[name])
    window.reward_count += part["action_reward_count"] + part["learning_reward_count"]
    window.reward_sum += part["action_reward_sum"] + part["learning_reward_sum"]
    window.durations.update(part["agent_duration_buckets"])


def _count_name(names: Counter[str], name: str, count: int) -> None:
    names[name if name in names or len(names) < MAX_NAMES else OTHER] += count


def _keep_newest(metrics: dict[str, tuple[int, float]], name: str, at: int, value: float) -> None:
    known = metrics.get(name)
    if (known is None and len(metrics) < MAX_NAMES) or (known is not None and known[0] <= at):
        metrics[name] = (at, value)


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


def iso(us: int) -> str:
    """Microseconds since 1970 as ISO 8601, UTC."""
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
