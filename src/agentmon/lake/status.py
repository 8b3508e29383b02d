"""Where the agents stand: from summaries, sessions and the ledger, never from raw rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from agentmon.contracts.measures import RECENT_REWARDS, SELFTEST_AGENT, SESSION_SILENCE_S, quantile, trend
from agentmon.lake.connection import Connection, query, rows
from agentmon.lake.figures import open_figures
from agentmon.lake.reading import again
from agentmon.lake.selection import ALL

_SILENCE = timedelta(seconds=SESSION_SILENCE_S)
_OTHERS = {"left_out": SELFTEST_AGENT}
_COUNTS = ("actions", "thoughts", "learning", "metrics", "other", "quarantined")


@again
def read_status(lake: str) -> dict[str, Any]:
    """What `agentmon status --json` shows, times as datetimes. Raises NoLakeError where there is no lake."""
    with prepare(lake) as con:
        return status_of(con)


@contextmanager
def prepare(lake: str, *, ledger: bool = False) -> Iterator[Connection]:
    """The lake with what the figures of all agents are made of: `partials`, `session_partials`, `summaries`."""
    with open_figures(lake, ledger=ledger) as con:
        con.execute(query("status_partials"), _OTHERS)
        con.execute(query("session_partials"), _OTHERS)
        yield con


def status_of(con: Connection) -> dict[str, Any]:
    """As `read_status`, of a lake that `prepare` has opened."""
    totals = rows(con, query("status_totals"))[0]
    newest = rows(con, "SELECT max(committed_at) AS last_commit_time FROM sealed")[0]
    return {
        "as_of": datetime.now(UTC),
        "totals": {
            "events": sum(totals[name] for name in _COUNTS),
            **{name: totals[name] for name in (*_COUNTS, "success_rate", "avg_reward")},
        },
        "agents": _agents(con),
        "tools": rows(con, query("tools"), {"limit": ALL}),
        "freshness": {"last_event_time": totals["last_event_time"], "last_commit_time": newest["last_commit_time"]},
        "alerts_firing": [],
    }


def _agents(con: Connection) -> list[dict[str, Any]]:
    durations = dict(con.execute(query("status_durations"), _OTHERS).fetchall())
    rewards = newest_rewards(con)
    sessions = dict(con.execute(query("session_counts"), {"silence": _SILENCE}).fetchall())
    return [
        {
            "agent_id": row["agent_id"],
            "actions": row["actions"],
            "thoughts": row["thoughts"],
            "success_rate": row["success_rate"],
            "avg_reward": row["avg_reward"],
            "learning_trend": trend(rewards.get((row["agent_id"], row["learns"]), [])),
            "sessions": sessions.get(row["agent_id"], 0),
            "last_event_time": row["last_event_time"],
            "error_rate": row["error_rate"],
            "p50_ms": quantile(durations.get(row["agent_id"], {}), 0.5),
            "p95_ms": quantile(durations.get(row["agent_id"], {}), 0.95),
            "memory_bytes": row["memory_bytes"],
            "cpu_percent": row["cpu_percent"],
        }
        for row in rows(con, query("status_agents"))
    ]


def newest_rewards(con: Connection) -> dict[tuple[str, bool], list[float]]:
    """(agent, whether of learning) → its newest rewards, oldest first; of a lake that `prepare` has opened."""
    (from_day,) = con.execute(query("status_rewards_from"), {"kept": RECENT_REWARDS}).fetchone() or (None,)
    found = con.execute(query("status_rewards"), {**_OTHERS, "kept": RECENT_REWARDS, "from_day": from_day}).fetchall()
    return {(agent, learned): values for agent, learned, values in found}
