"""DSPy: `dspy.configure(callbacks=[AgentmonCallback(publisher)])` shows what a program does. Needs the extra `dspy`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import dspy
from dspy.utils.callback import ACTIVE_CALL_ID, BaseCallback

from agentmon.contracts.values import number, reward
from agentmon.publish.publisher import AgentStreamingPublisher
from agentmon.publish.running import Running
from agentmon.publish.usage import tokens

#: Where a program's reasoning stands in a prediction: ReAct's and ChainOfThought's names.
_REASONING = ("next_thought", "reasoning", "rationale")
#: ReAct's own way to say that it is done is no tool of the user's.
_FINISH = "finish"


class AgentmonCallback(BaseCallback):
    """Tools and language-model calls as actions (with time, tokens and cost), reasoning as thoughts, metric values of
    `dspy.Evaluate` as rewards, whole runs of a program as messages on agent.tasks."""

    def __init__(self, publisher: AgentStreamingPublisher) -> None:
        self._publisher = publisher
        self._running = Running(publisher)
        self._runs: dict[str, tuple[str, Any, float]] = {}
        self._models: dict[str, Any] = {}
        self._predictors: set[str] = set()
        self._metrics: dict[str, str] = {}

    def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        if instance.name != _FINISH:
            self._running.begin(call_id, instance.name, "call", {"arguments": inputs.get("kwargs", inputs)})

    def on_tool_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        self._running.end(call_id, exception, result=outputs)

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._models[call_id] = instance
        given = inputs.get("messages") or inputs.get("prompt")
        self._running.begin(call_id, str(getattr(instance, "model", "model")), "chat", {"arguments": given})

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        entry = _entry(self._models.pop(call_id, None), outputs)
        usage = dict(entry.get("usage") or {})
        self._running.end(
            call_id,
            exception,
            result=outputs,
            **tokens(usage),
            cost_usd=number(entry.get("cost")),
        )

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        if isinstance(instance, dspy.Predict):
            self._predictors.add(call_id)
        if ACTIVE_CALL_ID.get() is None:
            given = inputs.get("kwargs", inputs)
            self._runs[call_id] = (type(instance).__name__, given, time.perf_counter())

    def on_module_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        if call_id in self._predictors:
            self._predictors.discard(call_id)
            self._think(outputs)
        run = self._runs.pop(call_id, None)
        if run is not None:
            name, given, begun = run
            told = {"type": "module_run", "module": name, "inputs": given, "outputs": _fields(outputs)}
            told["duration_ms"] = round((time.perf_counter() - begun) * 1000, 3)
            told["error"] = f"{type(exception).__name__}: {exception}" if exception else None
            self._publisher.publish("agent.tasks", told)

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        metric = inputs.get("metric") or instance.metric
        self._metrics[call_id] = getattr(metric, "__name__", type(metric).__name__)

    def on_evaluate_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        metric = self._metrics.pop(call_id, None)
        if exception is not None:
            return
        scores = [_reward(score) for *_, score in getattr(outputs, "results", None) or []]
        rewards = {example: score for example, score in enumerate(scores) if score is not None}
        for example, score in rewards.items():
            self._publisher.publish_reward(score, data={"metric": metric, "example": example})
        if rewards:
            mean = sum(rewards.values()) / len(rewards)
            figures = {"total_events": len(rewards), "avg_reward": mean, "metric": metric}
            self._publisher.publish_learning_progress(figures)

    def _think(self, outputs: Any) -> None:
        fields = _fields(outputs)
        thought = next((fields[name] for name in _REASONING if fields.get(name)), None)
        if thought is not None:
            tool = fields.get("next_tool_name")
            self._publisher.publish_thought(str(thought), {"tool": str(tool)} if tool else {})


def _reward(score: Any) -> float | None:
    """What a metric gave for an example: a number, a boolean, also numpy's, or a prediction or object with a score."""
    try:
        score = score["score"] if isinstance(score, Mapping) else getattr(score, "score", score)
        item = getattr(score, "item", None)
        return reward(item() if callable(item) else score)
    except Exception:  # noqa: BLE001 - an object of the user's, which may raise when it is looked at
        return None


def _entry(model: Any, outputs: Any) -> dict[str, Any]:
    """The model's own record of this call; other threads may have called it since."""
    for entry in reversed(getattr(model, "history", [])[-50:]):
        if entry.get("outputs") == outputs or entry.get("outputs") is outputs:
            return dict(entry)
    return {}


def _fields(outputs: Any) -> dict[str, Any]:
    items = getattr(outputs, "items", None)
    return dict(items()) if callable(items) else {} if outputs is None else {"output": outputs}
