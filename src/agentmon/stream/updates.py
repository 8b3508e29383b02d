"""Newest rows as messages of agent.monitor.frontend: action_update and thought_update."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from agentmon.contracts.tables import ACTIONS, THOUGHTS
from agentmon.stream.parsed import Parsed

#: (agent_id, {type, data, id})
Message = tuple[str, dict[str, Any]]

_KINDS = {
    "actions": ("action_update", "agent_action", ACTIONS.own_column_names),
    "thoughts": ("thought_update", "agent_thought", THOUGHTS.own_column_names),
}
_JSON_TEXT = frozenset({"context"})
_PLACE = ("kafka_topic_id", "kafka_partition", "kafka_offset")


def row_updates(parsed: Parsed, limit: int) -> list[Message]:
    """The newest actions and thoughts of a batch, at most `limit` per agent, in order of their time."""
    order = []
    for table in _KINDS:
        rows = parsed[table]
        # Only what the order is made of becomes Python's: a backlog has 100,000 rows of a kilobyte.
        us, names = rows["event_time"].cast(pa.int64()).to_pylist(), rows["agent_id"].to_pylist()
        order += list(zip(us, rows["kafka_offset"].to_pylist(), names, [table] * len(us), range(len(us)), strict=True))
    kept: dict[str, int] = {}
    newest = []
    for us, offset, agent_id, table, index in sorted(order, reverse=True):
        kept[agent_id] = kept.get(agent_id, 0) + 1
        if kept[agent_id] <= limit:
            newest.append((us, offset, table, index))
    messages = {table: iter(_messages(parsed, table, [i for *_, t, i in newest if t == table])) for table in _KINDS}
    return [next(messages[table]) for *_, table, _ in newest][::-1]


def _messages(parsed: Parsed, table: str, indices: list[int]) -> list[Message]:
    rows = parsed[table].select(["agent_id", "session_id", "event_id", *_PLACE, "event_time", *_KINDS[table][2]])
    us = pc.cast(rows["event_time"], pa.int64())
    rows = rows.drop_columns(["event_time"]).append_column("event_us", us)
    return [_message(table, row) for row in rows.take(pa.array(indices, pa.int64())).to_pylist()]


def _message(table: str, row: Mapping[str, Any]) -> Message:
    """With the event's own fields, as the tables have them; the id is the message's place in Kafka."""
    kind, type_, own = _KINDS[table]
    data: dict[str, Any] = {"type": type_, "timestamp": row["event_us"] / 1e6, "agent_id": row["agent_id"]}
    for name in ("session_id", "event_id", *own):
        if row[name] is not None:
            data[name] = _opened(row[name]) if name in _JSON_TEXT else row[name]
    return row["agent_id"], {"type": kind, "data": data, "id": ":".join(str(row[name]) for name in _PLACE)}


def _opened(text: str) -> Any:
    """A JSON text as the value that it stands for; as text where a strict reader can't take it (NaN)."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(name: str) -> None:
    raise ValueError(name)
