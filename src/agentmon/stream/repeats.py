"""Second copies of messages: stored and audited, and in no figure but events and quarantined.

A producer marks a message that it may have sent before (contracts.topics.MAYBE_REPEAT). Only marked messages are
looked up, by event_id: in the lake, and among the batch's own rows. A batch without them is not looked at further.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from agentmon.contracts.message import ERRORS, REPEAT
from agentmon.contracts.topics import MAYBE_REPEAT
from agentmon.lake.repeats import stored_ids
from agentmon.stream.batch import Range
from agentmon.stream.parsed import SCHEMAS, Parsed, joined

_PLACE = ("kafka_topic_id", "kafka_partition", "kafka_offset")
_LOOKED_AT = ["event_id", "event_date", "time_source", "kafka_timestamp", "kafka_headers", *_PLACE]
#: A copy without a time of its own has Kafka's, which is of its sending: its first may be of days before.
_DAYS_BEFORE = {"message": 1, "kafka": 8, "clamped": 8}
_MARK = f'"key":{json.dumps(MAYBE_REPEAT)}'


def has_marks(parsed: Parsed) -> bool:
    """Whether any message says that it may have been sent before."""
    return any(_has_marks(rows["kafka_headers"]) for rows in parsed.values())


def _has_marks(headers: pa.ChunkedArray) -> bool:
    return headers.null_count < len(headers) and any(_MARK in text for text in headers.drop_null().to_pylist())


def move_repeats(parsed: Parsed, lake: str, ranges: Sequence[Range]) -> Parsed:
    """The rows with second copies in quarantine.

    `ranges` are the batch's own: a batch that is done again must not take its own rows for first copies.
    """
    if not has_marks(parsed):
        return parsed
    rows = [
        row | {"table": table, "index": index}
        for table, found in parsed.items()
        if table != "quarantine"
        for index, row in enumerate(found.select(_LOOKED_AT).to_pylist())
        if row["event_id"] is not None
    ]
    seen = _stored([row for row in rows if _is_marked(row)], lake, ranges)
    repeats: dict[str, set[int]] = {}
    for row in sorted(rows, key=lambda r: (r["kafka_timestamp"], r["kafka_partition"], r["kafka_offset"])):
        name = row["table"], row["event_id"]
        if name in seen and _is_marked(row):
            repeats.setdefault(row["table"], set()).add(row["index"])
        seen.add(name)
    return _moved(parsed, repeats)


def _is_marked(row: dict[str, Any]) -> bool:
    return row["kafka_headers"] is not None and _MARK in row["kafka_headers"]


def _stored(marked: list[dict[str, Any]], lake: str, ranges: Sequence[Range]) -> set[tuple[str, str]]:
    """(table, event_id) of those that the lake has from other batches than this."""
    own = [{"topic_id": r.topic_id, "partition": r.partition, "start": r.start, "end": r.end} for r in ranges]
    found: set[tuple[str, str]] = set()
    for table in {row["table"] for row in marked}:
        rows = [row for row in marked if row["table"] == table]
        first = min(row["event_date"] - timedelta(days=_DAYS_BEFORE[row["time_source"]]) for row in rows)
        last = max(row["event_date"] for row in rows) + timedelta(days=1)
        ids = {row["event_id"] for row in rows}
        found |= {(table, event_id) for event_id in stored_ids(lake, table, ids, first, last, own)}
    return found


def _moved(parsed: Parsed, repeats: dict[str, set[int]]) -> Parsed:
    """The rows, those with these indices in quarantine."""
    left, moved = dict(parsed), []
    for table, indices in repeats.items():
        is_repeat = pa.array([index in indices for index in range(len(parsed[table]))])
        left[table] = parsed[table].filter(pc.invert(is_repeat))
        moved.append({"quarantine": _as_quarantine(parsed[table].filter(is_repeat))})
    return joined([left, *moved])


def _as_quarantine(rows: pa.Table) -> pa.Table:
    """With all that a message came with, its contents as raw bytes."""
    instead = {
        "reason": pa.repeat(REPEAT, len(rows)),
        "error": pa.repeat(ERRORS[REPEAT], len(rows)),
        "raw": rows["payload"].cast(pa.binary()),
    }
    schema = SCHEMAS["quarantine"]
    return pa.table(
        [instead.get(name, rows[name] if name in rows.column_names else None) for name in schema.names], schema=schema
    )
