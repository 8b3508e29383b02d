"""What `agentmon watch` knows: begun from the lake, brought forward by live rows and figures. No Kafka, no terminal."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agentmon.contracts.measures import RECENT_REWARDS, SELFTEST_AGENT, trend
from agentmon.contracts.running import MAX_NAMES, OTHER
from agentmon.contracts.values import number
from agentmon_cli.watch_alerts import Alerts

#: Rows kept of each kind to scroll through.
KEPT = 1_000
#: Agents with figures of their own; all others are OTHER.
MAX_AGENTS = 1_000
#: Characters of a name: more fit on no screen.
NAME = 200
#: Text of a row beyond this is cut before it is kept: a screen shows a line of it.
TEXT = 2_000

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass
class AgentFigures:
    """Figures of one agent. Figures of the job, which knows all that was ever stored, replace what was counted here."""

    events: int = 0
    actions: int = 0
    known: int = 0
    successes: int = 0
    errors: int = 0
    reward_count: int = 0
    reward_sum: float = 0.0
    learns: bool = False
    rewards: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_REWARDS))
    tools: Counter[str] = field(default_factory=Counter)
    p50_ms: float | None = None
    p95_ms: float | None = None
    memory_bytes: float | None = None
    cpu_percent: float | None = None
    last: datetime | None = None

    @property
    def trend(self) -> str:
        return trend(list(self.rewards))

    @property
    def avg_reward(self) -> float | None:
        return self.reward_sum / self.reward_count if self.reward_count else None

    def add(self, more: AgentFigures) -> None:
        """Count another agent's events to these; its newest values and percentiles stay out, they don't add up."""
        self.events += more.events
        self.actions += more.actions
        self.known += more.known
        self.successes += more.successes
        self.errors += more.errors
        self.last = max(filter(None, (self.last, more.last)), default=None)
        if more.learns:
            self.begin_to_learn()
        if more.learns == self.learns:
            self.reward_count += more.reward_count
            self.reward_sum += more.reward_sum

    def begin_to_learn(self) -> None:
        """Rewards of learning count from now on, those of actions no more."""
        if not self.learns:
            self.learns, self.reward_count, self.reward_sum = True, 0, 0.0
            self.rewards.clear()


@dataclass(frozen=True)
class PanelLine:
    """One row of a panel."""

    at: datetime
    agent: str
    kind: str
    text: str
    good: bool | None = None
    reward: float | None = None

    def __deepcopy__(self, _: object) -> PanelLine:
        return self  # it never changes, and a panel that was scrolled looks for this very one


class Board:
    """All agents, the newest actions and thoughts, and what fires. `asked`: the agent that must not become OTHER."""

    def __init__(self, asked: str | None = None) -> None:
        self._asked = asked
        self.agents: dict[str, AgentFigures] = {}
        self.actions: deque[PanelLine] = deque(maxlen=KEPT)
        self.thoughts: deque[PanelLine] = deque(maxlen=KEPT)
        self.alerts = Alerts()
        self.received = self.shown = self.dropped = self.skipped = 0
        self.last_event: datetime | None = None
        self.figures_at: datetime | None = None
        self._positions: dict[tuple[str, int], int] = {}
        self._as_of: datetime | None = None

    def begin(self, agents: list[dict[str, Any]], tools: Mapping[tuple[str, str], int], rows: list[dict[str, Any]],
              positions: Mapping[tuple[str, int], int], as_of: datetime) -> None:  # fmt: skip
        """Start from the lake (`agentmon.lake.opening`)."""
        for row in sorted(agents, key=lambda row: row["last_event_time"] or _NEVER, reverse=True):
            kind = "learning" if row["learns"] else "action"
            agent = AgentFigures(
                row["events"], row["actions"], row["known"], row["successes"], row["errors"],
                row[f"{kind}_reward_count"], row[f"{kind}_reward_sum"], row["learns"],
                deque(row["rewards"], maxlen=RECENT_REWARDS), Counter(),
                row["p50_ms"], row["p95_ms"], row["memory_bytes"], row["cpu_percent"], row["last_event_time"],
            )  # fmt: skip
            name = self._name(row["agent_id"])
            if name in self.agents:
                self.agents[name].add(agent)
            else:
                self.agents[name] = agent
        known = {row["agent_id"] for row in agents}
        for (name, tool), count in sorted(tools.items(), key=lambda entry: -entry[1]):
            if name in known:
                _tally(self.agents[self._name(name)].tools, tool, count)
        for row in rows:
            if row["agent_id"] != SELFTEST_AGENT:
                self._show(row)
        self.last_event = max((a.last for a in self.agents.values() if a.last), default=None)
        self._positions, self._as_of = dict(positions), as_of

    def add_row(self, row: Mapping[str, Any]) -> PanelLine | None:
        """Take a live row in; the line that a panel has of it.

        A row that was counted before, or is the self-test's, changes nothing and has none.
        """
        self.received += 1
        if self._was_there(row) or row["agent_id"] == SELFTEST_AGENT:
            self.dropped += 1
            return None
        agent = self.agents.setdefault(self._name(row["agent_id"]), AgentFigures())
        agent.events += 1
        agent.last = max(agent.last or row["event_time"], row["event_time"])
        self.last_event = max(self.last_event or row["event_time"], row["event_time"])
        _count(agent, row)
        if row["table"] == "metrics":
            self.alerts.take_row(row)
        return self._show(row)

    def add_figure(self, kind: str, data: Mapping[str, Any], now: datetime) -> None:
        """Take a figure of the job in. A damaged one changes nothing: anybody may write to that topic."""
        self.received += 1
        self.figures_at = now
        name = data.get("agent_id")
        agent = self.agents.get(kept(name)) if isinstance(name, str) else None
        if kind == "alert_update":
            self.alerts.take_update(data, now)
        elif agent is not None:
            if kind == "learning_update":
                rewards = data.get("recent_rewards")
                found = [number(reward) for reward in rewards] if isinstance(rewards, list) else [None]
                finite = [reward for reward in found if reward is not None]
                if len(finite) == len(found):
                    agent.rewards = deque(finite, maxlen=RECENT_REWARDS)
            else:
                metrics = data.get("metrics")
                metrics = metrics if isinstance(metrics, dict) else {}
                agent.p50_ms = _number(data.get("p50_ms"), agent.p50_ms)
                agent.p95_ms = _number(data.get("p95_ms"), agent.p95_ms)
                agent.memory_bytes = _number(metrics.get("memory_bytes"), agent.memory_bytes)
                agent.cpu_percent = _number(metrics.get("cpu_percent"), agent.cpu_percent)

    def _was_there(self, row: Mapping[str, Any]) -> bool:
        """Whether the lake had it when the screen opened. Offsets of a topic made anew since then start again."""
        before = row["kafka_offset"] < self._positions.get((row["kafka_topic"], row["kafka_partition"]), 0)
        sent = row["kafka_timestamp"]
        return before and (self._as_of is None or sent is None or sent <= self._as_of)

    def _name(self, agent: str) -> str:
        """Whose figures an agent's count to: where there are too many agents, those that came last are one."""
        name = kept(agent)
        own = name in self.agents or name == self._asked or len(self.agents) < MAX_AGENTS
        return name if own else OTHER

    def _show(self, row: Mapping[str, Any]) -> PanelLine | None:
        line = _line(row)
        if line is not None:
            (self.thoughts if row["table"] == "thoughts" else self.actions).append(line)
            self.shown += 1
        return line


def kept(name: str) -> str:
    """A name as it is kept: of one that no screen has room for its beginning and its end.

    >>> kept("airline-3"), len(kept("a" * 100_000 + "-3")), kept("a" * 100_000 + "-3")[-4:]
    ('airline-3', 200, 'aa-3')
    """
    return name if len(name) <= NAME else f"{name[: NAME // 2]}…{name[1 - NAME // 2 :]}"


def _line(row: Mapping[str, Any]) -> PanelLine | None:
    """A row as a panel shows it; None for one of a kind that has no panel."""
    at, agent, table = row["event_time"], kept(row["agent_id"]), row["table"]
    if table == "thoughts":
        return PanelLine(at, agent, "thought", _text(row["thought"]))
    if table == "actions":
        said = _text(row["error"]) or _text(row["reasoning"]) or _text(row["result"])
        name = " ".join(filter(None, (_text(row["tool"]), _beyond_call(row["action"]))))
        good = False if row["error"] else row["success"]
        return PanelLine(at, agent, name or "?", said, good, row["reward"])
    if table == "events" and row.get("type") == "action_started":
        return PanelLine(at, agent, f"{_started(row.get('payload'))} …", "started")
    return None


def _count(agent: AgentFigures, row: Mapping[str, Any]) -> None:
    reward = row["reward"] if row["table"] in ("actions", "learning") else None
    if row["table"] == "actions":
        agent.actions += 1
        agent.known += row["success"] is not None
        agent.successes += bool(row["success"])
        agent.errors += bool(row["error"])
        if row["tool"]:
            _tally(agent.tools, row["tool"], 1)
    if row["table"] == "learning" and reward is not None:
        agent.begin_to_learn()
    if reward is not None and (row["table"] == "learning") == agent.learns:
        agent.reward_count += 1
        agent.reward_sum += reward
        agent.rewards.append(reward)
    metrics = row.get("metrics") or {}
    agent.memory_bytes = metrics.get("memory_bytes", agent.memory_bytes)
    agent.cpu_percent = metrics.get("cpu_percent", agent.cpu_percent)


def _tally(tools: Counter[str], tool: str, count: int) -> None:
    name = kept(tool)
    tools[name if name in tools or len(tools) < MAX_NAMES else OTHER] += count


def _text(value: Any) -> str:
    return "" if value is None else str(value)[:TEXT]


def _beyond_call(action: str | None) -> str:
    return "" if action in (None, "call") else _text(action)


def _started(payload: str | None) -> str:
    try:
        message = json.loads(payload or "{}")
        return _text(message.get("tool") or message.get("action") or "?")
    except (ValueError, AttributeError, RecursionError):
        return "?"


def _number(value: Any, otherwise: float | None) -> float | None:
    found = number(value)
    return otherwise if found is None else found
