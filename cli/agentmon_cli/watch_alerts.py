"""What fires, as `agentmon watch` knows it: by agent.monitor.frontend, and from outside, by agent.metrics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from agentmon.contracts.json_text import opened, read_object, storable
from agentmon.contracts.message import Limits
from agentmon.contracts.running import MAX_NAMES

#: An alert that nobody says again is taken for over after this time.
FIRES_FOR = timedelta(minutes=10)
_ENDED = ("resolved", "ok", "ended")
#: Of each part of an alert a screen shows a line at the most.
_PART = 200
_MAX_DEPTH = Limits().max_depth


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
        message = read_object(payload, _MAX_DEPTH) or {}
        fields = {**message, **(opened(message.get("event"), _MAX_DEPTH) or {})}
        metrics = opened(fields.get("metrics"), _MAX_DEPTH) or {}
        alert, *figures = (metrics[name].value if name in metrics else None for name in ("alert", "value", "threshold"))
        if alert:
            name = f"outside {_text(row['agent_id'])} {_text(alert)}"
            self._fire(name, ("from outside:", row["agent_id"], alert, *figures), row["ingest_time"])

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
    if value is None or isinstance(value, dict | list):
        return "" if value is None else "…"
    return (storable(value) if isinstance(value, str) else json.dumps(value))[:_PART]
