"""Running figures of one agent: kept in the streaming job's memory, begun from what the lake has."""

from __future__ import annotations

import time
from bisect import insort
from collections import Counter
from dataclasses import dataclass, field

from agentmon.contracts.measures import RECENT_REWARDS

#: Names (tools, actions, metrics) kept per agent; the rarest of more go to OTHER.
MAX_NAMES = 100
OTHER = "(other)"

#: (event_time in µs, partition, offset): the order of rewards.
Order = tuple[int, int, int]


@dataclass(slots=True)
class Window:
    """Figures of one agent in one window of event time."""

    events: int = 0
    actions: int = 0
    thoughts: int = 0
    known: int = 0
    successes: int = 0
    errors: int = 0
    reward_count: int = 0
    reward_sum: float = 0.0
    durations: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class Agent:
    """Running figures of one agent, over all that the lake has of it; times in microseconds."""

    events: int = 0
    actions: int = 0
    known: int = 0
    successes: int = 0
    action_rewards: list[float] = field(default_factory=lambda: [0, 0.0])
    learning_rewards: list[float] = field(default_factory=lambda: [0, 0.0])
    recent_action: list[tuple[Order, float]] = field(default_factory=list)
    recent_learning: list[tuple[Order, float]] = field(default_factory=list)
    tools: Counter[str] = field(default_factory=Counter)
    distribution: Counter[str] = field(default_factory=Counter)
    metrics: dict[str, tuple[int, float]] = field(default_factory=dict)
    windows: dict[int, Window] = field(default_factory=dict)
    newest: int = 0
    seen: int = 0  # newest event time of the batch that is being taken in
    late: int = 0
    heard: float = field(default_factory=time.time)  # by our clock, epoch seconds: events may be last year's


def keep_recent(recent: list[tuple[Order, float]], order: Order, reward: float) -> None:
    """Keep the newest rewards in order, whatever the order in which they arrive."""
    insort(recent, (order, reward))
    del recent[:-RECENT_REWARDS]
