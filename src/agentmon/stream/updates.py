"""Newest rows as messages of agent.monitor.frontend: action_update and thought_update."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from agentmon.contracts.tables import ACTIONS, THOUGHTS

#: (agent_id, {type, data, id})
Message = tuple[str, dict[str, Any]]

_KINDS = {
    "actions": ("action_update", "agent_action", ACTIONS.own_column_names),
    "thoughts": ("thought_update", "agent_thought", THOUGHTS.own_column_names),
}
_JSON_TEXT = frozenset({"context"})
_PLACE = ("kafka_topic_id", "kafka_partition", "kafka_offset")
_COLUMNS = list(
    dict.fromkeys(
        [
            "table",
            "agent_id",
            "session_id",
            "event_id",
            "event_us",
            *_PLACE,
            *(n for _, _, own in _KINDS.values() for n in own),
        ]
    )
)


def row_updates(parsed: pa.Table, limit: int) -> list[Message]:
    """The newest actions and thoughts of a batch, at most `limit` per agent, in order of their time."""
    shown = parsed.filter(pc.field("table").isin(list(_KINDS)))
    shown = shown.append_column("event_us", shown["event_time"].cast(pa.int64())).select(_COLUMNS)
    # Only what the order is made of is sorted: a backlog has 100,000 rows of a kilobyte.
    order = shown.select(["agent_id", "event_us", "kafka_offset"]).append_column("row", pa.array(range(len(shown))))
    order = order.sort_by([("event_us", "descending"), ("kafka_offset", "descending")])
    kept: dict[str, int] = {}
    newest = []
    for row, agent_id in zip(order["row"].to_pylist(), order["agent_id"].to_pylist(), strict=True):
        kept[agent_id] = kept.get(agent_id, 0) + 1
        if kept[agent_id] <= limit:
            newest.append(row)
    return [_message(row) for row in shown.take(pa.array(newest[::-1], pa.int64())).to_pylist()]


def _message(row: Mapping[str, Any]) -> Message:
    """With the event's own fields, as the tables have them; the id is the message's place in Kafka."""
    kind, type_, own = _KINDS[row["table"]]
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
