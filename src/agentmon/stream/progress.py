"""How the query is getting on: one small status file, kept up to date from what Spark reports.

The file, AGENTMON_HOME/run/progress.json, is what `agentmon lag` and the gateway read:
{"as_of", "queries": {name: {"batch_id", "rows", "rows_per_s", "batch_ms", "at", "position": {topic:
{partition: next offset}}, "lag_messages", "lag_history", …}}}. It is replaced as a whole, never half written.
"""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from pyspark.sql.streaming.listener import StreamingQueryProgress

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


def facts_of(progress: StreamingQueryProgress) -> dict[str, Any]:
    """What Spark reports of a query after each micro-batch, as facts of the file."""
    report = json.loads(progress.json)
    ends = [s["endOffset"] for s in report["sources"] if s.get("endOffset")]
    latest = [s["latestOffset"] for s in report["sources"] if s.get("latestOffset")]
    position = ends[0] if ends else {}
    took_ms = report["batchDuration"]
    return {
        "batch_id": report["batchId"],
        "at": report["timestamp"],
        "rows": report["numInputRows"],
        "rows_per_s": round(report["numInputRows"] / (took_ms / 1000), 1) if took_ms else 0.0,
        "batch_ms": took_ms,
        "durations_ms": report["durationMs"],
        "position": position,
        "lag_messages": _behind(position, latest[0]) if latest else 0,
    }


def _behind(position: dict[str, dict[str, int]], latest: dict[str, dict[str, int]]) -> int:
    return sum(
        max(0, offset - position.get(topic, {}).get(partition, 0))
        for topic, partitions in latest.items()
        for partition, offset in partitions.items()
    )
