"""Sessions without an id are told apart by silence, in whatever order their partials come."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

from agentmon.contracts.tables import SESSIONS
from agentmon.lake.connection import connect, query
from agentmon.lake.selection import ALL, BEGINNING, END
from agentmon.lake.sessions import SILENCE
from agentmon.lake.types import duckdb_type

#: $made: [agent, first minute, last minute] of each partial.
INSERT = """
INSERT INTO session_rows (agent_id, first_event_time, last_event_time, actions)
SELECT one[1], make_timestamptz(one[2]::BIGINT * 60000000), make_timestamptz(one[3]::BIGINT * 60000000), 1
FROM (SELECT unnest(from_json($made, '[["VARCHAR"]]')) AS one)
"""


def test_partials_of_the_same_times_belong_to_one_session() -> None:
    """Three agents, 40 runs each, 50 minutes from start to start; clocks that tell whole minutes."""
    chance, made = random.Random(0), []
    for agent in "abc":
        for start in range(0, 40 * 50, 50):
            ends = [start, *(start + chance.randint(0, 2) for _ in range(3))]
            # So many that a sort takes them in parts.
            made += [times for end in ends for times in [(agent, start, end), (agent, end, end)] for _ in range(20)]
    chance.shuffle(made)
    wanted: dict[str, Any] = {
        "since": BEGINNING, "until": END, "session": None, "silence": SILENCE, "now": datetime.now(UTC), "limit": ALL,
    }  # fmt: skip
    with connect(delta=False) as con:
        columns = ", ".join(f"NULL::{duckdb_type(c.type)} AS {c.name}" for c in SESSIONS.columns)
        con.execute(f"CREATE TEMP TABLE session_rows AS SELECT {columns} LIMIT 0")
        con.execute(INSERT, {"made": json.dumps(made)})
        summed = "SELECT agent_id, count(*), min(actions), max(actions) FROM ({}) GROUP BY ALL ORDER BY 1"
        for _ in range(20):  # how ties are sorted differs from time to time
            found = con.execute(summed.format(query("sessions")), wanted).fetchall()
            assert found == [(agent, 40, 160, 160) for agent in "abc"]
