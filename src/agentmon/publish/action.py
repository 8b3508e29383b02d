"""An action while it goes on: seen live as running, timed, and told with its outcome once it has ended."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from agentmon.contracts.topics import ACTION_STARTED, ACTIONS
from agentmon.contracts.values import is_error
from agentmon.publish.clean import str_of

if TYPE_CHECKING:
    from agentmon.publish.publisher import AgentStreamingPublisher


class Action:
    """What `publisher.action(…)` gives. Set what is known of it before it ends; `fields` go into the message too."""

    def __init__(
        self,
        publisher: AgentStreamingPublisher,
        tool: str,
        action: str,
        context: Mapping[str, Any] | None,
        reasoning: str,
        agent_id: str | None,
        session_id: str | None,
        fields: Mapping[str, Any],
    ) -> None:
        self._publisher = publisher
        self._who = {"agent_id": agent_id, "session_id": session_id}
        self._began = 0.0
        self.span_id = secrets.token_hex(8)
        self.tool = tool
        self.action = action
        self.context = context
        self.reasoning = reasoning
        self.fields = dict(fields)
        self.result: Any = None
        self.reward: float | None = None
        self.success: bool | None = None
        self.error: Any = None
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.cache_read_tokens: int | None = None
        self.cache_write_tokens: int | None = None
        self.reasoning_tokens: int | None = None
        self.cost_usd: float | None = None

    def begin(self) -> Action:
        """Announce it, and start the clock."""
        self._began = time.perf_counter()
        started = {"tool": self.tool, "action": self.action, "context": self.context, "reasoning": self.reasoning}
        told = {"type": ACTION_STARTED, "span_id": self.span_id, **self.fields, **started}
        self._publisher._publish(ACTIONS, told, self._who["agent_id"], self._who["session_id"])
        return self

    def end(self, error: BaseException | None = None) -> None:
        """Tell its outcome. It has succeeded if nothing was raised, unless success or reward say otherwise."""
        if error is not None:
            self.error = f"{type(error).__name__}: {str_of(error)}"
            self.success = False
        elif self.success is None and self.reward is None:
            self.success = not is_error(self.error)
        self._publisher.publish_action(
            self.tool,
            self.action,
            self.reward,
            self.context,
            self.reasoning,
            success=self.success,
            result=self.result,
            error=self.error,
            duration_ms=round((time.perf_counter() - self._began) * 1000, 3),
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cache_read_tokens=self.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens,
            reasoning_tokens=self.reasoning_tokens,
            cost_usd=self.cost_usd,
            **self._who,
            **{**self.fields, "span_id": self.span_id},
        )

    def __enter__(self) -> Action:
        return self.begin()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.end(error)
