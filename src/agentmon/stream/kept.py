"""What the tables have of a batch that a crash left half done, and that Kafka has dropped since."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from agentmon.lake.connection import open_lake, query
from agentmon.lake.partials import COUNTED
from agentmon.stream.batch import Range
from agentmon.stream.parsed import SCHEMAS, Parsed, side_by_side

#: Columns that figures are made of, and a row's place in Kafka.
_COLUMNS = frozenset((*COUNTED, "kafka_topic", "kafka_topic_id"))


def kept_rows(lake: str, ranges: Sequence[Range]) -> Parsed:
    """Rows of messages within these ranges, of their columns those that figures need. Raises NoLakeError.

    Of no table where there are no ranges.
    """
    if not ranges:
        return {}
    bounds = {
        "ranges": [{"topic_id": r.topic_id, "partition": r.partition, "start": r.start, "end": r.end} for r in ranges],
        "first": min(r.start for r in ranges),
        "last": max(r.end for r in ranges) - 1,
    }
    rows = {}
    with open_lake(lake, SCHEMAS) as con:
        for name, schema in SCHEMAS.items():
            fields = pa.schema([column for column in schema if column.name in _COLUMNS])
            columns = ", ".join(f'"{column}"' for column in fields.names)
            text = query("stored_rows").format(table=name, columns=columns)
            rows[name] = con.execute(text, bounds).to_arrow_table().cast(fields)
    return rows


def rows_in(ranges: Iterable[Range], rows: Parsed) -> dict[Range, int]:
    """How many of the rows each range has."""
    places = side_by_side(rows, ("kafka_topic_id", "kafka_partition", "kafka_offset"))
    return {r: len(places.filter(_is_in(r))) for r in ranges}


def _is_in(r: Range) -> pc.Expression:
    is_place = (pc.field("kafka_topic_id") == r.topic_id) & (pc.field("kafka_partition") == r.partition)
    return is_place & (pc.field("kafka_offset") >= r.start) & (pc.field("kafka_offset") < r.end)
