"""Actions that a framework's callbacks begin and end, by the framework's own ids."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from agentmon.publish.action import Action
from agentmon.publish.publisher import AgentStreamingPublisher

#: Begun and never ended (a framework that was interrupted): the oldest are forgotten.
_MOST = 10_000


class Running:
    """Begins and ends actions. Safe with threads."""

    def __init__(self, publisher: AgentStreamingPublisher) -> None:
        self._publisher = publisher
        self._lock = threading.Lock()
        self._actions: OrderedDict[str, Action] = OrderedDict()

    def begin(
        self, call: object, tool: str, action: str, context: Mapping[str, Any], session_id: str | None = None
    ) -> None:
        """Announce an action under a call's id."""
        begun = self._publisher.action(tool, action, context=context, session_id=session_id).begin()
        with self._lock:
            self._actions[str(call)] = begun
            if len(self._actions) > _MOST:
                self._actions.popitem(last=False)

    def end(self, call: object, error: BaseException | None = None, **known: Any) -> None:
        """End it, with what is known by now: result, error, input_tokens, …"""
        with self._lock:
            action = self._actions.pop(str(call), None)
        if action is None:
            return
        for name, value in known.items():
            setattr(action, name, value)
        action.end(error)
