"""What `agentmon watch` knows: begun from the lake, brought forward by live rows and figures. No Kafka, no terminal."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agentmon.contracts.measures import RECENT_REWARDS, SELFTEST_AGENT, trend

#: Rows kept of each kind to scroll through.
KEPT = 1_000
#: Text of a row beyond this is cut before it is kept: a screen shows a line of it.
TEXT = 2_000


@dataclass
class Agent:
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


@dataclass(frozen=True)
class Line:
    """One row of a panel."""

    at: datetime
    agent: str
    kind: str
    text: str
    good: bool | None = None
    reward: float | None = None


class Board:
    """All agents, the newest actions and thoughts, and what fires."""

    def __init__(self) -> None:
        self.agents: dict[str, Agent] = {}
        self.actions: deque[Line] = deque(maxlen=KEPT)
        self.thoughts: deque[Line] = deque(maxlen=KEPT)
        self.alerts: dict[str, str] = {}
        self.received = self.shown = self.dropped = self.skipped = 0
        self.last_event: datetime | None = None
        self.figures_at: datetime | None = None
        self._positions: dict[tuple[str, int], int] = {}
        self._as_of: datetime | None = None

    def begin(self, agents: list[dict[str, Any]], tools: Mapping[tuple[str, str], int], rows: list[dict[str, Any]],
              positions: Mapping[tuple[str, int], int], as_of: datetime) -> None:  # fmt: skip
        """Start from the lake (`agentmon.lake.opening`)."""
        for row in agents:
            kind = "learning" if row["learns"] else "action"
            self.agents[row["agent_id"]] = Agent(
                row["events"], row["actions"], row["known"], row["successes"], row["errors"],
                row[f"{kind}_reward_count"], row[f"{kind}_reward_sum"], row["learns"],
                deque(row["rewards"], maxlen=RECENT_REWARDS), Counter(),
                row["p50_ms"], row["p95_ms"], row["memory_bytes"], row["cpu_percent"], row["last_event_time"],
            )  # fmt: skip
        for (name, tool), count in tools.items():
            if name in self.agents:
                self.agents[name].tools[tool] = count
        for row in rows:
            self._show(row)
        self.last_event = max((a.last for a in self.agents.values() if a.last), default=None)
        self._positions, self._as_of = dict(positions), as_of

    def add_row(self, row: Mapping[str, Any]) -> bool:
        """Take a live row in; False for one that was counted before, and for the self-test's."""
        self.received += 1
        if self._was_there(row) or row["agent_id"] == SELFTEST_AGENT:
            self.dropped += 1
            return False
        agent = self.agents.setdefault(row["agent_id"], Agent())
        agent.events += 1
        agent.last = max(agent.last or row["event_time"], row["event_time"])
        self.last_event = max(self.last_event or row["event_time"], row["event_time"])
        _count(agent, row)
        self._show(row)
        return True

    def add_figure(self, kind: str, data: Mapping[str, Any], now: datetime) -> None:
        """Take a figure of the job in. A damaged one changes nothing: anybody may write to that topic."""
        self.received += 1
        self.figures_at = now
        name = data.get("agent_id")
        if kind == "alert_update":
            self._alert(data)
        elif isinstance(name, str) and name in self.agents:
            agent = self.agents[name]
            if kind == "learning_update":
                rewards = data.get("recent_rewards")
                if isinstance(rewards, list) and all(isinstance(r, int | float) for r in rewards):
                    agent.rewards = deque(map(float, rewards), maxlen=RECENT_REWARDS)
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

    def _alert(self, data: Mapping[str, Any]) -> None:
        name = str(data.get("id") or data.get("rule"))
        if data.get("state") in ("resolved", "ok", "ended"):
            self.alerts.pop(name, None)
        else:
            self.alerts[name] = " ".join(str(data[part]) for part in ("rule", "agent_id", "why") if data.get(part))

    def _show(self, row: Mapping[str, Any]) -> None:
        at, agent, table = row["event_time"], row["agent_id"], row["table"]
        if table == "thoughts":
            self.thoughts.append(Line(at, agent, "thought", _text(row["thought"])))
        elif table == "actions":
            said = _text(row["error"]) or _text(row["reasoning"]) or _text(row["result"])
            name = " ".join(filter(None, (_text(row["tool"]), _beyond_call(row["action"]))))
            good = False if row["error"] else row["success"]
            self.actions.append(Line(at, agent, name or "?", said, good, row["reward"]))
        elif table == "events" and row.get("type") == "action_started":
            self.actions.append(Line(at, agent, f"{_started(row.get('payload'))} …", "started"))
        elif table == "metrics" and '"alert"' in (row.get("payload") or ""):
            self.alerts[f"outside {agent}"] = f"from outside: {agent} {_text(row['payload'])[:200]}"
        else:
            return
        self.shown += 1


def _count(agent: Agent, row: Mapping[str, Any]) -> None:
    reward = row["reward"] if row["table"] in ("actions", "learning") else None
    if row["table"] == "actions":
        agent.actions += 1
        agent.known += row["success"] is not None
        agent.successes += bool(row["success"])
        agent.errors += bool(row["error"])
        if row["tool"]:
            agent.tools[row["tool"]] += 1
    if row["table"] == "learning" and reward is not None and not agent.learns:
        # Rewards of learning count from now on, those of actions no more.
        agent.learns, agent.reward_count, agent.reward_sum = True, 0, 0.0
        agent.rewards.clear()
    if reward is not None and (row["table"] == "learning") == agent.learns:
        agent.reward_count += 1
        agent.reward_sum += reward
        agent.rewards.append(reward)
    metrics = row.get("metrics") or {}
    agent.memory_bytes = metrics.get("memory_bytes", agent.memory_bytes)
    agent.cpu_percent = metrics.get("cpu_percent", agent.cpu_percent)


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
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise
