"""Sessions without an id are told apart by silence, in whatever order their partials come."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from agentmon.contracts.tables import SESSIONS
from agentmon.lake.connection import connect, query
from agentmon.lake.selection import ALL, BEGINNING, END
from agentmon.lake.sessions import SILENCE
from agentmon.lake.types import duckdb_type

#: Three agents, 40 runs each, 50 minutes from start to start; clocks that tell whole minutes. So many partials have the
#: same times that a sort takes them in parts.
PARTIALS = """
INSERT INTO session_rows (agent_id, first_event_time, last_event_time, actions)
SELECT agent, start + to_minutes(least(nth % 4, 2)), start + to_minutes(nth % 4), 1
FROM (SELECT agent, TIMESTAMPTZ '2026-11-01 00:00:00Z' + to_minutes(50 * run) AS start, nth
      FROM unnest(['a', 'b', 'c']) AS _(agent), range(40) AS runs(run), range(160) AS numbers(nth))
ORDER BY hash(agent, start, nth)
"""


def test_partials_of_the_same_times_belong_to_one_session() -> None:
    wanted: dict[str, Any] = {
        "since": BEGINNING, "until": END, "session": None, "silence": SILENCE, "now": datetime.now(UTC), "limit": ALL,
    }  # fmt: skip
    with connect(delta=False) as con:
        columns = ", ".join(f"NULL::{duckdb_type(c.type)} AS {c.name}" for c in SESSIONS.columns)
        con.execute(f"CREATE TEMP TABLE session_rows AS SELECT {columns} LIMIT 0")
        con.execute(PARTIALS)
        summed = "SELECT agent_id, count(*), min(actions), max(actions), max(duration_s) FROM ({}) GROUP BY ALL ORDER BY 1"
        found = con.execute(summed.format(query("sessions")), wanted).fetchall()
    assert found == [(agent, 40, 160, 160, 180.0) for agent in "abc"]
