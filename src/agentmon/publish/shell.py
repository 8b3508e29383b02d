"""Publishing from a shell: JSON lines, and a person's feedback. Here Kafka has to be there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentmon.contracts import topics
from agentmon.contracts.json_text import read_object
from agentmon.contracts.values import reward
from agentmon.errors import KafkaUnreachable, UsageError
from agentmon.publish.publisher import AgentStreamingPublisher
from agentmon.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What `agentmon publish` takes beside the name of a topic.
KINDS = {name.removeprefix("agent."): name for name in topics.tables_by_topic()}
#: Who speaks where nobody is named: the home's folder is no agent.
NAMELESS = "shell"
#: What is not acknowledged after so long is left to the next publisher of this home.
_WAIT_S = 30.0


@dataclass
class Told:
    """What became of the lines: how many were sent, and one sentence for each that was not."""

    sent: int = 0
    bad: list[str] = field(default_factory=list)


def topic_of(kind: str) -> str:
    """The topic that a kind stands for. Raises UsageError.

    >>> topic_of("actions"), topic_of("agent.tasks")
    ('agent.actions', 'agent.tasks')
    """
    topic = KINDS.get(kind, kind)
    if not topics.is_publishable(topic):
        raise UsageError(f"{kind!r} can't be published: it takes {', '.join(KINDS)}, or a topic agent.NAME")
    return topic


@contextmanager
def home_publisher(
    settings: Settings, agent_id: str | None, session_id: str | None
) -> Iterator[AgentStreamingPublisher]:
    """A publisher for a command. Raises KafkaUnreachable at once where no Kafka answers, and at the end where it left."""
    from agentmon.live.client import answers, unreachable

    if not answers(settings):
        raise unreachable(settings.bootstrap, OSError("no answer"))
    settings.home.mkdir(parents=True, exist_ok=True)
    with AgentStreamingPublisher(
        settings.home,
        agent_id=agent_id or settings.agent_id or NAMELESS,
        session_id=session_id or "",
        settings=settings,
        reports=False,
    ) as publisher:
        yield publisher
        if not publisher.flush(_WAIT_S):
            waiting = publisher.stats().spilled
            raise KafkaUnreachable(
                f"Kafka at {settings.bootstrap} did not acknowledge {waiting} messages: they wait in {settings.home}"
                " and are sent by the next publish"
            )


def publish_lines(publisher: AgentStreamingPublisher, topic: str, lines: Iterable[bytes | str]) -> Told:
    """Publish each line's object. A line that is none is told by its number, and the others are sent."""
    told = Told()
    for number, line in enumerate(lines, 1):
        message = _object(line, number)
        if isinstance(message, str):
            told.bad.append(message)
        elif message is not None:
            _wait_for_room(publisher)
            if publisher.publish(topic, message) is None:
                told.bad.append(f"line {number}: no room left while Kafka does not take what came before")
            else:
                told.sent += 1
    return told


def given_reward(text: str) -> float | None:
    """A reward as a person types it: a number, true, false, or a JSON object with a score; None for anything else.

    >>> given_reward("0.5"), given_reward("true"), given_reward('{"score": false}'), given_reward("nan")
    (0.5, 1.0, 0.0, None)
    """
    fields = read_object(text, max_depth=20)
    return reward(text if fields is None else {name: field.value for name, field in fields.items()})


def give_feedback(
    publisher: AgentStreamingPublisher, score: float, *, by: str, note: str | None, at: float | None = None
) -> None:
    """A person's reward for the publisher's session. `at` (epoch seconds) puts it into a session that has no id."""
    data = {"by": by, "note": note, "given_at": time.time()}
    publisher.publish_reward(
        score, type="feedback", data={k: v for k, v in data.items() if v is not None}, timestamp=at
    )


def _object(line: bytes | str, number: int) -> dict[str, Any] | str | None:
    try:
        text = line.decode() if isinstance(line, bytes) else line
    except UnicodeDecodeError as error:
        return f"line {number}: not UTF-8 (byte {error.start + 1})"
    if not text.strip():
        return None
    try:
        found = json.loads(text)
    except ValueError as error:
        where = f", column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        return f"line {number}: not JSON ({reason}{where})"
    except RecursionError:
        return f"line {number}: nested too deep"
    return found if isinstance(found, dict) else f"line {number}: JSON, but not an object"


def _wait_for_room(publisher: AgentStreamingPublisher, most: int = 64 * 1024 * 1024) -> None:
    """A file goes in faster than Kafka takes it: here there is time to wait."""
    if publisher.stats().spilled_bytes > most:
        publisher.flush(_WAIT_S)
