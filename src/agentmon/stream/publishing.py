"""What screens hear of a micro-batch: the newest rows and the running figures, on agent.monitor.frontend.

The figures begin as the lake has them at a sealed position, and are brought forward with what tasks return. They are read
from the lake only before a batch's first commit: after it, an agent that comes back would be counted twice.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from agentmon.contracts.frontend import encode
from agentmon.contracts.running import Agent
from agentmon.contracts.topics import Place
from agentmon.lake.running import KnownAgents, read_running
from agentmon.settings import Settings
from agentmon.stream.batch import render_offsets
from agentmon.stream.counts import NO_ACTIONS, NO_METRICS
from agentmon.stream.figures import Figures
from agentmon.stream.output import Output
from agentmon.stream.updates import MOST, Update, chosen


class Publishing:
    """The running figures of one query. `send(updates)` publishes; `topic_ids`: topic → id, as positions are named by them."""

    def __init__(
        self,
        settings: Settings,
        send: Callable[[Iterable[Update]], None],
        start: Mapping[Place, int],
        topic_ids: Mapping[str, str],
    ) -> None:
        """As the lake has the figures at `start`.

        They are published: what was sealed, but not published when the job ended, would not be heard of until an
        agent's next event.
        """
        self._settings = settings
        self._send = send
        self._figures = Figures(settings.window_s, settings.watermark_s, settings.agent_silence_s)
        self._figures.agents, self._figures.silent = self._read()
        newest = {(name, self._figures.window_of(agent.newest)) for name, agent in self.agents.items()}
        send(self._messages(newest, start, topic_ids))

    @property
    def agents(self) -> dict[str, Agent]:
        """Running figures by agent."""
        return self._figures.agents

    def take_in(self, output: Output, end: Mapping[Place, int], topic_ids: Mapping[str, str]) -> None:
        """Bring the figures forward with a micro-batch that ends there, and publish what changed, and its newest rows."""
        figures, parts = self._figures, output.parts
        if "summaries" not in parts:
            return  # markers of transactions alone
        summaries = parts["summaries"]
        if returning := figures.silent.intersection(summaries["agent_id"].to_pylist() if figures.silent else ()):
            figures.agents |= self._read(returning).agents
            figures.silent -= returning
        changed = figures.add(summaries, parts.get("actions", NO_ACTIONS), parts.get("metrics", NO_METRICS))
        newest = chosen(parts["newest"], self._settings.newest_rows, MOST) if "newest" in parts else []
        self._send(itertools.chain(newest, self._messages(changed, end, topic_ids)))
        figures.drop_silent(time.time())

    def _messages(
        self, changed: Iterable[tuple[str, int]], end: Mapping[Place, int], topic_ids: Mapping[str, str]
    ) -> Iterator[Update]:
        messages = self._figures.messages(changed, position_name(end, topic_ids))
        return ((agent, encode(message)) for agent, message in messages)

    def _read(self, only: set[str] | None = None) -> KnownAgents:
        settings = self._settings
        return read_running(
            settings.lake,
            since_s=time.time() - settings.agent_silence_s,
            window_s=settings.window_s,
            watermark_s=settings.watermark_s,
            only=only,
        )


def position_name(end: Mapping[Place, int], topic_ids: Mapping[str, str]) -> str:
    """A short name of a position: the same offsets of the same topics always give the same."""
    text = render_offsets(end) + json.dumps({t: topic_ids.get(t) for t, _ in sorted(end)})
    return hashlib.sha256(text.encode()).hexdigest()[:16]
