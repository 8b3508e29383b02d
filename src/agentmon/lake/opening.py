"""What a live screen begins with: the lake's figures per agent and its newest rows, at one sealed position."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agentmon.lake.connection import query, rows
from agentmon.lake.ledger import positions
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
    positions: dict[tuple[str, int], int] = field(default_factory=dict)


@again
def read_opening(lake: str, agent: str | None = None) -> Opening:
    """Raises NoLakeError where there is no lake yet."""
    with prepare(lake, ledger=True) as con:
        status = status_of(con)
        sums = {row["agent_id"]: row for row in rows(con, query("opening_agents"))}
        recent = newest_rewards(con)
        tools = {(name, tool): n for name, tool, n in con.execute(query("opening_tools")).fetchall()}
        places = {(p.topic, p.partition): p.end_offset for p in positions(con)}
    agents = []
    for found in status["agents"]:
        own = sums[found["agent_id"]]
        agents.append({**found, **own, "rewards": recent.get((found["agent_id"], own["learns"]), [])})
    newest = []
    for table in ("actions", "thoughts"):
        listed = read_rows(lake, table, Selection(agent=agent, limit=NEWEST)).dicts()
        newest += [{**row, "table": table} for row in listed]
    newest.sort(key=lambda row: (row["event_time"], row["kafka_partition"], row["kafka_offset"]))
    return Opening(status, agents, tools, newest, places)
