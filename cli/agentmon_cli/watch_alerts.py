"""What fires, as `agentmon watch` knows it: by agent.monitor.frontend, and from outside, by agent.metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from agentmon.contracts.json_text import as_object, as_text, read_object
from agentmon.contracts.message import Limits, within
from agentmon.contracts.running import MAX_NAMES

#: An alert that nobody says again is taken for over after this time.
FIRES_FOR = timedelta(minutes=10)
_ENDED = ("resolved", "ok", "ended")
#: Of each part of an alert a screen shows a line at the most.
_PART = 200
_LIMITS = Limits()


class Alerts:
    """At most MAX_NAMES alerts, the newest: anybody may send one."""

    def __init__(self) -> None:
        self._fired: dict[str, tuple[datetime, str]] = {}

    def take_update(self, data: Mapping[str, Any], now: datetime) -> None:
        """Take in an alert_update of agent.monitor.frontend, which also says when one has ended."""
        name = _text(data.get("id")) or _text(data.get("rule"))
        if data.get("state") in _ENDED:
            self._fired.pop(name, None)
        else:
            self._fire(name, (data.get(part) for part in ("rule", "agent_id", "why")), now)

    def take_row(self, row: Mapping[str, Any]) -> None:
        """Take in a row of `metrics`: what fires outside comes as {"metrics": {"alert", "value", "threshold"}}."""
        payload = row["payload"] or ""
        if "alert" not in payload:  # nearly all: these need not be read again
            return
        message = read_object(payload, _LIMITS.max_depth) or {}
        metrics = within(message.get("event"), "metrics", _LIMITS) or message.get("metrics")
        told = as_object(metrics, _LIMITS.max_depth) or {}
        if told.get("alert"):
            parts = "from outside:", row["agent_id"], *(told.get(part) for part in ("alert", "value", "threshold"))
            self._fire(f"outside {_text(row['agent_id'])} {_text(told['alert'])}", parts, row["ingest_time"])

    def firing(self, now: datetime) -> list[str]:
        """What fires, the newest first."""
        return [text for at, text in reversed(self._fired.values()) if now - at < FIRES_FOR]

    def _fire(self, name: str, parts: Iterable[Any], at: datetime) -> None:
        text = " ".join(filter(None, map(_text, parts)))
        if not text:
            return
        self._fired.pop(name, None)
        self._fired[name] = at, text
        if len(self._fired) > MAX_NAMES:
            del self._fired[next(iter(self._fired))]


def _text(value: Any) -> str:
    """A part of an alert as text; what is no text, number or truth stays out, it may be nested without end."""
    return "…" if isinstance(value, dict | list) else (as_text(value) or "")[:_PART]
