"""Second copies of messages: stored and audited, and in no figure but events and quarantined.

A producer marks a message that it may have sent before (contracts.topics.MAYBE_REPEAT). Only marked messages are
looked up, by event_id: in the lake, and among the batch's own rows. Tasks report in which tables there are marked rows;
the driver looks these up (`second_copies`), and where there are any the tasks run again and put them into quarantine.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.fs import FileSystem

from agentmon.contracts.message import ERRORS, REPEAT
from agentmon.contracts.topics import MAYBE_REPEAT, Place
from agentmon.lake.repeats import stored_ids
from agentmon.stream.batch import Range
from agentmon.stream.parsed import SCHEMAS, Parsed, joined

#: Offsets of second copies, in order, by topic and partition.
Places = Mapping[Place, Sequence[int]]

_PLACE = ("kafka_topic", "kafka_partition", "kafka_offset")
_LOOKED_AT = ["event_id", "time_source", "kafka_timestamp", "kafka_headers", *_PLACE]
#: A copy without a time of its own has Kafka's, which is of its sending: its first may be of days before.
_DAYS_BEFORE = {"message": 1, "kafka": 8, "clamped": 8}
_MARK = f'"key":{json.dumps(MAYBE_REPEAT)}'


def count_marked(rows: pa.Table) -> int:
    """How many rows of a table of messages say that they may have been sent before."""
    headers = rows["kafka_headers"]
    if headers.null_count == len(headers):
        return 0
    return int(pc.sum(pc.match_substring(headers, _MARK)).as_py() or 0)


def second_copies(
    files: Iterable[tuple[str, str, str]], folders: Mapping[str, FileSystem], lake: str, ranges: Sequence[Range]
) -> Places:
    """Which of a batch's marked rows are second copies.

    files: (table, path, day) of each file that its tasks wrote for a table with marked rows; folders: each table's.
    ranges: the batch's own; a batch that is done again must not take its own rows for first copies.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    for table, path, day in files:
        if table != "quarantine":
            rows.setdefault(table, []).extend(_identified(folders[table], path, day))
    places: dict[Place, list[int]] = {}
    for table, found in rows.items():
        ids = {row["event_id"] for row in found if row["is_marked"]}
        seen = _stored([row for row in found if row["is_marked"]], table, lake, ranges)
        candidates = (row for row in found if row["event_id"] in ids)
        for row in sorted(candidates, key=lambda r: (r["kafka_timestamp"], r["kafka_partition"], r["kafka_offset"])):
            if row["event_id"] in seen and row["is_marked"]:
                places.setdefault((row["kafka_topic"], row["kafka_partition"]), []).append(row["kafka_offset"])
            seen.add(row["event_id"])
    return {place: sorted(offsets) for place, offsets in places.items()}


def _identified(folder: FileSystem, path: str, day: str) -> list[dict[str, Any]]:
    """A file's rows that have an event_id, with the columns _LOOKED_AT, `event_date` and `is_marked`."""
    rows = pq.read_table(path, columns=_LOOKED_AT, filesystem=folder, partitioning=None)
    rows = rows.filter(rows["event_id"].is_valid())
    is_marked = pc.match_substring(rows["kafka_headers"], _MARK).fill_null(False)
    rows = rows.drop_columns(["kafka_headers"]).append_column("is_marked", is_marked)
    return [{**row, "event_date": date.fromisoformat(day)} for row in rows.to_pylist()]


def _stored(marked: list[dict[str, Any]], table: str, lake: str, ranges: Sequence[Range]) -> set[str]:
    """Those event_ids that the table has from other batches than this."""
    if not marked:
        return set()
    own = [{"topic_id": r.topic_id, "partition": r.partition, "start": r.start, "end": r.end} for r in ranges]
    first = min(row["event_date"] - timedelta(days=_DAYS_BEFORE[row["time_source"]]) for row in marked)
    last = max(row["event_date"] for row in marked) + timedelta(days=1)
    return stored_ids(lake, table, {row["event_id"] for row in marked}, first, last, own)


def move_repeats(parsed: Parsed, repeats: Places) -> Parsed:
    """The rows, those at these places in quarantine."""
    if not repeats:
        return parsed
    left, moved = dict(parsed), []
    for table, rows in parsed.items():
        if table != "quarantine" and rows.num_rows and (is_repeat := _are_at(rows, repeats)).any():
            left[table] = rows.filter(pa.array(~is_repeat))
            moved.append({"quarantine": _as_quarantine(rows.filter(pa.array(is_repeat)))})
    return joined([left, *moved])


def _are_at(rows: pa.Table, places: Places) -> Any:
    """A mask of numpy's: which rows lie at these places."""
    topics = rows["kafka_topic"].combine_chunks().dictionary_encode()
    names, codes = topics.dictionary.to_pylist(), topics.indices.to_numpy()
    partitions, offsets = rows["kafka_partition"].to_numpy(), rows["kafka_offset"].to_numpy()
    mask = np.zeros(len(rows), bool)
    for (topic, partition), wanted in places.items():
        if topic in names:
            mask |= (codes == names.index(topic)) & (partitions == partition) & np.isin(offsets, wanted)
    return mask


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
