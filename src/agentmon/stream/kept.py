"""What the tables have of a batch that a crash left half done, and that Kafka has dropped since."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow.compute as pc

from agentmon.lake.connection import open_lake, query
from agentmon.stream.batch import Range
from agentmon.stream.parsed import SCHEMAS, Parsed, side_by_side


def kept_rows(lake: str, ranges: Sequence[Range]) -> Parsed:
    """Rows of messages within these ranges; of no table where there are no ranges. Raises NoLakeError."""
    if not ranges:
        return {}
    bounds = {
        "ranges": [{"topic_id": r.topic_id, "partition": r.partition, "start": r.start, "end": r.end} for r in ranges],
        "first": min(r.start for r in ranges),
        "last": max(r.end for r in ranges) - 1,
    }
    with open_lake(lake, SCHEMAS) as con:
        return {
            name: con.execute(
                query("stored_rows").format(table=name, columns=", ".join(f'"{column}"' for column in schema.names)),
                bounds,
            )
            .to_arrow_table()
            .cast(schema)
            for name, schema in SCHEMAS.items()
        }


def rows_in(ranges: Iterable[Range], rows: Parsed) -> dict[Range, int]:
    """How many of the rows each range has."""
    places = side_by_side(rows, ("kafka_topic_id", "kafka_partition", "kafka_offset"))
    return {r: len(places.filter(_is_in(r))) for r in ranges}


def _is_in(r: Range) -> pc.Expression:
    is_place = (pc.field("kafka_topic_id") == r.topic_id) & (pc.field("kafka_partition") == r.partition)
    return is_place & (pc.field("kafka_offset") >= r.start) & (pc.field("kafka_offset") < r.end)
