"""Topic names, and which table a topic's messages belong to."""

from __future__ import annotations

import re

ACTIONS = "agent.actions"
THOUGHTS = "agent.thoughts"
LEARNING = "agent.learning"
METRICS = "agent.metrics"
FRONTEND = "agent.monitor.frontend"
VECTORIZED = "agent.rl.vectorized"

#: Topics that the job reads: every agent.*, but not what it publishes itself. Anchored, because
#: Spark's subscribePattern is matched as given.
READ_PATTERN = r"^agent\.(?!monitor\.).+$"

#: type of a message that announces an action; counted as an action only once it has ended.
ACTION_STARTED = "action_started"

#: (topic, partition)
Place = tuple[str, int]
#: The next offset of each partition.
Offsets = dict[Place, int]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")

#: Header of a message that may be a second sending; its event_id tells. The value says nothing.
MAYBE_REPEAT = "agentmon-maybe-repeat"

_TABLES = {ACTIONS: "actions", THOUGHTS: "thoughts", LEARNING: "learning", METRICS: "metrics"}


def is_read(topic: str) -> bool:
    """Whether the job reads this topic into the lake."""
    return re.match(READ_PATTERN, topic) is not None


def is_publishable(topic: str) -> bool:
    """Whether an agent may publish there: what the job reads, by a name that Kafka takes.

    >>> [is_publishable(name) for name in ("agent.tasks", "agent.monitor.frontend", "other", "agent.a b")]
    [True, False, False, False]
    """
    return is_read(topic) and _NAME.fullmatch(topic) is not None


def table_of(topic: str, message_type: str | None = None) -> str:
    """The table that a parsable message belongs to.

    The topic alone decides, but for the announcement of an action, which is an event.

    >>> table_of("agent.actions"), table_of("agent.actions", "action_started"), table_of("agent.tasks")
    ('actions', 'events', 'events')
    """
    if message_type == ACTION_STARTED and topic == ACTIONS:
        return "events"
    return _TABLES.get(topic, "events")


def tables_by_topic() -> dict[str, str]:
    """The topics with a table of their own: topic → table; every other agent.* topic goes to events."""
    return dict(_TABLES)
