"""Newest rows as messages of agent.monitor.frontend: action_update and thought_update.

Tasks choose theirs and write the messages (`newest_rows`); the driver chooses again among those of all tasks (`chosen`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agentmon.contracts.frontend import encode
from agentmon.contracts.tables import ACTIONS, THOUGHTS
from agentmon.stream.newest import newest_of_each
from agentmon.stream.parsed import Parsed, side_by_side, taken

#: (agent_id, message as bytes)
Update = tuple[str, bytes]

NEWEST = pa.schema(
    {"agent_id": pa.string(), "event_us": pa.int64(), "kafka_offset": pa.int64(), "message": pa.binary()}
)

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


def newest_rows(parsed: Parsed, limit: int, most: int = MOST) -> pa.Table:
    """The newest actions and thoughts in order of their time (columns NEWEST): at most `limit` an agent, `most` in all."""
    rows = side_by_side({table: parsed[table] for table in _KINDS}, ("event_time", "kafka_offset", "agent_id"))
    us = rows["event_time"].cast(pa.int64())
    newest = _newest(rows["agent_id"], us, rows["kafka_offset"], limit, most)
    first = {"actions": 0, "thoughts": parsed["actions"].num_rows}
    tables = ["thoughts" if number >= first["thoughts"] else "actions" for number in newest]
    messages = {
        t: iter(_messages(parsed, t, [n - first[t] for n, of in zip(newest, tables, strict=True) if of == t]))
        for t in _KINDS
    }
    texts = pa.array([next(messages[table]) for table in tables], pa.binary())
    at = pa.array(newest, pa.int64())
    return pa.table([rows["agent_id"].take(at), us.take(at), rows["kafka_offset"].take(at), texts], schema=NEWEST)


def chosen(newest: pa.Table, limit: int, most: int = MOST) -> list[Update]:
    """Of the newest rows of several tasks the newest, in order of their time: at most `limit` an agent, `most` in all."""
    at = pa.array(_newest(newest["agent_id"], newest["event_us"], newest["kafka_offset"], limit, most), pa.int64())
    return list(zip(newest["agent_id"].take(at).to_pylist(), newest["message"].take(at).to_pylist(), strict=True))


def _newest(agents: pa.ChunkedArray, us: pa.ChunkedArray, offsets: pa.ChunkedArray, limit: int, most: int) -> list[int]:
    """Row numbers of the newest rows, the oldest first."""
    if not len(agents):
        return []
    coded = agents.combine_chunks().dictionary_encode()
    times, places = us.to_numpy(), offsets.to_numpy()
    limit = min(limit, max(1, most // len(coded.dictionary)))
    newest = newest_of_each(coded.indices.to_numpy(), times, places, most=limit)
    numbers: list[int] = newest[np.lexsort((places[newest], times[newest]))][-most:].tolist()
    return numbers


def _messages(parsed: Parsed, table: str, indices: list[int]) -> list[bytes]:
    rows = parsed[table].select(["agent_id", "session_id", "event_id", *_PLACE, "event_time", *_KINDS[table][2]])
    us = pc.cast(rows["event_time"], pa.int64())
    rows = rows.drop_columns(["event_time"]).append_column("event_us", us)
    return [_message(table, row) for row in taken(rows, indices).to_pylist()]


def _message(table: str, row: Mapping[str, Any]) -> bytes:
    """With the event's own fields, as the tables have them; the id is the message's place in Kafka."""
    kind, type_, own = _KINDS[table]
    data: dict[str, Any] = {"type": type_, "timestamp": row["event_us"] / 1e6, "agent_id": row["agent_id"]}
    for name in ("session_id", "event_id", *own):
        if row[name] is not None:
            data[name] = _shown(row[name], is_json=name in _JSON_TEXT)
    return encode({"type": kind, "data": data, "id": ":".join(str(row[name]) for name in _PLACE)})


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
