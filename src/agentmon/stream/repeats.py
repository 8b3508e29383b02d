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

from agentmon.contracts.message import ERRORS, REPEAT
from agentmon.contracts.tables import MESSAGE_TABLES
from agentmon.contracts.topics import MAYBE_REPEAT
from agentmon.lake.repeats import stored_ids
from agentmon.stream.batch import Range

_PLACE = ("kafka_topic_id", "kafka_partition", "kafka_offset")
_LOOKED_AT = ["table", "event_id", "event_date", "time_source", "kafka_timestamp", "kafka_headers", *_PLACE]
#: Columns that a message keeps in quarantine: all that it came with, its contents as raw bytes.
_KEPT = frozenset(MESSAGE_TABLES["quarantine"].column_names) - {"reason", "error", "raw"}
#: A copy without a time of its own has Kafka's, which is of its sending: its first may be of days before.
_DAYS_BEFORE = {"message": 1, "kafka": 8, "clamped": 8}
_MARK = f'"key":{json.dumps(MAYBE_REPEAT)}'


def has_marks(parsed: pa.Table) -> bool:
    """Whether any message says that it may have been sent before."""
    headers = parsed["kafka_headers"]
    return headers.null_count < len(headers) and any(_MARK in text for text in headers.drop_null().to_pylist())


def move_repeats(parsed: pa.Table, lake: str, ranges: Sequence[Range]) -> pa.Table:
    """The rows with second copies in quarantine.

    `ranges` are the batch's own: a batch that is done again must not take its own rows for first copies.
    """
    if not has_marks(parsed):
        return parsed
    rows = [row | {"row": number} for number, row in enumerate(parsed.select(_LOOKED_AT).to_pylist())]
    rows = [row for row in rows if row["event_id"] is not None and row["table"] != "quarantine"]
    seen = _stored([row for row in rows if _is_marked(row)], lake, ranges)
    repeats = set()
    for row in sorted(rows, key=lambda r: (r["kafka_timestamp"], r["kafka_partition"], r["kafka_offset"])):
        name = row["table"], row["event_id"]
        if name in seen and _is_marked(row):
            repeats.add(row["row"])
        seen.add(name)
    return _moved(parsed, repeats) if repeats else parsed


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


def _moved(parsed: pa.Table, repeats: set[int]) -> pa.Table:
    """The rows, those with these numbers in quarantine."""
    is_repeat = [number in repeats for number in range(len(parsed))]
    moved = parsed.filter(pa.array(is_repeat))
    rest = parsed.filter(pa.array([not repeat for repeat in is_repeat]))
    instead = {
        "table": pa.repeat("quarantine", len(moved)),
        "reason": pa.repeat(REPEAT, len(moved)),
        "error": pa.repeat(ERRORS[REPEAT], len(moved)),
        "raw": moved["payload"].cast(pa.binary()),
    }

    def column(field: pa.Field) -> Any:
        if field.name in instead:
            return instead[field.name]
        return moved[field.name] if field.name in _KEPT else pa.nulls(len(moved), field.type)

    columns = [column(field) for field in parsed.schema]
    return pa.concat_tables([rest, pa.table(columns, schema=parsed.schema)])
