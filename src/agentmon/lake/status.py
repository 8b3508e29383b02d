"""Where the agents stand: from summaries, sessions and the ledger, never from raw rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from agentmon.contracts.measures import RECENT_REWARDS, SELFTEST_AGENT, SESSION_SILENCE_S, bucket_value, trend
from agentmon.lake.connection import Connection, query, rows
from agentmon.lake.figures import open_figures
from agentmon.lake.reading import again
from agentmon.lake.selection import ALL

_SILENCE = timedelta(seconds=SESSION_SILENCE_S)
_OTHERS = {"left_out": SELFTEST_AGENT}
_QUANTILES = {"p50": 0.5, "p95": 0.95}
_COUNTS = ("actions", "thoughts", "learning", "metrics", "other", "quarantined")


@again
def read_status(lake: str) -> dict[str, Any]:
    """What `agentmon status --json` shows, times as datetimes. Raises NoLakeError where there is no lake."""
    with prepare(lake) as con:
        return status_of(con)


@contextmanager
def prepare(lake: str, *, ledger: bool = False) -> Iterator[Connection]:
    """The lake with what the figures of all agents are made of, read from its files, and `summaries`.

    Those are `partials`, `session_partials`, `nameless_partials` and `newest_rewards`.
    """
    with open_figures(lake, ledger=ledger) as figures:
        con = figures.con
        partials = query("status_partials").format(materialized=figures.materialized)
        kept = {"kept": RECENT_REWARDS}
        con.execute(partials, {**_OTHERS, **_QUANTILES, **kept})
        con.execute(query("status_reward_spans"), kept)
        figures.narrow(con.execute("SELECT since, until FROM reward_spans").fetchall())
        con.execute(query("status_rewards"), kept)
        con.execute(query("session_partials"), _OTHERS)
        con.execute(query("nameless_partials"), _OTHERS)
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
            "p50_ms": _duration(row["p50_bucket"]),
            "p95_ms": _duration(row["p95_bucket"]),
            "memory_bytes": row["memory_bytes"],
            "cpu_percent": row["cpu_percent"],
        }
        for row in rows(con, query("status_agents"))
    ]


def _duration(bucket: int | None) -> float | None:
    return None if bucket is None else bucket_value(bucket)


def newest_rewards(con: Connection) -> dict[tuple[str, bool], list[float]]:
    """(agent, whether of learning) → its newest rewards, oldest first; of a lake that `prepare` has opened."""
    found = con.execute("SELECT agent_id, learned, rewards FROM newest_rewards").fetchall()
    return {(agent, learned): values for agent, learned, values in found}
