"""One message of each kind, followed from the publisher's call to Kafka, to the live topic and to its Delta row."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from agentmon.contracts.measures import SELFTEST_AGENT
from agentmon.contracts.topics import ACTION_STARTED, ACTIONS, FRONTEND, LEARNING, METRICS, THOUGHTS
from agentmon.errors import KafkaUnreachable, NoLakeError
from agentmon.lake.connection import open_lake
from agentmon.live.echo import Echo, listening
from agentmon.publish.publisher import AgentStreamingPublisher
from agentmon.publish.shell import home_publisher
from agentmon.settings import Settings

COLUMNS = ["kind", "topic", "table", "kafka_s", "live_s", "delta_s"]
_LOOK_S = 1.0


@dataclass
class Path:
    """One message's way: seconds from the call until it was seen at each hop, None where it has not been."""

    kind: str
    topic: str
    table: str
    update: str | None  # type of its live message; None: it has none
    event_id: str
    kafka_s: float | None = None
    live_s: float | None = None
    delta_s: float | None = None
    place: str = ""

    def stuck(self) -> str | None:
        """Where it got stuck and what to do; None where it arrived everywhere."""
        if self.kafka_s is None:
            return f"{self.kind}: Kafka took it, but it can't be read from {self.topic}: see agentmon topics"
        if self.delta_s is None:
            return f"{self.kind}: is in Kafka at {self.place}, but not in the table {self.table}: see agentmon lag"
        if self.update and self.live_s is None:
            return (
                f"{self.kind}: is in the table {self.table}, but no {self.update} came by {FRONTEND}: see agentmon lag"
            )
        return None


def follow(settings: Settings, timeout_s: float) -> list[Path]:
    """Publish one of each kind as the agent of self-tests and wait. Raises KafkaUnreachable where Kafka is not there."""
    with (
        listening(settings, (ACTIONS, THOUGHTS, LEARNING, METRICS, FRONTEND)) as echo,
        home_publisher(settings, SELFTEST_AGENT, None) as publisher,
    ):
        begun = time.monotonic()
        paths = _publish(publisher)
        if not publisher.flush(timeout_s):
            raise KafkaUnreachable(
                f"Kafka at {settings.bootstrap} has not taken the messages within {timeout_s:g} s; they wait in {settings.home}, and the next publisher there sends them"
            )
        _listen(echo, paths, begun, time.monotonic() + timeout_s, settings)
    return paths


def _publish(publisher: AgentStreamingPublisher) -> list[Path]:
    started = {"type": ACTION_STARTED, "tool": "selftest", "action": "start"}
    progress = {"total_events": 1}
    return [
        Path("event", ACTIONS, "events", None, publisher.publish(ACTIONS, started) or ""),
        Path("action", ACTIONS, "actions", "action_update", publisher.publish_action("selftest", reward=1.0) or ""),
        Path("thought", THOUGHTS, "thoughts", "thought_update", publisher.publish_thought("does it arrive?") or ""),
        Path("learning", LEARNING, "learning", "learning_update", publisher.publish_learning_progress(progress) or ""),
        Path("metrics", METRICS, "metrics", "metrics_update", publisher.publish_metrics({"selftest": 1.0}) or ""),
    ]


def _listen(echo: Echo, paths: list[Path], begun: float, until: float, settings: Settings) -> None:
    look_at = begun + _LOOK_S
    for heard in echo.messages(until):
        now = time.monotonic()
        if heard is not None:
            _hear(heard, paths, round(now - begun, 3))
        if now >= look_at:
            _look(settings.lake, paths, begun)
            look_at = time.monotonic() + _LOOK_S
        if not any(path.stuck() for path in paths):
            return


def _hear(heard: tuple[str, int, int, dict[str, Any]], paths: list[Path], seconds: float) -> None:
    topic, partition, offset, message = heard
    for path in paths:
        if topic == path.topic and message.get("event_id") == path.event_id:
            path.kafka_s, path.place = seconds, f"{topic}[{partition}] offset {offset}"
        if topic == FRONTEND and path.live_s is None and path.update and _is_about(message, path):
            path.live_s = seconds


def _is_about(message: dict[str, Any], path: Path) -> bool:
    data = message.get("data")
    if message.get("type") != path.update or not isinstance(data, dict):
        return False
    # Figures are an agent's, rows are a message's.
    is_figure = path.update in ("learning_update", "metrics_update")
    return bool(data.get("agent_id") == SELFTEST_AGENT if is_figure else data.get("event_id") == path.event_id)


def _look(lake: str, paths: list[Path], begun: float) -> None:
    waiting = [path for path in paths if path.delta_s is None]
    try:
        with open_lake(lake, {path.table for path in waiting}) as con:
            for path in waiting:
                # A row of today or, around midnight, of yesterday: the partition keeps all other files unread.
                found = con.execute(
                    f"SELECT count(*) FROM {path.table} WHERE event_date >= current_date - 1 AND event_id = $id",
                    {"id": path.event_id},
                ).fetchone()
                if found and found[0]:
                    path.delta_s = round(time.monotonic() - begun, 3)
    except NoLakeError:
        return  # the job has not made it yet
