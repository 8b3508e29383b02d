"""The query: messages of agent.* → parsed once → figures and newest rows, at once → the lake, batch by batch.

    readers: fetch and parse what Spark has planned → taker: publish what is live → writer: commit every AGENTMON_LAKE_INTERVAL

Spark's thread asks the readers, which are processes (stream/reading.py), and hands what they read to the taker. While one
piece is taken in the next is read, and the last ones are written. A backlog goes the same way in larger steps.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import DataStreamWriter

from agentmon.contracts.topics import Offsets, Place
from agentmon.errors import KafkaUnreachable
from agentmon.lake.partials import COUNTED
from agentmon.lake.running import Running, read_running
from agentmon.settings import Settings
from agentmon.stream.batch import Batch, parse_offsets, ranges_between, render_offsets
from agentmon.stream.figures import Figures
from agentmon.stream.parsed import Parsed, side_by_side
from agentmon.stream.reading import Readers
from agentmon.stream.repeats import has_marks, move_repeats
from agentmon.stream.source import read_stream
from agentmon.stream.stage import Stage
from agentmon.stream.state import state_of
from agentmon.stream.store import Store, Stored
from agentmon.stream.updates import MOST, MOST_BEHIND, Message, row_updates
from agentmon.stream.writer import LakeWriter, Part

NAME = "monitor"

#: The ledger is the checkpoint. Spark's own, two files a micro-batch that it would wait for, is written once, beside
#: the first. The third lets foreachBatch have it: Spark does not, as batches may change their ends after a crash.
_NO_CHECKPOINT = {
    "asyncProgressTrackingEnabled": "true",
    "asyncProgressTrackingCheckpointIntervalMs": str(2**62),
    "_asyncProgressTrackingOverrideSinkSupportCheck": "true",
}
#: Between two micro-batches of Spark nothing is asked for: in a backlog they are few.
_AHEAD = 4
#: What the figures keep is looked up at most so often, seconds.
_STATE_S = 10.0

TopicIds = Callable[[], tuple[str, Mapping[str, str]]]


class _Read(NamedTuple):
    rows: Parsed
    end: Offsets
    ingest_time: datetime
    cluster_id: str
    topic_ids: Mapping[str, str]
    caught_up: bool


class MonitorQuery:
    """Reads from `start` on.

    `topic_ids()` gives (cluster id, topic → id) as they are now; `send(messages)` publishes; `on_stored(batch, stored,
    position)` is called after each sealed batch, `on_state` now and then with what `state_of` says. A stop is asked
    for with `stop_after_batch`. What is taken in at once has `most` messages at the most; Spark plans _AHEAD as many.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        start: Mapping[Place, int],
        topic_ids: TopicIds,
        send: Callable[[Iterable[Message]], None],
        on_stored: Callable[[Batch, Stored, Offsets], None],
        on_state: Callable[[dict[str, Any]], None],
        checkpoint: str,
        most: int,
    ) -> None:
        self._settings = settings
        self._topic_ids = topic_ids
        self._send = send
        self._on_state = on_state
        self._told_state = -_STATE_S
        self._checkpoint = checkpoint
        self._most = most
        self._readers = Readers(settings, start, most)
        self._position: Offsets = dict(start)
        self._running = threading.Lock()
        self._failed: Exception | None = None
        self._figures: Figures | None = None
        self._execution: Any = None  # Spark's StreamExecution
        self._taker = Stage("taker", self._take)
        self.writer = LakeWriter(
            store,
            uuid.uuid4().hex,
            start,
            on_stored,
            interval_s=settings.lake_interval_s,
            max_rows=settings.max_batch_messages,
        )

    def query(self, spark: SparkSession, kafka: Mapping[str, str]) -> DataStreamWriter:
        """The query, not yet started; the threads must be."""
        self._streams = spark.streams
        rows = read_stream(spark, kafka, self._position, maxOffsetsPerTrigger=str(_AHEAD * self._most))
        interval = min(self._settings.live_interval_s, self._settings.monitor_interval_s)
        return (
            rows.writeStream.queryName(NAME)
            .option("checkpointLocation", self._checkpoint)
            .options(**_NO_CHECKPOINT)
            .trigger(processingTime=f"{round(interval * 1000)} milliseconds")
            .foreachBatch(self._on_batch)
        )

    def _on_batch(self, _rows: DataFrame, _number: int) -> None:
        with self._running:
            end = self._end()
            if not self._readers.behind(end):
                return  # read with what came before
            try:
                self._read(end)
            except (KafkaUnreachable, RuntimeError) as error:
                self._failed = error  # Spark makes a page of text of it
                raise

    def _read(self, end: Offsets) -> None:
        _cluster_id, topic_ids = self._topic_ids()
        for rows in self._readers.until(end, topic_ids, self.writer.ingest_time()):
            # Asked again, after: rows of a topic that was made anew must not pass for rows of the old one.
            cluster_id, topic_ids = self._topic_ids()
            self._taker.put(_Read(rows.parsed, rows.end, rows.ingest_time, cluster_id, topic_ids, rows.caught_up))

    def _end(self) -> Offsets:
        """Where the micro-batch ends that runs now. (pyspark's public API tells where finished ones did.)"""
        if self._execution is None:
            running = next(query for query in self._streams.active if query.name == NAME)
            self._execution = running._jsq.streamingQuery()
        return parse_offsets(self._execution.availableOffsets().values().head().json())

    def _take(self, came: _Read) -> None:
        settings, topic_ids, parsed = self._settings, came.topic_ids, came.rows
        if has_marks(parsed):
            self.writer.flush()  # what is piled up is looked through too
            parsed = move_repeats(parsed, settings.lake, ranges_between(self._position, came.end, topic_ids))
        figures = self._figures or self._begin_figures(topic_ids)
        counted = side_by_side(parsed, COUNTED)
        summaries = figures.partials.summaries(counted)
        if figures.silent:
            self._read_again(figures, figures.silent.intersection(summaries["agent_id"].to_pylist()))
        changed = figures.add(counted, summaries)
        self._position.update(came.end)
        newest = row_updates(parsed, settings.newest_rows, MOST if came.caught_up else MOST_BEHIND)
        self._send([*newest, *figures.messages(changed, position_name(self._position, topic_ids))])
        self.writer.add(Part(parsed, summaries, *came[1:]))
        figures.drop_silent(time.time())
        if time.monotonic() > self._told_state + _STATE_S:
            self._told_state = time.monotonic()
            self._on_state(state_of(figures.agents, settings.watermark_s))

    def _begin_figures(self, topic_ids: Mapping[str, str]) -> Figures:
        """As the lake has them, at the position where the query starts: nothing was committed since.

        They are published: what was sealed, but not published when the job ended, would not be heard of until an
        agent's next event.
        """
        settings = self._settings
        figures = Figures(settings.window_s, settings.watermark_s, settings.agent_silence_s)
        figures.agents, figures.silent = self._running_figures()
        newest = {(name, figures.window_of(agent.newest)) for name, agent in figures.agents.items()}
        self._send(figures.messages(newest, position_name(self._position, topic_ids)))
        self._figures = figures
        return figures

    def _read_again(self, figures: Figures, names: set[str]) -> None:
        """Take in what the lake has of agents that come back."""
        if names:
            self.writer.flush()  # then it has all that came before this micro-batch
            figures.agents |= self._running_figures(names).agents
            figures.silent -= names

    def _running_figures(self, only: set[str] | None = None) -> Running:
        settings = self._settings
        return read_running(
            settings.lake,
            since_s=time.time() - settings.agent_silence_s,
            window_s=settings.window_s,
            watermark_s=settings.watermark_s,
            only=only,
        )

    def stop_after_batch(self) -> None:
        """Let what was fetched be taken in, seal everything, and fetch no more."""
        self._readers.stop()
        with self._running:
            self._readers.close()
        self._taker.close()
        self.writer.close()

    def start_threads(self) -> None:
        """Before the query."""
        self.writer.start()
        self._taker.start()

    def check(self) -> None:
        """Raises what reading or a thread failed with."""
        if self._failed is not None:
            raise self._failed
        self.writer.check()
        self._taker.check()


def position_name(end: Mapping[Place, int], topic_ids: Mapping[str, str]) -> str:
    """A short name of a position: the same offsets of the same topics always give the same."""
    text = render_offsets(end) + json.dumps({t: topic_ids.get(t) for t, _ in sorted(end)})
    return hashlib.sha256(text.encode()).hexdigest()[:16]
