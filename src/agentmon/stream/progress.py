"""How the queries are getting on: a StreamingQueryListener that keeps one small status file up to date.

The file, AGENTMON_HOME/run/progress.json, is what `agentmon lag` and the gateway read:
{"as_of", "queries": {name: {"batch_id", "rows", "rows_per_s", "batch_ms", "at", "position": {topic:
{partition: next offset}}, "lag_messages", "lag_history", …}}}. It is replaced as a whole, never half written.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark import SparkContext
from pyspark.sql.streaming import StreamingQueryListener
from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
)

from agentmon.contracts.topics import Place
from agentmon.stream.batch import render_offsets

#: Triggers whose lag is remembered; lag that rose over all of them is reported as rising.
LAG_HISTORY = 5


class ProgressFile:
    """The status file; safe to update from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._queries: dict[str, dict[str, Any]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)

    def update(self, query: str, **facts: Any) -> None:
        """Note facts of a query; a `lag_messages` is added to its history too."""
        with self._lock:
            entry = self._queries.setdefault(query, {})
            if "lag_messages" in facts:
                history = [*entry.get("lag_history", []), facts["lag_messages"]]
                entry["lag_history"] = history[-LAG_HISTORY:]
            entry.update(facts)
            self._write()

    def _write(self) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({"as_of": time.time(), "pid": os.getpid(), "queries": self._queries}))
        fresh.replace(self._path)


class Listener(StreamingQueryListener):
    """Passes on what Spark reports after each trigger of a query that began at `start`."""

    def __init__(self, file: ProgressFile, start: Mapping[Place, int]) -> None:
        self._file = file
        self._before = json.loads(render_offsets(start))
        self._java: Any = None

    @property
    def _jlistener(self) -> Any:
        """What addListener and removeListener hand to Java."""
        if self._java is None:
            jvm: Any = SparkContext._jvm
            self._java = jvm.PythonStreamingQueryListenerWrapper(_Quick(self))
        return self._java

    def onQueryProgress(self, event: QueryProgressEvent) -> None:  # noqa: N802 - Spark's name
        self.report(json.loads(event.progress.json))

    def report(self, told: dict[str, Any]) -> None:
        """Take in what Spark's progress says as JSON."""
        ends = [s["endOffset"] for s in told["sources"] if s.get("endOffset")]
        latest = [s["latestOffset"] for s in told["sources"] if s.get("latestOffset")]
        position = ends[0] if ends else {}
        # Spark itself fetches none of the planned messages, and counts none.
        rows, self._before = _behind(self._before, position), position
        self._file.update(
            told.get("name") or told["id"],
            batch_id=told["batchId"],
            at=told["timestamp"],
            rows=rows,
            rows_per_s=round(rows / (told["batchDuration"] / 1000), 1) if told["batchDuration"] else 0.0,
            batch_ms=told["batchDuration"],
            durations_ms=told["durationMs"],
            position=position,
            lag_messages=_behind(position, latest[0]) if latest else 0,
        )

    def onQueryStarted(self, event: QueryStartedEvent) -> None:  # noqa: N802 - Spark's names
        """The job itself says that it runs."""

    def onQueryIdle(self, event: QueryIdleEvent) -> None:  # noqa: N802 - Spark's names
        """Nothing arrived: nothing to say."""

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:  # noqa: N802 - Spark's name
        """The job itself says why."""


class _Quick:
    """What Java calls. Pyspark's own makes some hundred calls back to Java of each report, several times a second."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def onQueryProgress(self, event: Any) -> None:  # noqa: N802 - Java's name
        self._listener.report(json.loads(event.progress().json()))

    def ignore(self, _: Any) -> None:
        """Nothing to say."""

    onQueryStarted = onQueryIdle = onQueryTerminated = ignore  # noqa: N815 - Java's names

    class Java:
        implements = ("org.apache.spark.sql.streaming.PythonStreamingQueryListener",)


def _behind(position: dict[str, dict[str, int]], latest: dict[str, dict[str, int]]) -> int:
    return sum(
        max(0, offset - position.get(topic, {}).get(partition, 0))
        for topic, partitions in latest.items()
        for partition, offset in partitions.items()
    )
