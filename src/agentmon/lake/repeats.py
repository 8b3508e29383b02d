"""Which messages the lake has already, by their event_ids: asked for marked messages alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

from agentmon.errors import NoLakeError
from agentmon.lake.connection import open_lake, query


def stored_ids(
    lake: str, table: str, ids: Collection[str], first: date, last: date, but_for: Sequence[dict[str, Any]]
) -> set[str]:
    """Those of `ids` that a table has between two days (both inclusive).

    `but_for`: ranges of offsets {"topic_id", "partition", "start", "end"} whose rows do not count.
    """
    bounds = {"ids": sorted(ids), "first": first, "last": last, "ranges": list(but_for)}
    try:
        with open_lake(lake, (table,)) as con:
            found = con.execute(query("stored_ids").format(table=table), bounds).fetchall()
    except NoLakeError:
        return set()
    return {event_id for (event_id,) in found}
