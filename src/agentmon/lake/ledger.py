"""What the ledger says: how far each partition is stored, and which batches are whole.

Every call has a connection of its own, so that any thread may ask.
"""

from __future__ import annotations

from typing import NamedTuple

from agentmon.errors import NoLakeError
from agentmon.lake.connection import Connection, open_lake, query


class Position(NamedTuple):
    """How far one partition of one incarnation of a topic is stored: one past the last offset."""

    cluster_id: str
    topic: str
    topic_id: str
    partition: int
    end_offset: int


def read_positions(lake: str) -> list[Position]:
    """Every partition's position, those of a topic's newest incarnation last; [] where there is no lake yet."""
    try:
        with open_lake(lake, ("ledger",)) as con:
            return positions(con)
    except NoLakeError:
        return []


def positions(con: Connection) -> list[Position]:
    """As `read_positions`, of an open lake."""
    return [Position(*row) for row in con.execute(query("positions")).fetchall()]


def has_batch(lake: str, query_id: str, batch_id: int) -> bool:
    """Whether a batch is whole; False where there is no lake yet."""
    try:
        with open_lake(lake, ("ledger",)) as con:
            found = con.execute(query("has_batch"), {"query_id": query_id, "batch_id": batch_id}).fetchone()
            return bool(found and found[0])
    except NoLakeError:
        return False
