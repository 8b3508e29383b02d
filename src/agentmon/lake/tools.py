"""Which tools agents use, and how well it goes: from summaries."""

from __future__ import annotations

from agentmon.contracts.measures import SELFTEST_AGENT
from agentmon.lake.connection import query
from agentmon.lake.reading import again, reading
from agentmon.lake.selection import Rows, Selection, one_more


@again
def read_tools(lake: str, wanted: Selection) -> Rows:
    """tool, count, success_rate, avg_reward (over actions), the most used first, ties by name.

    since and until are met to the whole window of the summaries; the self-test's agent shows only when asked for.
    """
    with reading(lake, "summaries") as con:
        parameters = {"since": wanted.since, "until": wanted.until, "agent": wanted.agent, "left_out": SELFTEST_AGENT}
        con.execute(query("tool_partials"), parameters)
        rows = con.execute(query("tools"), {"limit": one_more(wanted.limit)}).fetchall()
        return Rows(["tool", "count", "success_rate", "avg_reward"], rows, wanted.limit)
