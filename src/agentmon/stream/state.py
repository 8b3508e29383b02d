"""How much the job keeps in memory for its running figures, and how far their windows are."""

from __future__ import annotations

import sys
from dataclasses import fields, is_dataclass
from typing import Any

from agentmon.contracts.running import Agent
from agentmon.stream.figures import iso

#: Agents that are measured; the others are taken to be like these.
_SAMPLE = 10


def state_of(agents: dict[str, Agent], watermark_s: float) -> dict[str, Any]:
    """agents, windows, bytes (estimated from a sample), and watermark: that of the agent that is furthest behind.

    May be called while another thread changes the agents: whatever is looked through is copied first.
    """
    kept = list(agents.values())
    sample = kept[:: max(1, len(kept) // _SAMPLE)]
    per_agent = sum(map(_size, sample)) / len(sample) if sample else 0.0
    oldest = min((agent.newest for agent in kept), default=None)
    return {
        "agents": len(kept),
        "windows": sum(len(agent.windows) for agent in kept),
        "bytes": sys.getsizeof(agents) + round(per_agent * len(kept)),
        "watermark": None if oldest is None else iso(oldest - round(watermark_s * 1e6)),
    }


def _size(value: Any) -> int:
    """Bytes of a value and of all that it holds; what several hold (short texts, small numbers) counts for each."""
    inner: list[Any] = []
    if is_dataclass(value):
        inner = [getattr(value, field.name) for field in fields(value)]
    elif isinstance(value, dict):
        inner = [part for item in list(value.items()) for part in item]
    elif isinstance(value, list | tuple):
        inner = list(value)
    return sys.getsizeof(value) + sum(map(_size, inner))
