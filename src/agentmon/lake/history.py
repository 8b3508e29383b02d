"""Learning over time, in buckets: from summaries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from agentmon.contracts.measures import SELFTEST_AGENT, quantile
from agentmon.lake.connection import query, rows
from agentmon.lake.figures import open_figures
from agentmon.lake.reading import again
from agentmon.lake.selection import Rows, Selection

COLUMNS = [
    "bucket_start", "bucket_end", "actions", "success_rate", "avg_reward", "errors",
    "p50_ms", "p95_ms", "input_tokens", "output_tokens", "cost_usd",
]  # fmt: skip

#: Widths to choose from where none is asked for, and about how many buckets a person reads.
_WIDTHS = [timedelta(minutes=m) for m in (1, 5, 10, 30, 60, 180, 360, 720, 1440, 7 * 1440, 30 * 1440)]
_READABLE = 48


@dataclass(frozen=True)
class History:
    """The buckets, how wide they are, and the widest window of the summaries behind them.

    Where `widest_window` exceeds `bucket` (days that the nightly job has collapsed), a figure stands at
    the start of its window.
    """

    rows: Rows
    bucket: timedelta
    widest_window: timedelta


@again
def read_history(lake: str, wanted: Selection, bucket: timedelta | None = None) -> History:
    """Figures per bucket, oldest first; without `bucket` it is chosen to give a readable number of them.

    avg_reward is over learning rewards where there are any in the time asked for, else over actions: one
    kind for all buckets. since and until are met to the whole window of the summaries.
    """
    with open_figures(lake, tables=("summaries",), within=(wanted.since, wanted.until)) as figures:
        con = figures.con
        parameters = {"since": wanted.since, "until": wanted.until, "agent": wanted.agent, "left_out": SELFTEST_AGENT}
        con.execute(query("history_partials").format(materialized=figures.materialized), parameters)
        span = rows(con, query("history_span"))[0]
        width = bucket or readable_width(span["first"], span["last"])
        found = rows(con, query("history"), {"width": width})
    buckets = []
    for row in found:
        row["p50_ms"], row["p95_ms"] = (quantile(row["durations"] or {}, q) for q in (0.5, 0.95))
        buckets.append(tuple(row[name] for name in COLUMNS))
    return History(Rows(COLUMNS, buckets), width, span["widest"] or timedelta(0))


def readable_width(first: datetime | None, last: datetime | None) -> timedelta:
    """The narrowest width that gives no more buckets than a person reads."""
    if first is None or last is None:
        return _WIDTHS[0]
    return next((w for w in _WIDTHS if (last - first) / w <= _READABLE), _WIDTHS[-1])
