"""What the tables have of a batch that a crash left half done, and that Kafka has dropped since."""

from __future__ import annotations

from collections.abc import Sequence

from agentmon.lake.connection import open_lake, query
from agentmon.stream.batch import Range
from agentmon.stream.parsed import SCHEMAS, Parsed, side_by_side


def kept_rows(lake: str, ranges: Sequence[Range]) -> Parsed:
    """Rows of messages within these ranges; of no table where there are no ranges. Raises NoLakeError."""
    if not ranges:
        return {}
    bounds = [{"topic_id": r.topic_id, "partition": r.partition, "start": r.start, "end": r.end} for r in ranges]
    with open_lake(lake, SCHEMAS) as con:
        return {
            name: con.execute(
                query("stored_rows").format(table=name, columns=", ".join(f'"{column}"' for column in schema.names)),
                {"ranges": bounds},
            )
            .to_arrow_table()
            .cast(schema)
            for name, schema in SCHEMAS.items()
        }


def ranges_of(rows: Parsed) -> list[Range]:
    """The offsets of these rows, those in a row as one range."""
    found: list[Range] = []
    if rows:
        places = side_by_side(rows, ("kafka_topic", "kafka_topic_id", "kafka_partition", "kafka_offset")).drop("table")
        for topic, topic_id, partition, offset in sorted(tuple(row.values()) for row in places.to_pylist()):
            one = Range(topic, topic_id, partition, offset, offset + 1)
            if found and found[-1]._replace(start=offset, end=offset + 1) == one and found[-1].end == offset:
                found[-1] = found[-1]._replace(end=offset + 1)
            else:
                found.append(one)
    return found
