"""The streaming query: Spark's Kafka source → tasks → publish → commit.

Spark reads all agent.* topics in micro-batches, one every AGENT_MONITOR_INTERVAL. Its tasks parse the messages, write
their rows into files, and add up partial figures (stream/task.py). The driver brings the running figures forward,
publishes, and commits. No message passes through it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import DataStreamWriter

from agentmon.contracts.topics import Offsets, Place
from agentmon.settings import Settings
from agentmon.stream.batch import Batch, now, ranges_between
from agentmon.stream.commit import Store
from agentmon.stream.output import Output
from agentmon.stream.publishing import Publishing
from agentmon.stream.run import run_tasks
from agentmon.stream.source import batch_end, read_stream

NAME = "monitor"

#: () → (cluster id, topic → id), as Kafka has them now. Raises IncarnationError where a topic was made anew.
Topics = Callable[[], tuple[str, Mapping[str, str]]]


class MonitorQuery:
    """One run of the query, from `start` on, under an id and with a checkpoint folder of its own.

    `on_stored(output, position)` is called after each sealed batch.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        publishing: Publishing,
        topics: Topics,
        start: Mapping[Place, int],
        on_stored: Callable[[Output, Offsets], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._publishing = publishing
        self._topics = topics
        self._position: Offsets = dict(start)
        self._on_stored = on_stored
        self._id = uuid.uuid4().hex
        self.checkpoint = f"{settings.checkpoints}/{NAME}-{self._id}"
        self._in_batch = threading.Lock()
        self._stopping = False
        self.error: Exception | None = None  # as it was raised: Spark makes a page of text of it

    def writer(self, spark: SparkSession, kafka: Mapping[str, str]) -> DataStreamWriter:
        """The query, not yet started."""
        most = self._settings.max_batch_messages
        cores = spark.sparkContext.defaultParallelism
        messages = read_stream(spark, kafka, self._position, most=most, most_of_partition=max(1, most // (4 * cores)))
        return (
            messages.writeStream.queryName(NAME)
            .option("checkpointLocation", self.checkpoint)
            .trigger(processingTime=f"{round(self._settings.monitor_interval_s * 1000)} milliseconds")
            .foreachBatch(self._on_batch)
        )

    def _on_batch(self, messages: DataFrame, number: int) -> None:
        with self._in_batch:
            if self._stopping:
                return  # Spark takes it for done, and its checkpoint is not used again
            try:
                self._store_batch(messages, number)
            except Exception as error:
                self.error = error
                raise

    def _store_batch(self, messages: DataFrame, number: int) -> None:
        cluster_id, topic_ids = self._topics()
        end = self._position | batch_end(messages.sparkSession, self.checkpoint, number)
        batch = Batch(self._id, number, ranges_between(self._position, end, topic_ids), now(), cluster_id)
        if not batch.ranges:  # a topic was made, and nothing sent there
            self._position = end
            return
        try:
            output = run_tasks(messages, batch, self._settings)
            self._store.check(output)
            self._publishing.take_in(output, end, topic_ids)
            self._topics()  # rows of a topic that was made anew meanwhile must not pass for rows of the old one
            self._store.commit(output, batch)
        except BaseException:
            self._store.discard(batch)
            raise
        self._position = end
        self._on_stored(output, end)

    def stop_after_batch(self) -> None:
        """Let the batch in hand be sealed; no other one begins. The query itself is still to be stopped."""
        self._stopping = True
        with self._in_batch:
            pass
