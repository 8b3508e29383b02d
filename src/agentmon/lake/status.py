"""Where the agents stand: from summaries, sessions and the ledger, never from raw rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from agentmon.contracts.measures import RECENT_REWARDS, SELFTEST_AGENT, SESSION_SILENCE_S, quantile, trend
from agentmon.lake.connection import Connection, duckdb_uri, query, rows
from agentmon.lake.reading import reading
from agentmon.lake.selection import ALL

_SILENCE = timedelta(seconds=SESSION_SILENCE_S)
_COUNTS = ("actions", "thoughts", "learning", "metrics", "other", "quarantined")


def read_status(lake: str) -> dict[str, Any]:
    """What `agentmon status --json` shows, times as datetimes. Raises NoLakeError where there is no lake."""
    left_out = {"left_out": SELFTEST_AGENT}
    with reading(lake, "summaries", "sessions") as con:
        con.execute(query("status_partials"), left_out)
        con.execute(query("session_partials"), left_out)
        totals = rows(con, query("status_totals"))[0]
        last_event_time = totals["last_event_time"]
        return {
            "as_of": datetime.now(UTC),
            "totals": {
                "events": sum(totals[name] for name in _COUNTS),
                **{name: totals[name] for name in (*_COUNTS, "success_rate", "avg_reward")},
            },
            "agents": _agents(con),
            "tools": rows(con, query("tools"), {"limit": ALL}),
            "freshness": {
                "last_event_time": last_event_time,
                "last_commit_time": _last_commit(con, lake),
            },
            "alerts_firing": [],
        }


def _agents(con: Connection) -> list[dict[str, Any]]:
    durations = dict(con.execute(query("status_durations")).fetchall())
    rewards = {
        (agent, learned): values
        for agent, learned, values in con.execute(query("status_rewards"), {"kept": RECENT_REWARDS}).fetchall()
    }
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


def _last_commit(con: Connection, lake: str) -> datetime | None:
    """When the newest batch was sealed: from the ledger's newest day alone."""
    newest = con.execute(query("days"), {"path": f"{duckdb_uri(lake)}/ledger"}).fetchone()
    found = con.execute(query("newest_commit"), {"day": newest[0]}).fetchone() if newest else None
    return found[0] if found else None
