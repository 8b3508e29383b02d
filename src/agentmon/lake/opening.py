"""What a live screen begins with: the lake's figures per agent and its newest rows, at one sealed position."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from agentmon.contracts.topics import Place
from agentmon.lake.connection import query, rows
from agentmon.lake.ledger import Position, positions
from agentmon.lake.listings import read_rows
from agentmon.lake.reading import again
from agentmon.lake.selection import Selection
from agentmon.lake.status import newest_rewards, prepare, status_of

#: Newest rows of each kind to begin with.
NEWEST = 200


@dataclass
class Opening:
    """The lake when the screen opened.

    `agents` are those of `status`, each with the sums behind its figures and its newest rewards, oldest first;
    `rows` the newest actions and thoughts, oldest first; `positions` where live rows go on per (topic, partition).
    """

    status: dict[str, Any]
    agents: list[dict[str, Any]]
    tools: dict[tuple[str, str], int]
    rows: list[dict[str, Any]] = field(default_factory=list)
    positions: dict[Place, int] = field(default_factory=dict)


@again
def read_opening(lake: str, agent: str | None = None) -> Opening:
    """Raises NoLakeError where there is no lake yet."""
    with prepare(lake, ledger=True) as con:
        status = status_of(con)
        sums = {row["agent_id"]: row for row in rows(con, query("opening_agents"))}
        recent = newest_rewards(con)
        tools = {(name, tool): n for name, tool, n in con.execute(query("opening_tools")).fetchall()}
        stored = positions(con)
    agents = []
    for found in status["agents"]:
        own = sums[found["agent_id"]]
        agents.append({**found, **own, "rewards": recent.get((found["agent_id"], own["learns"]), [])})
    newest = _newest(lake, agent, stored)
    return Opening(status, agents, tools, newest, {(p.topic, p.partition): p.end_offset for p in stored})


def _newest(lake: str, agent: str | None, stored: Iterable[Position]) -> list[dict[str, Any]]:
    """The newest rows, but those of a batch that is not whole: live rows go on before it and bring them."""
    ends: dict[Place, int] = {}
    for place in stored:  # of a topic that was made anew there are rows from beyond its position
        key = place.topic, place.partition
        ends[key] = max(place.end_offset, ends.get(key, 0))
    found = [
        {**row, "table": table}
        for table in ("actions", "thoughts")
        for row in read_rows(lake, table, Selection(agent=agent, limit=NEWEST)).dicts()
        if row["kafka_offset"] < ends.get((row["kafka_topic"], row["kafka_partition"]), math.inf)
    ]
    return sorted(found, key=lambda row: (row["event_time"], row["kafka_partition"], row["kafka_offset"]))
