"""Second copies of messages: stored and audited, and in no figure but events and quarantined.

A producer marks a message that it may have sent before (contracts.topics.MAYBE_REPEAT). Only marked messages are
looked up, by event_id: in the lake, and among the batch's own rows. That a batch has any is counted in the pass that
is made anyway, so that a batch without them costs nothing.
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

from pyspark.sql import Column, DataFrame, Observation, Row
from pyspark.sql import functions as F

from agentmon.contracts.message import ERRORS, REPEAT
from agentmon.contracts.tables import MESSAGE_TABLES
from agentmon.contracts.topics import MAYBE_REPEAT
from agentmon.stream.batch import Batch
from agentmon.stream.tables import path_of

_PLACE = ("kafka_topic_id", "kafka_partition", "kafka_offset")
#: Columns that a message keeps in quarantine: all that it came with, its contents as raw bytes.
_KEPT = frozenset(MESSAGE_TABLES["quarantine"].column_names) - {"reason", "error", "raw"}
#: A copy without a time of its own has Kafka's, which is of its sending: its first may be of days before.
_DAYS_BEFORE = {"message": 1, "kafka": 8, "clamped": 8}


class Repeats:
    """The repeats of one batch. Use `watch` on its parsed rows, and `set_aside` once these have been computed."""

    def __init__(self, lake: str, batch: Batch) -> None:
        self._lake = lake
        self._batch = batch
        self._seen = Observation()

    def watch(self, parsed: DataFrame) -> DataFrame:
        """The same rows; while they are computed, those that are marked are counted."""
        return parsed.observe(self._seen, F.count_if(_is_marked()).alias("marked"))

    def set_aside(self, parsed: DataFrame) -> DataFrame | None:
        """The rows with second copies in quarantine; None where there are none."""
        if not self._seen.get["marked"]:
            return None
        marked = (
            parsed.where(_is_marked()).select("table", "event_id", "event_date", "time_source").distinct().collect()
        )
        stored = {(row.table, event_id) for row in _per_table(marked) for event_id in self._stored(row)}
        repeats = self._repeats(parsed, marked, stored)
        return _moved(parsed, repeats) if repeats else None

    def _stored(self, wanted: Row) -> set[str]:
        """Which of a table's wanted event_ids the lake has from other batches than this."""
        rows = _with_ids(wanted, self._lake)
        other = ~F.coalesce(_any(_within(r) for r in self._batch.ranges), F.lit(False))
        return {row.event_id for row in rows.where(other).select("event_id").distinct().collect()}

    def _repeats(self, parsed: DataFrame, marked: list[Row], stored: set[tuple[str, str]]) -> list[Row]:
        """Marked rows whose message is in the lake, or before them in this batch."""
        ids = sorted({row.event_id for row in marked})
        same = parsed.where((F.col("table") != "quarantine") & F.col("event_id").isin(ids))
        rows = same.select("table", "event_id", "kafka_timestamp", *_PLACE, _is_marked().alias("marked")).collect()
        rows.sort(key=lambda row: (row.kafka_timestamp, row.kafka_partition, row.kafka_offset))
        seen = set(stored)
        found = []
        for row in rows:
            if (row.table, row.event_id) in seen and row.marked:
                found.append(row)
            seen.add((row.table, row.event_id))
        return found


def _with_ids(wanted: Row, lake: str) -> DataFrame:
    """Rows of one table with one of the wanted event_ids, from the days that these can be of."""
    from pyspark.sql import SparkSession

    spark = SparkSession.active()
    rows = spark.read.format("delta").load(path_of(lake, wanted.table))
    return rows.where(F.col("event_date").between(wanted.first, wanted.last) & F.col("event_id").isin(wanted.ids))


def _per_table(marked: list[Row]) -> list[Row]:
    """A row a table: table, ids, and the first and last day on which their first copies can lie."""
    tables: dict[str, list[Row]] = {}
    for row in marked:
        tables.setdefault(row.table, []).append(row)

    def earliest(row: Row) -> date:
        day: date = row.event_date
        return day - timedelta(days=_DAYS_BEFORE[row.time_source])

    return [
        Row(
            table=table,
            ids=sorted({row.event_id for row in rows}),
            first=min(map(earliest, rows)),
            last=max(row.event_date for row in rows) + timedelta(days=1),
        )
        for table, rows in tables.items()
    ]


def _is_marked() -> Column:
    """Marked by its producer, with an id to look it up by, and readable."""
    header = F.col("kafka_headers").contains(f'"key":{json.dumps(MAYBE_REPEAT)}')
    return F.coalesce(header & F.col("event_id").isNotNull() & (F.col("table") != "quarantine"), F.lit(False))


def _within(r: Any) -> Column:
    same = (F.col("kafka_topic_id") == r.topic_id) & (F.col("kafka_partition") == r.partition)
    inside: Column = same & F.col("kafka_offset").between(r.start, r.end - 1)
    return inside


def _any(conditions: Any) -> Column:
    found: Column = F.lit(False)
    for condition in conditions:
        found = found | condition
    return found


def _moved(parsed: DataFrame, repeats: list[Row]) -> DataFrame:
    """The rows with these places in quarantine."""
    told = json.dumps([{name: row[name] for name in _PLACE} for row in repeats])
    # As one JSON text: rows of Python objects would start Python workers.
    schema = "array<struct<kafka_topic_id:string,kafka_partition:int,kafka_offset:bigint>>"
    places = parsed.sparkSession.range(0, 1, 1, 1).select(F.inline(F.from_json(F.lit(told), schema)))
    flagged = parsed.join(F.broadcast(places.withColumn("_repeat", F.lit(True))), list(_PLACE), "left")
    is_repeat = F.col("_repeat").isNotNull()
    instead = {
        "table": F.lit("quarantine"),
        "reason": F.lit(REPEAT),
        "error": F.lit(ERRORS[REPEAT]),
        "raw": F.col("payload").cast("binary"),
    }

    def column(name: str) -> Column:
        if name in instead:
            return F.when(is_repeat, instead[name]).otherwise(F.col(name)).alias(name)
        return F.col(name) if name in _KEPT else F.when(~is_repeat, F.col(name)).alias(name)

    return flagged.select(*(column(name) for name in parsed.columns))
