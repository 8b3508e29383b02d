"""Where the running figures begin: the lake's figures at one sealed position."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from agentmon.contracts.running import MAX_NAMES, OTHER, Agent, Window
from agentmon.lake.connection import Connection, open_lake, query

_TABLES = ("summaries", "actions", "metrics")


class KnownAgents(NamedTuple):
    """Agents' figures, and the names of the agents that the lake knows besides."""

    agents: dict[str, Agent]
    silent: set[str]


def read_running(
    lake: str, *, since_s: float, window_s: float, watermark_s: float, only: Collection[str] | None = None
) -> KnownAgents:
    """The figures up to the ledger's positions of every agent with an event since then; or of these only, whenever.

    since_s: seconds since 1970. Raises NoLakeError where there is no lake yet.
    """
    if only is not None:
        since_s = 0.0
    with open_lake(lake, _TABLES) as con:
        con.execute(f"CREATE TEMP TABLE positions AS {query('positions')}")
        agents = _agents(con, since_s, only)
        if agents:
            bounds = {"since_s": since_s, "window_us": round(window_s * 1e6), "watermark_us": round(watermark_s * 1e6)}
            _add_recent(con, agents)
            _add_names(con, "running_tools", agents, lambda agent: agent.tools)
            _add_names(con, "running_distribution", agents, lambda agent: agent.distribution)
            _add_metrics(con, agents, since_s)
            _add_windows(con, agents, bounds)
        silent = con.execute("SELECT agent_id FROM known WHERE wanted IS NOT TRUE").fetchall()
        return KnownAgents(agents, {name for (name,) in silent})


def _agents(con: Connection, since_s: float, only: Collection[str] | None) -> dict[str, Agent]:
    bounds = {"since_s": since_s, "only": None if only is None else list(only)}
    con.execute(f"CREATE TEMP TABLE known AS {query('running_agents')}", bounds)
    # The other queries ask for these agents only.
    con.execute("CREATE TEMP TABLE running AS SELECT * EXCLUDE (wanted) FROM known WHERE wanted")
    return {
        name: Agent(
            events=events,
            actions=actions,
            known=known,
            successes=successes,
            action_rewards=[action_count, action_sum],
            learning_rewards=[learning_count, learning_sum],
            newest=newest,
        )
        for (
            name, events, actions, known, successes, action_count, action_sum, learning_count, learning_sum, newest,
        ) in con.execute("FROM running").fetchall()
    }  # fmt: skip


def _add_recent(con: Connection, agents: dict[str, Agent]) -> None:
    for name, kind, recent in con.execute(query("running_recent")).fetchall():
        kept = sorted(((r["at"], r["part"], r["off"]), r["reward"]) for r in recent)
        if kind == "action":
            agents[name].recent_action = kept
        else:
            agents[name].recent_learning = kept


def _add_names(con: Connection, which: str, agents: dict[str, Agent], counter: Callable[[Agent], Any]) -> None:
    bounds = {"max_names": MAX_NAMES, "other": OTHER}
    for agent_id, name, count in con.execute(query(which), bounds).fetchall():
        counter(agents[agent_id])[name] += count


def _add_metrics(con: Connection, agents: dict[str, Agent], since_s: float) -> None:
    bounds = {"since_s": since_s, "max_names": MAX_NAMES}
    for agent_id, name, at, value in con.execute(query("running_metrics"), bounds).fetchall():
        agents[agent_id].metrics[name] = (at, value)


def _add_windows(con: Connection, agents: dict[str, Agent], bounds: dict[str, Any]) -> None:
    for agent_id, start, *figures in con.execute(query("running_windows"), bounds).fetchall():
        agents[agent_id].windows[start] = Window(*figures)
    for agent_id, start, bucket, count in con.execute(query("running_durations"), bounds).fetchall():
        agents[agent_id].windows[start].durations[bucket] = count
