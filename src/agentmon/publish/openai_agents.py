"""OpenAI Agents SDK: `agents.add_trace_processor(AgentmonProcessor(publisher))`. Needs the extra `openai-agents`."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from agents.tracing import TracingProcessor

from agentmon.contracts.topics import ACTION_STARTED, ACTIONS
from agentmon.publish.publisher import AgentStreamingPublisher
from agentmon.publish.usage import tokens

_MODEL = ("generation", "response")


class AgentmonProcessor(TracingProcessor):
    """Function calls, handoffs, guardrails and model calls as actions, reasoning as thoughts.

    A trace is a session: its group_id (a conversation's), else its own id.
    """

    def __init__(self, publisher: AgentStreamingPublisher) -> None:
        self._publisher = publisher
        self._sessions: dict[str, str] = {}

    def on_trace_start(self, trace: Any) -> None:
        self._sessions[trace.trace_id] = getattr(trace, "group_id", None) or trace.trace_id

    def on_trace_end(self, trace: Any) -> None:
        self._sessions.pop(trace.trace_id, None)

    def on_span_start(self, span: Any) -> None:
        if span.span_data.type == "function":
            told = {"type": ACTION_STARTED, "span_id": span.span_id, "tool": span.span_data.name, "action": "call"}
            self._publisher.publish(ACTIONS, told, session_id=self._session(span))

    def on_span_end(self, span: Any) -> None:
        data, kind = span.span_data, span.span_data.type
        if kind == "function":
            self._act(span, data.name, "call", {"arguments": _opened(data.input)}, result=data.output)
        elif kind in _MODEL:
            self._model_call(span, data)
        elif kind == "handoff":
            self._act(span, "handoff", "call", {"from": data.from_agent, "to": data.to_agent})
        elif kind == "guardrail":
            self._act(span, data.name, "guard", {}, result="triggered" if data.triggered else "passed")

    def shutdown(self) -> None:
        self._publisher.close()

    def force_flush(self) -> None:
        self._publisher.flush()

    def _model_call(self, span: Any, data: Any) -> None:
        response = getattr(data, "response", None)
        output = response.output if response is not None else getattr(data, "output", None) or []
        for thought in _reasoning(output):
            self._publisher.publish_thought(thought, session_id=self._session(span))
        usage = data.usage or _fields(getattr(response, "usage", None))
        self._act(
            span,
            str(getattr(data, "model", None) or getattr(response, "model", None) or "model"),
            "chat",
            {"arguments": data.input},
            result=getattr(response, "output_text", None) or [_fields(item) for item in output],
            **tokens(usage),
        )

    def _act(self, span: Any, tool: str, action: str, context: dict[str, Any], **known: Any) -> None:
        error = span.error
        self._publisher.publish_action(
            tool,
            action,
            context=context,
            success=error is None,
            error=f"{error.get('message')}: {error.get('data')}" if error else None,
            duration_ms=_duration_ms(span),
            session_id=self._session(span),
            span_id=span.span_id,
            **known,
        )

    def _session(self, span: Any) -> str:
        return self._sessions.get(span.trace_id, str(span.trace_id))


def _duration_ms(span: Any) -> float | None:
    if not span.started_at or not span.ended_at:
        return None
    begun, ended = (datetime.fromisoformat(moment) for moment in (span.started_at, span.ended_at))
    return round((ended - begun).total_seconds() * 1000, 3)


def _reasoning(output: Any) -> list[str]:
    found = []
    for item in map(_fields, output):
        if item.get("type") == "reasoning":
            parts = [*(item.get("summary") or []), *(item.get("content") or [])]
            found += [str(text) for part in parts if (text := _fields(part).get("text"))]
    return found


def _fields(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    return dict(value.model_dump()) if hasattr(value, "model_dump") else {}


def _opened(value: Any) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value
