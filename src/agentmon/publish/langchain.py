"""LangChain and LangGraph: `config={"callbacks": [AgentmonHandler(publisher)]}`. Needs the extra `langchain`."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler

from agentmon.publish.publisher import AgentStreamingPublisher
from agentmon.publish.running import Running
from agentmon.publish.usage import tokens

_REASONING_BLOCKS = {"reasoning": "reasoning", "thinking": "thinking"}


class AgentmonHandler(BaseCallbackHandler):
    """Tools, retrievers and model calls as actions, reasoning as thoughts, whole runs as messages on agent.tasks.

    A run belongs to the session of its metadata: LangGraph's thread_id, or session_id; else to the publisher's.
    """

    run_inline = True  # in order, also where the chain is asynchronous

    def __init__(self, publisher: AgentStreamingPublisher) -> None:
        self._publisher = publisher
        self._running = Running(publisher)
        self._sessions: dict[UUID, str | None] = {}
        self._runs: dict[UUID, tuple[str, Any, float]] = {}

    def on_tool_start(
        self, serialized: dict[str, Any], input_str: str, *, run_id: UUID, inputs: Any = None, **more: Any
    ) -> None:
        name = (serialized or {}).get("name") or more.get("name") or "tool"
        self._begin(run_id, name, "call", input_str if inputs is None else inputs, more)

    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        failed = getattr(output, "status", None) == "error"
        result = getattr(output, "content", output)
        self._end(run_id, result=result, **({"error": result, "success": False} if failed else {}))

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self._end(run_id, error)

    def on_retriever_start(self, serialized: dict[str, Any], query: str, *, run_id: UUID, **more: Any) -> None:
        name = more.get("name") or (serialized or {}).get("name") or "retriever"
        self._begin(run_id, name, "retrieve", query, more)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **_: Any) -> None:
        self._end(run_id, result=[getattr(one, "page_content", one) for one in documents])

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self._end(run_id, error)

    def on_chat_model_start(self, serialized: dict[str, Any], messages: Any, *, run_id: UUID, **more: Any) -> None:
        told = [[f"{one.type}: {one.text}" for one in turn] for turn in messages]
        self._begin(run_id, _model(serialized, more), "chat", told[0] if len(told) == 1 else told, more)

    def on_llm_start(self, serialized: dict[str, Any], prompts: list[str], *, run_id: UUID, **more: Any) -> None:
        self._begin(run_id, _model(serialized, more), "complete", prompts, more)

    def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
        message = getattr(response.generations[0][0], "message", None) if response.generations else None
        text = response.generations[0][0].text if response.generations else None
        calls = getattr(message, "tool_calls", None)
        for thought in [*_reasoning(message), *([text] if text and calls else [])]:
            self._publisher.publish_thought(thought, session_id=self._sessions.get(run_id))
        usage = getattr(message, "usage_metadata", None) or (response.llm_output or {}).get("token_usage") or {}
        self._end(
            run_id,
            result=text or [{"tool": call["name"], "arguments": call["args"]} for call in calls or []],
            **tokens(usage),
        )

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self._end(run_id, error)

    def on_agent_action(self, action: Any, *, run_id: UUID, **_: Any) -> None:
        if action.log:
            self._publisher.publish_thought(action.log, {"tool": action.tool}, session_id=self._sessions.get(run_id))

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: UUID, **more: Any) -> None:
        self._session(run_id, more)
        if more.get("parent_run_id") is None:
            name = more.get("name") or (serialized or {}).get("name") or "chain"
            self._runs[run_id] = (name, inputs, time.perf_counter())

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        self._ended(run_id, outputs, None)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self._ended(run_id, None, error)

    def _begin(self, run_id: UUID, tool: str, action: str, arguments: Any, more: dict[str, Any]) -> None:
        self._running.begin(run_id, tool, action, {"arguments": arguments}, self._session(run_id, more))

    def _end(self, run_id: UUID, error: BaseException | None = None, **known: Any) -> None:
        self._running.end(run_id, error, **known)
        self._sessions.pop(run_id, None)

    def _ended(self, run_id: UUID, outputs: Any, error: BaseException | None) -> None:
        run = self._runs.pop(run_id, None)
        session = self._sessions.pop(run_id, None)
        if run is not None:
            name, inputs, begun = run
            told = {"type": "chain_run", "chain": name, "inputs": inputs, "outputs": outputs}
            told["duration_ms"] = round((time.perf_counter() - begun) * 1000, 3)
            told["error"] = f"{type(error).__name__}: {error}" if error else None
            self._publisher.publish("agent.tasks", told, session_id=session)

    def _session(self, run_id: UUID, more: dict[str, Any]) -> str | None:
        metadata = more.get("metadata") or {}
        own = metadata.get("session_id") or metadata.get("thread_id")
        parent = more.get("parent_run_id")
        session = str(own) if own else self._sessions.get(parent) if parent else None
        self._sessions[run_id] = session
        return session


def _model(serialized: dict[str, Any] | None, more: dict[str, Any]) -> str:
    parameters = {**((serialized or {}).get("kwargs") or {}), **(more.get("invocation_params") or {})}
    named = parameters.get("model") or parameters.get("model_name") or (more.get("metadata") or {}).get("ls_model_name")
    return str(named or more.get("name") or (serialized or {}).get("name") or "model")


def _reasoning(message: Any) -> list[str]:
    """Reasoning as the providers give it: blocks of the content, or a field beside it."""
    content = getattr(message, "content", None)
    blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    found = [block.get(_REASONING_BLOCKS[block["type"]]) for block in blocks if block.get("type") in _REASONING_BLOCKS]
    beside = (getattr(message, "additional_kwargs", None) or {}).get("reasoning_content")
    return [str(text) for text in [*found, beside] if text]
