"""Write one batch to the lake: every message once, its figures once, and the ledger as its seal.

Invariants
- The ledger is written last. What it has is whole; where the job goes on is read from it and from
  nothing else (Spark's checkpoint is only what Structured Streaming needs to run).
- Each table's write is a Delta transaction named (query_id, batch_id), so that doing a batch again
  writes only what is missing. Each commit carries the batch's description, so that it can be done
  again by anybody who finds it (see resume.py).
- What a message becomes depends on the message and the batch's description alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from agentmon.contracts.message import Limits
from agentmon.contracts.tables import LEDGER, MESSAGE_TABLES
from agentmon.settings import Settings
from agentmon.stream.batch import Batch, now
from agentmon.stream.parse import parse
from agentmon.stream.summarise import sessions, summaries
from agentmon.stream.tables import path_of

#: Batches below this size write one file a table and day; larger ones a file per Kafka partition.
_ONE_FILE_ROWS = 25_000
#: Writes of one batch that go on at the same time. More than the cores gains nothing.
_WRITERS = 3

_COUNTED_AS = {
    "actions": "actions",
    "thoughts": "thoughts",
    "learning": "learning",
    "metrics": "metrics",
    "events": "other",
    "quarantine": "quarantined",
}


#: Rows per table that a batch put into the lake.
Stored = dict[str, int]


class Store:
    """Writes batches into one lake.

    `commit_lock` is taken around the commits of a batch, for writers in other processes;
    `before_write` is called with each table's name before its write (the fault tests stop there).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        commit_lock: Callable[[], AbstractContextManager[None]] = nullcontext,
        before_write: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._limits = Limits(settings.max_message_bytes, settings.max_depth, settings.max_ahead_s)
        self._commit_lock = commit_lock
        self._before_write = before_write

    def store(self, rows: DataFrame, batch: Batch, pool: str = "lake") -> Stored:
        """Put the messages of `batch` (rows of Spark's Kafka source) into every table that they concern."""
        topic_ids = {r.topic: r.topic_id for r in batch.ranges}
        parsed = parse(rows, limits=self._limits, topic_ids=topic_ids, ingest_time=batch.ingest_time)
        parsed = parsed.persist(StorageLevel.MEMORY_AND_DISK_DESER)
        partials = summaries(parsed, batch, self._settings.window_s).persist()
        try:
            stored = _count(partials)
            # Offsets without a message are rare: markers of transactions, a compacted topic.
            found = None if sum(stored.values()) == batch.messages else _messages(parsed)
            with self._commit_lock():
                self._write_all(parsed, partials, stored, batch, pool)
                self._append(ledger_rows(parsed.sparkSession, batch, "stored", messages=found), "ledger", batch)
            return stored
        finally:
            partials.unpersist()
            parsed.unpersist()

    def _write_all(self, parsed: DataFrame, partials: DataFrame, stored: Stored, batch: Batch, pool: str) -> None:
        small = sum(stored.values()) < _ONE_FILE_ROWS
        writes = {}
        for table, rows in stored.items():
            if rows:
                chosen = parsed.where(F.col("table") == table).select(*MESSAGE_TABLES[table].column_names)
                writes[table] = chosen.coalesce(1) if small else chosen
        if writes:
            writes["summaries"] = partials.coalesce(1)
            writes["sessions"] = sessions(parsed, batch, self._settings.window_s).coalesce(1)
        spark = parsed.sparkSession
        with ThreadPoolExecutor(_WRITERS, initializer=_use_pool, initargs=(spark, pool)) as writers:
            done: list[Future[None]] = [
                writers.submit(self._append, frame, table, batch) for table, frame in writes.items()
            ]
            for future in done:
                future.result()

    def _append(self, frame: DataFrame, table: str, batch: Batch) -> None:
        self._before_write(table)
        append(frame, path_of(self._settings.lake, table), batch)


def append(frame: DataFrame, path: str, batch: Batch) -> None:
    """Append to a Delta table once, however often it is called for the same batch."""
    frame.write.format("delta").mode("append").options(
        txnAppId=batch.query_id, txnVersion=str(batch.batch_id), userMetadata=batch.to_json()
    ).save(path)


def ledger_rows(
    spark: SparkSession,
    batch: Batch,
    kind: str,
    note: str | None = None,
    messages: Mapping[tuple[str, int], int] | None = None,
) -> DataFrame:
    """The ledger's rows for the ranges of a batch; `messages` in each partition where these are fewer than offsets."""
    at = now()
    rows = [
        {
            "query_id": batch.query_id,
            "batch_id": batch.batch_id,
            "kind": kind,
            "kafka_topic": r.topic,
            "kafka_topic_id": r.topic_id,
            "kafka_partition": r.partition,
            "start_offset": r.start,
            "end_offset": r.end,
            "messages": (r.end - r.start if messages is None else messages.get((r.topic, r.partition), 0))
            if kind == "stored"
            else None,
            "cluster_id": batch.cluster_id,
            "committed_at": at.isoformat(),
            "note": note,
            "event_date": at.date().isoformat(),
        }
        for r in batch.ranges
    ]
    # As one JSON text: rows of Python objects would start Python workers, for a dozen numbers.
    told = F.from_json(F.lit(json.dumps(rows)), f"array<struct<{LEDGER.ddl(': ')}>>")
    return spark.range(0, 1, 1, 1).select(F.inline(told))


def _count(partials: DataFrame) -> Stored:
    """Rows per table. This runs the parse, and fills both caches."""
    counted = partials.agg(*(F.sum(column).alias(table) for table, column in _COUNTED_AS.items())).first()
    return {table: int(counted[table] or 0) for table in _COUNTED_AS} if counted else {}


def _messages(parsed: DataFrame) -> dict[tuple[str, int], int]:
    """Rows per topic and partition."""
    counted = parsed.groupBy("kafka_topic", "kafka_partition").count().collect()
    return {(row["kafka_topic"], row["kafka_partition"]): row["count"] for row in counted}


def _use_pool(spark: SparkSession, pool: str) -> None:
    spark.sparkContext.setLocalProperty("spark.scheduler.pool", pool)
