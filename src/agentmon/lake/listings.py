"""Recent rows of the tables of messages, newest first, a few days' files at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import duckdb

from agentmon.contracts.tables import TABLES
from agentmon.lake.connection import Connection, duckdb_uri, query
from agentmon.lake.reading import reading
from agentmon.lake.selection import ALL, Rows, Selection, one_more
from agentmon.lake.sessions import read_sessions

LISTINGS = ("actions", "thoughts", "learning", "metrics")

#: Rows taken from DuckDB at a time.
_FETCH = 2_000
#: Rows that are sorted at a time, about: with all of their texts, they are what a large result takes of memory.
_SORTED = 20_000
_NAMELESS = re.compile(r"(?P<agent>.+)@\d+", re.DOTALL)


def read_rows(lake: str, table: str, wanted: Selection, *, nameless: bool | None = None) -> Rows:
    """Rows of one of LISTINGS, newest first. The rows stream: the lake stays open until the last is taken.

    nameless: whether only rows without a session_id are wanted. None is where such a session is asked for as
    AGENT@START, as `sessions` shows it, and no session of that agent has this for its id.
    """
    if nameless is None:
        nameless, wanted = _without_id(lake, wanted)
    rows = _stream(lake, table, wanted, nameless)
    return Rows(next(rows), rows, wanted.limit)


def _stream(lake: str, table: str, wanted: Selection, nameless: bool) -> Iterator[Any]:
    """First the columns' names; then the rows of the days from the newest backwards.

    Where few rows are wanted, twice as many days each time: a rare agent is found in few steps.
    """
    left = one_more(wanted.limit)
    rows = query("listing_rows").format(table=table)
    listing = query("listing").format(rows=rows, columns=", ".join(TABLES[table].own_column_names))
    with reading(lake, table) as con:
        con.execute(listing, _parameters(wanted, nameless, date.max, date.max, 0))
        yield [d[0] for d in con.description or ()]
        for first, last in _spans(_days(con, lake, table, wanted), growing=left < ALL):
            asked = _parameters(wanted, nameless, first, last, left)
            for since, until in _slices(con, rows, asked):
                con.execute(listing, {**asked, "since": since, "until": until, "limit": left})
                while found := con.fetchmany(_FETCH):
                    left -= len(found)
                    yield from found
                if left <= 0:
                    return


def _slices(con: Connection, rows: str, asked: dict[str, Any]) -> Iterator[tuple[datetime, datetime]]:
    """(since, until) of the parts, newest first, in which a large listing is sorted: only their times are sorted here."""
    until = asked["until"]
    if asked["limit"] > _SORTED:
        cuts = query("listing_cuts").format(rows=rows)
        for (since,) in con.execute(cuts, {**asked, "limit": _SORTED}).fetchall():
            yield since, until
            until = since
    yield asked["since"], until


def _parameters(wanted: Selection, nameless: bool, first: date, last: date, limit: int) -> dict[str, Any]:
    return {
        "from_day": first,
        "to_day": last,
        "since": wanted.since,
        "until": wanted.until,
        "agent": wanted.agent,
        "session": wanted.session,
        "nameless": nameless,
        "limit": limit,
    }


def _days(con: Connection, lake: str, table: str, wanted: Selection) -> list[date]:
    """The table's days that can matter, newest first; from its log alone."""
    try:
        found = con.execute(query("days"), {"path": f"{duckdb_uri(lake)}/{table}"}).fetchall()
    except duckdb.Error:  # no such table yet
        return []
    return [day for (day,) in found if wanted.since.date() <= day <= wanted.until.date()]


def _spans(days: Sequence[date], *, growing: bool) -> Iterator[tuple[date, date]]:
    """(first, last) of runs of days, newest first.

    >>> [(a.day, b.day) for a, b in _spans([date(2026, 11, d) for d in (9, 8, 6, 1)], growing=True)]
    [(9, 9), (6, 8), (1, 1)]
    """
    at, size = 0, 1
    while at < len(days):
        run = days[at : at + size]
        yield run[-1], run[0]
        at += size
        size *= 2 if growing else 1


def _without_id(lake: str, wanted: Selection) -> tuple[bool, Selection]:
    """AGENT@START → that agent's rows without a session_id, from the session's first to its last event."""
    match = _NAMELESS.fullmatch(wanted.session or "")
    if not match or wanted.agent not in (None, match["agent"]):
        return False, wanted
    found = read_sessions(lake, Selection(agent=match["agent"], session=wanted.session)).dicts()
    if not found or not all(row["nameless"] for row in found):
        return False, wanted
    [one] = found
    since = max(wanted.since, one["first_event_time"])
    until = min(wanted.until, one["last_event_time"] + timedelta(microseconds=1))
    return True, replace(wanted, agent=match["agent"], session=None, since=since, until=until)
