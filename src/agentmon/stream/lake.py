"""The query `lake`: every message of agent.* into its table, once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import DataStreamWriter

from agentmon.lake.files import read_text
from agentmon.settings import Settings
from agentmon.stream.batch import Batch, now, parse_offsets, ranges_between
from agentmon.stream.source import read_stream
from agentmon.stream.store import Store, Stored

NAME = "lake"

#: Next offset per (topic, partition).
Offsets = dict[tuple[str, int], int]


class LakeQuery:
    """Turns micro-batches into batches of the store.

    `topic_ids()` gives (cluster id, topic → id) as they are now; `on_stored(batch, stored, position)`
    is called after each sealed batch. A stop is asked for with `stop_after_batch`.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        start: Mapping[tuple[str, int], int],
        topic_ids: Callable[[], tuple[str, Mapping[str, str]]],
        on_stored: Callable[[Batch, Stored, Offsets], None],
        checkpoint: str,
    ) -> None:
        self._settings = settings
        self._store = store
        self._topic_ids = topic_ids
        self._on_stored = on_stored
        self._checkpoint = checkpoint
        self._query_id = uuid.uuid4().hex
        self.position: Offsets = dict(start)
        self._running = threading.Lock()
        self._stopping = threading.Event()
        self._batches = 0

    def writer(self, spark: SparkSession, kafka: Mapping[str, str]) -> DataStreamWriter:
        """The query, not yet started."""
        interval = self._settings.lake_interval_s
        rows = read_stream(
            spark,
            kafka,
            self.position,
            maxOffsetsPerTrigger=str(self._settings.max_batch_messages),
            # Few messages wait for the interval to pass; a backlog is taken up without a pause.
            minOffsetsPerTrigger=str(max(1, self._settings.max_batch_messages // 10)),
            maxTriggerDelay=f"{round(interval * 1000)}ms",
        )
        return (
            rows.writeStream.queryName(NAME)
            .option("checkpointLocation", self._checkpoint)
            .trigger(processingTime=f"{round(min(0.2, interval) * 1000)} milliseconds")
            .foreachBatch(self._on_batch)
        )

    def _on_batch(self, rows: DataFrame, batch_id: int) -> None:
        with self._running:
            if self._stopping.is_set():
                return
            end = offsets_of(self._checkpoint, batch_id)
            cluster_id, topic_ids = self._topic_ids()
            ranges = ranges_between(self.position, end, topic_ids)
            if not ranges:
                return  # Spark begins with a batch, whether or not there is anything to read
            batch = Batch(self._query_id, batch_id, ranges, now(), cluster_id)
            stored = self._store.store(rows, batch)
            self.position.update(end)
            self._batches += 1
            self._on_stored(batch, stored, dict(self.position))

    def is_warm(self) -> bool:
        """Whether the first batch, which has everything to compile, is over or not asked for yet."""
        return self._batches > 0 or not self._running.locked()

    def stop_after_batch(self) -> None:
        """Let the batch that is being stored be sealed, and store no more."""
        self._stopping.set()
        with self._running:
            pass


def offsets_of(checkpoint: str, batch_id: int) -> Offsets:
    """Where a micro-batch ends, from Spark's own log of offsets (written before the batch runs).

    Source: org.apache.spark.sql.execution.streaming.OffsetSeqLog: a version line, a line of metadata, a line a source.
    """
    text = read_text(f"{checkpoint}/offsets/{batch_id}")
    if text is None:
        raise RuntimeError(f"no offsets of batch {batch_id} under {checkpoint}")
    return parse_offsets(text.splitlines()[2])
