"""Sessions: their partial figures added up, those without an id told apart by silence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from agentmon.contracts.measures import SESSION_SILENCE_S
from agentmon.lake.connection import query
from agentmon.lake.reading import again, reading
from agentmon.lake.selection import Rows, Selection, one_more

SILENCE = timedelta(seconds=SESSION_SILENCE_S)


@again
def read_sessions(lake: str, wanted: Selection, now: datetime | None = None) -> Rows:
    """Sessions that were active in the time asked for, the newest activity first.

    reward is the mean of the session's own rewards (agent.learning). A session is in progress until such
    a reward (for a session with an id) or 30 minutes of silence; ended_at says when that was.
    """
    with reading(lake, "sessions") as con:
        con.execute(query("session_rows"), {"agent": wanted.agent, "session": wanted.session})
        parameters: dict[str, Any] = {
            "since": wanted.since,
            "until": wanted.until,
            "session": wanted.session,
            "silence": SILENCE,
            "now": now or datetime.now(UTC),
            "limit": one_more(wanted.limit),
        }
        con.execute(query("sessions"), parameters)
        columns = [d[0] for d in con.description or ()]
        return Rows(columns, con.fetchall(), wanted.limit)
