"""What a publisher measures about its process, and about each agent that speaks through it."""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from agentmon.contracts.measures import bucket_of, quantile
from agentmon.publish import lifetime

if TYPE_CHECKING:
    import psutil

#: Agents that are kept apart at the most; the gateway and tests may have many.
MAX_AGENTS = 1_000


@dataclass
class _Agent:
    """Counts since the start, and what happened since the last report."""

    actions: int = 0
    thoughts: int = 0
    new: int = 0
    errors: int = 0
    durations: dict[int, int] = field(default_factory=dict)


class Measures:
    """Counts actions and thoughts per agent. Safe with threads."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._agents: dict[str, _Agent] = {}
        self._process = Process()

    def after_fork(self) -> None:
        """A child counts by itself."""
        self._begin()

    def action(self, agent: str, duration_ms: float | None, is_error: bool) -> int:
        """Count an action; the how-manieth it is."""
        with self._lock:
            one = self._of(agent)
            one.actions += 1
            one.new += 1
            one.errors += is_error
            if duration_ms is not None:
                bucket = bucket_of(duration_ms)
                one.durations[bucket] = one.durations.get(bucket, 0) + 1
            return one.actions

    def thought(self, agent: str) -> int:
        """Count a thought; the how-manieth it is."""
        with self._lock:
            one = self._of(agent)
            one.thoughts += 1
            return one.thoughts

    def counts(self, agent: str) -> tuple[int, int]:
        """(actions, thoughts) of an agent so far."""
        with self._lock:
            one = self._agents.get(agent, _Agent())
            return one.actions, one.thoughts

    def report(self, own: str) -> dict[str, dict[str, float | None]]:
        """Metrics per agent since the last report: the publisher's own agent always, others where they acted."""
        process = self._process.read()
        with self._lock:
            names = [own, *(name for name, one in self._agents.items() if one.new and name != own)]
            return {name: process | self._since(self._of(name)) for name in names}

    def _since(self, one: _Agent) -> dict[str, float | None]:
        told = {
            "response_time_p50_ms": quantile(one.durations, 0.5),
            "response_time_p95_ms": quantile(one.durations, 0.95),
            "error_rate": one.errors / one.new if one.new else None,
        }
        one.new = one.errors = 0
        one.durations = {}
        return told

    def _of(self, agent: str) -> _Agent:
        if agent not in self._agents and len(self._agents) >= MAX_AGENTS:
            self._agents.pop(next(iter(self._agents)))
        return self._agents.setdefault(agent, _Agent())


class Process:
    """Memory and CPU of this process and its children."""

    def __init__(self) -> None:
        self._me: psutil.Process | None = None
        self._before: dict[int, float] = {}
        self._at = 0.0

    def read(self) -> dict[str, float | None]:
        """memory_bytes (resident, shared pages counted in each), cpu_percent of one core since the last reading."""
        if "psutil" not in sys.modules:
            with lifetime.loading():
                import_module("psutil")
        import psutil

        if self._me is None:
            self._me = psutil.Process(os.getpid())
        memory, spent = 0, {}
        for process in (self._me, *_children(self._me)):
            try:
                with process.oneshot():
                    memory += process.memory_info().rss
                    times = process.cpu_times()
                    spent[process.pid] = times.user + times.system
            except psutil.Error:
                continue  # it has just ended
        now = time.monotonic()
        # A child that is new since the last reading has spent all of its time since then.
        used = sum(seconds - self._before.get(pid, 0.0) for pid, seconds in spent.items())
        percent = 100 * used / (now - self._at) if self._at else None
        self._before, self._at = spent, now
        return {"memory_bytes": float(memory), "cpu_percent": percent}


def _children(process: Any) -> list[Any]:
    import psutil

    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []
