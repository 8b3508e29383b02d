"""Newest rows as messages of agent.monitor.frontend: action_update and thought_update."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agentmon.contracts.tables import ACTIONS, THOUGHTS
from agentmon.stream.newest import newest_of_each
from agentmon.stream.parsed import Parsed, side_by_side, taken

#: (agent_id, {type, data, id})
Message = tuple[str, dict[str, Any]]

_KINDS = {
    "actions": ("action_update", "agent_action", ACTIONS.own_column_names),
    "thoughts": ("thought_update", "agent_thought", THOUGHTS.own_column_names),
}
#: Newest rows of a micro-batch at the most, and of one in a backlog: thousands would be published that no screen can show.
MOST, MOST_BEHIND = 500, 100
#: Longer texts are cut, also JSON's: Kafka would refuse a message larger than the one that it tells of. The tables have all.
LONGEST = 32_000  # characters
_JSON_TEXT = frozenset(
    column.name for table in (ACTIONS, THOUGHTS) for column in table.columns if column.kind == "json"
)
_PLACE = ("kafka_topic_id", "kafka_partition", "kafka_offset")


def row_updates(parsed: Parsed, limit: int, most: int = MOST) -> list[Message]:
    """The newest actions and thoughts of a batch in order of their time: at most `limit` per agent, and `most` in all."""
    rows = side_by_side({table: parsed[table] for table in _KINDS}, ("event_time", "kafka_offset", "agent_id"))
    if not len(rows):
        return []
    agents = rows["agent_id"].combine_chunks().dictionary_encode()
    us, offsets = rows["event_time"].cast(pa.int64()).to_numpy(), rows["kafka_offset"].to_numpy()
    codes = agents.indices.to_numpy()
    limit = min(limit, max(1, most // len(agents.dictionary)))
    newest = newest_of_each(codes, us, offsets, most=limit)
    newest = newest[np.lexsort((offsets[newest], us[newest]))][-most:]
    first = {"actions": 0, "thoughts": parsed["actions"].num_rows}
    shown = [("thoughts" if number >= first["thoughts"] else "actions", number) for number in newest.tolist()]
    messages = {
        kind: iter(_messages(parsed, kind, [n - first[kind] for t, n in shown if t == kind])) for kind in _KINDS
    }
    return [next(messages[table]) for table, _ in shown]


def _messages(parsed: Parsed, table: str, indices: list[int]) -> list[Message]:
    rows = parsed[table].select(["agent_id", "session_id", "event_id", *_PLACE, "event_time", *_KINDS[table][2]])
    us = pc.cast(rows["event_time"], pa.int64())
    rows = rows.drop_columns(["event_time"]).append_column("event_us", us)
    return [_message(table, row) for row in taken(rows, indices).to_pylist()]


def _message(table: str, row: Mapping[str, Any]) -> Message:
    """With the event's own fields, as the tables have them; the id is the message's place in Kafka."""
    kind, type_, own = _KINDS[table]
    data: dict[str, Any] = {"type": type_, "timestamp": row["event_us"] / 1e6, "agent_id": row["agent_id"]}
    for name in ("session_id", "event_id", *own):
        if row[name] is not None:
            data[name] = _shown(row[name], is_json=name in _JSON_TEXT)
    return row["agent_id"], {"type": kind, "data": data, "id": ":".join(str(row[name]) for name in _PLACE)}


def _shown(value: Any, *, is_json: bool) -> Any:
    if isinstance(value, str) and len(value) > LONGEST:
        return value[:LONGEST] + "…"
    return _opened(value) if is_json else value


def _opened(text: str) -> Any:
    """A JSON text as the value that it stands for; as text where a strict reader can't take it (NaN, 1e400)."""
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        return text


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(number)
    return value
