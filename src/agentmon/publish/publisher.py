"""AgentStreamingPublisher: what an agent does, thinks and learns, to Kafka, without the agent noticing.

A call makes the message plain (secrets out, long texts cut), puts it into a file, and returns; a thread brings it to
Kafka (see outbox.py, journal.py, delivery.py). Nothing that Kafka, the disk or a message's contents do is raised.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agentmon.contracts import topics
from agentmon.contracts.values import amount, is_error
from agentmon.errors import UsageError
from agentmon.publish.action import Action
from agentmon.publish.clean import Cleaner, str_of
from agentmon.publish.delivery import Delivery
from agentmon.publish.measure import Measures
from agentmon.publish.outbox import Outbox, Stats
from agentmon.publish.record import MAX_KEY_BYTES
from agentmon.publish.redact import Redactor
from agentmon.settings import Settings

log = logging.getLogger("agentmon.publish")

#: Gets (topic, message) and says what is published: the message, another one, or a false value for nothing.
Filter = Callable[[str, dict[str, Any]], Any]

#: Kafka takes no more by default (message.max.bytes is 1,048,588, with what goes around a message).
MAX_MESSAGE_BYTES = 1_000_000


class AgentStreamingPublisher:
    """Publishes what one agent does. Safe with threads, asyncio and fork; one a process is enough.

    `project_root` is the agent's folder: messages wait there, in .agentmon-spill, while Kafka is away. `agent_id`
    defaults to AGENTMON_AGENT_ID, then to the folder's name; `session_id` to AGENTMON_SESSION_ID, then to one per
    publisher ("" is none). `keep` filters, `redactor` replaces the built-in one; all else is a setting
    (docs/settings.md). `reports` are the process's own metrics, every AGENT_METRICS_INTERVAL.

    Raises UsageError where project_root is no folder, and SettingError where an environment variable can't be used.
    """

    def __init__(
        self,
        project_root: str | os.PathLike[str] = ".",
        *,
        agent_id: str | None = None,
        session_id: str | None = None,
        settings: Settings | None = None,
        keep: Filter | None = None,
        redactor: Redactor | None = None,
        reports: bool = True,
    ) -> None:
        root = Path(project_root).expanduser().absolute()
        if not root.is_dir():
            raise UsageError(f"{root} is no folder: give the agent's project folder")
        self._settings = settings or Settings.from_env()
        self.agent_id = agent_id or self._settings.agent_id or root.resolve().name or "agent"
        self.session_id = self._settings.session_id or _new_session(self.agent_id) if session_id is None else session_id
        self._keep = keep
        most = self._settings.max_text_chars
        self._cleaner = Cleaner(most, (redactor or Redactor()) if self._settings.redact else None)
        self._most_bytes = min(MAX_MESSAGE_BYTES, self._settings.max_message_bytes)
        self._measures = Measures()
        self._filtered = 0
        self._numbers = _Numbers()
        me = weakref.ref(self)
        self._delivery = Delivery(
            self._settings,
            Outbox(root, self._settings.spill_bytes),
            (lambda: _report(me)) if reports else None,
            self._measures.after_fork,
        )
        # A publisher that nobody holds any more sends what it has, and its thread ends.
        weakref.finalize(self, self._delivery.retire).atexit = False
        self._delivery.start()

    def publish_action(
        self,
        tool: str,
        action: str = "call",
        reward: float | None = None,
        context: Mapping[str, Any] | None = None,
        reasoning: str = "",
        *,
        success: bool | None = None,
        result: Any = None,
        error: Any = None,
        duration_ms: float | None = None,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cost_usd: float | None = None,
        cache_read_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        **more: Any,
    ) -> str | None:
        """What the agent did; its event_id, or None where it is not published (filtered, or no room left).

        input_tokens are all that the model read, those from a cache and those written into it included.
        Without `success`, a reward above 0 means success. Further fields by keyword stay in the message.
        """
        agent = agent_id or self.agent_id
        number = self._measures.action(agent, amount(duration_ms), is_error(error))
        message = {
            **more,
            "type": "agent_action",
            "action_id": f"{number}",
            "tool": tool,
            "action": action,
            "reward": reward,
            "success": success,
            "result": result,
            "error": error,
            "duration_ms": duration_ms,
            "reasoning": reasoning or None,
            "context": {} if context is None else context,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cache_read_tokens": cache_read_tokens,
            "cache_write_tokens": cache_write_tokens,
            "reasoning_tokens": reasoning_tokens,
            "cost_usd": cost_usd,
        }
        return self._publish(topics.ACTIONS, message, agent, session_id)

    def publish_thought(
        self,
        thought: str,
        context: Mapping[str, Any] | None = None,
        confidence: float | None = None,
        *,
        agent_id: str | None = None,
        session_id: str | None = None,
        **more: Any,
    ) -> str | None:
        """What the agent thought, with its own confidence (0..1) where it has one; as publish_action."""
        agent = agent_id or self.agent_id
        sample = self._settings.thought_sample
        number = self._measures.thought(agent)
        if sample < 1 and random.random() >= sample:  # noqa: S311 - a sample, no secret
            self._filtered += 1
            return None
        message = {
            **more,
            "type": "agent_thought",
            "thought_id": f"{number}",
            "thought": thought,
            "confidence": confidence,
            "context": {} if context is None else context,
        }
        return self._publish(topics.THOUGHTS, message, agent, session_id)

    def publish_learning_progress(
        self, data: Mapping[str, Any], *, agent_id: str | None = None, session_id: str | None = None, **more: Any
    ) -> str | None:
        """How learning goes: total_events, success_rate, avg_reward, learning_trend and what else there is."""
        message = {**more, "type": "learning_progress", "data": data}
        return self._publish(topics.LEARNING, message, agent_id, session_id)

    def publish_reward(
        self,
        reward: float,
        tool: str | None = None,
        *,
        data: Mapping[str, Any] | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        **more: Any,
    ) -> str | None:
        """The reward of a run, which ends its session."""
        message = {**more, "type": more.get("type", "reward"), "tool": tool, "reward": reward, "data": data}
        return self._publish(topics.LEARNING, message, agent_id, session_id)

    def publish_metrics(
        self, metrics: Mapping[str, Any], *, agent_id: str | None = None, session_id: str | None = None, **more: Any
    ) -> str | None:
        """Any numbers by name. What the publisher measures by itself it sends every AGENT_METRICS_INTERVAL."""
        actions, thoughts = self._measures.counts(agent_id or self.agent_id)
        counts = {"action_count": actions, "thought_count": thoughts}
        message = {**counts, **more, "type": "agent_metrics", "metrics": metrics}
        return self._publish(topics.METRICS, message, agent_id, session_id)

    def publish(
        self, topic: str, message: Mapping[str, Any], *, agent_id: str | None = None, session_id: str | None = None
    ) -> str | None:
        """Any object to any agent.* topic, which is made where it is missing. Raises UsageError for other topics."""
        if not topics.is_publishable(topic):
            raise UsageError(f"{topic!r} can't be published to: it takes agent.NAME, other than agent.monitor.*")
        if not isinstance(message, Mapping):
            raise UsageError(f"a message is a mapping of names to values, not {type(message).__name__}")
        return self._publish(topic, message, agent_id, session_id)

    def publish_line(self, action: Mapping[str, Any], *, maybe_repeat: bool) -> str | None:
        """An action as a file has it, with an event_id of its own; marked where it may have been sent before."""
        agent = action.get("agent_id")
        self._measures.action(str_of(agent) if agent else self.agent_id, None, is_error(action.get("error")))
        return self._publish(topics.ACTIONS, action, None, None, maybe_repeat=maybe_repeat)

    def action(
        self,
        tool: str,
        action: str = "call",
        *,
        context: Mapping[str, Any] | None = None,
        reasoning: str = "",
        agent_id: str | None = None,
        session_id: str | None = None,
        **more: Any,
    ) -> Action:
        """`with publisher.action("grep", "search_code", context={…}) as a:` times what is done in it.

        It shows as running at once, and counts as an action once it has ended; an exception is its error and goes on.
        """
        return Action(self, tool, action, context, reasoning, agent_id, session_id, more)

    def stats(self) -> Stats:
        """What became of this process's messages: accepted = sent + spilled + dropped."""
        return self._delivery.outbox.stats(self._filtered)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until Kafka has all that was published before; whether it has."""
        return self._delivery.flush(timeout_s)

    def close(self, timeout_s: float | None = None) -> bool:
        """Send what is left, for AGENTMON_EXIT_WAIT at the most; whether Kafka has everything. The rest stays on disk."""
        return self._delivery.close(timeout_s)

    def __enter__(self) -> AgentStreamingPublisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _publish(
        self,
        topic: str,
        message: Mapping[str, Any],
        agent_id: str | None,
        session_id: str | None,
        *,
        maybe_repeat: bool = False,
    ) -> str | None:
        """Everything comes through here. Never raises."""
        try:
            given = message.get("agent_id"), message.get("session_id"), message.get("event_id")
            agent = str_of(agent_id or given[0] or self.agent_id)
            event_id = str_of(given[2] or self._numbers.next())
            is_timed = message.get("timestamp") is not None or message.get("ts") is not None
            plain = self._cleaner.message(message if is_timed else {"timestamp": time.time(), **message})
            plain |= {"agent_id": agent, "event_id": event_id}
            session = session_id if session_id is not None else given[1] or self.session_id
            if session:
                plain["session_id"] = str_of(session)
            if self._keep is not None:
                kept = self._kept(topic, plain)
                if kept is None:
                    return None
                plain = kept
            value = self._cleaner.encoded(plain, self._most_bytes)
            key = agent.encode("utf-8", "replace")[:MAX_KEY_BYTES]
            accepted = self._delivery.outbox.accept(topic, key, value, maybe_repeat)
            self._delivery.wake()
            return event_id if accepted else None
        except Exception:
            log.warning("a message to %s could not be published", topic, exc_info=True)
            return None

    def _kept(self, topic: str, message: dict[str, Any]) -> dict[str, Any] | None:
        """What the user's filter leaves. One that fails may be there for privacy: then nothing goes out."""
        assert self._keep is not None
        try:
            kept = self._keep(topic, message)
        except Exception:
            log.warning("the filter failed: the message to %s is left out", topic, exc_info=True)
            kept = None
        if kept is True or isinstance(kept, dict):
            return message if kept is True else kept or None
        if kept:
            return message
        self._filtered += 1
        return None

    def _report(self) -> None:
        for agent, metrics in self._measures.report(self.agent_id).items():
            told = {name: value for name, value in metrics.items() if value is not None}
            own = self.session_id if agent == self.agent_id else ""
            actions, thoughts = self._measures.counts(agent)
            message = {"type": "agent_metrics", "metrics": told, "action_count": actions, "thought_count": thoughts}
            self._publish(topics.METRICS, message, agent, own)


class _Numbers:
    """Ids that no other message has: random per process, then counted. Safe with fork."""

    def __init__(self) -> None:
        self._pid, self._prefix, self._next = 0, "", 0

    def next(self) -> str:
        pid = os.getpid()
        if pid != self._pid:
            self._prefix, self._pid = secrets.token_hex(8), pid
        self._next += 1  # two threads may see one number: the clock keeps them apart
        return f"{self._prefix}-{self._next:x}-{time.perf_counter_ns():x}"


def _new_session(agent: str) -> str:
    return f"{agent}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(3)}"


def _report(publisher: weakref.ref[AgentStreamingPublisher]) -> None:
    alive = publisher()
    if alive is not None:
        alive._report()
