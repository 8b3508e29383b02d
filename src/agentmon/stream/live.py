"""The query `live`: newest rows and running figures to agent.monitor.frontend, several times a second.

It starts at a position that the lake has sealed, with the figures that the lake has up to there. When
a backlog is longer than it can follow, it stands aside and starts anew once the lake query has
drained it: parsing a backlog twice would only delay the lake.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming import DataStreamWriter

from agentmon.contracts.message import Limits
from agentmon.contracts.tables import ACTIONS, THOUGHTS
from agentmon.settings import Settings
from agentmon.stream.batch import now, render_offsets
from agentmon.stream.figures import Figures, Row, newest_per_agent
from agentmon.stream.lake import Offsets, offsets_of
from agentmon.stream.parse import parse
from agentmon.stream.source import read_stream

NAME = "live"

#: Messages in one batch at the most: what the driver can count in a fraction of the interval.
MAX_BATCH = 5_000
#: A backlog longer than this is left to the lake query.
MAX_BACKLOG = 50_000

_UPDATES = {
    "actions": ("action_update", "agent_action", ACTIONS),
    "thoughts": ("thought_update", "agent_thought", THOUGHTS),
}
_JSON_TEXT = frozenset({"context"})
_OWN = {name: table.own_column_names for name, (_, _, table) in _UPDATES.items()}
_COLUMNS = list(
    dict.fromkeys(
        ["table", "agent_id", "session_id", "event_id", "kafka_topic", "kafka_partition", "kafka_offset", "metrics"]
        + _OWN["actions"]
        + _OWN["thoughts"]
    )
)

Send = Callable[[list[tuple[str, dict[str, Any]]]], None]


class LiveQuery:
    """Feeds `figures` and publishes through `send`."""

    def __init__(
        self,
        settings: Settings,
        figures: Figures,
        start: Mapping[tuple[str, int], int],
        topic_ids: Callable[[], tuple[str, Mapping[str, str]]],
        send: Send,
        checkpoint: str,
    ) -> None:
        self._settings = settings
        self._limits = Limits(settings.max_message_bytes, settings.max_depth, settings.max_ahead_s)
        self._figures = figures
        self._topic_ids = topic_ids
        self._send = send
        self._checkpoint = checkpoint
        self.position: Offsets = dict(start)
        self._running = threading.Lock()
        self._stopping = threading.Event()

    def writer(self, spark: SparkSession, kafka: Mapping[str, str]) -> DataStreamWriter:
        """The query, not yet started."""
        rows = read_stream(spark, kafka, self.position, maxOffsetsPerTrigger=str(MAX_BATCH))
        interval = min(self._settings.live_interval_s, self._settings.monitor_interval_s)
        return (
            rows.writeStream.queryName(NAME)
            .option("checkpointLocation", self._checkpoint)
            .trigger(processingTime=f"{round(interval * 1000)} milliseconds")
            .foreachBatch(self._on_batch)
        )

    def _on_batch(self, rows: DataFrame, batch_id: int) -> None:
        with self._running:
            if self._stopping.is_set():
                return
            _, topic_ids = self._topic_ids()
            end = offsets_of(self._checkpoint, batch_id)
            if end == self.position:
                return  # Spark begins with a batch, whether or not there is anything to read
            parsed = parse(rows, limits=self._limits, topic_ids=topic_ids, ingest_time=now())
            found = parsed.select(*_COLUMNS, _us("event_time")).toArrow().to_pylist()
            self._publish(found, topic_ids, end)
            self.position.update(end)

    def _publish(self, found: list[dict[str, Any]], topic_ids: Mapping[str, str], end: Offsets) -> None:
        changed = self._figures.add(map(figure_row, found))
        shown = [
            (row["agent_id"], row["event_time"], update(row, topic_ids)) for row in found if row["table"] in _UPDATES
        ]
        newest = newest_per_agent(shown, self._settings.newest_rows)
        self._send([*newest, *self._figures.messages(changed, position_name(end, topic_ids))])
        self._figures.drop_silent(time.time())

    def stop_after_batch(self) -> None:
        """Let the batch that is being published end, and publish no more."""
        self._stopping.set()
        with self._running:
            pass


def position_name(end: Offsets, topic_ids: Mapping[str, str]) -> str:
    """A short name of a position: the same offsets of the same topics always give the same."""
    text = render_offsets(end) + json.dumps({t: topic_ids.get(t) for t, _ in sorted(end)})
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def figure_row(row: Mapping[str, Any]) -> Row:
    """What the figures need of a parsed row."""
    return Row(
        row["table"], row["agent_id"], row["event_time"], row["kafka_partition"], row["kafka_offset"],
        row["tool"], row["action"], row["success"], row["reward"], row["duration_ms"], bool(row["error"]),
        dict(row["metrics"]) if row["metrics"] else None,
    )  # fmt: skip


def update(row: Mapping[str, Any], topic_ids: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """(agent_id, action_update or thought_update) with the event's own fields, as the tables have them."""
    kind, type_, _ = _UPDATES[row["table"]]
    data: dict[str, Any] = {"type": type_, "timestamp": row["event_time"] / 1e6, "agent_id": row["agent_id"]}
    for name in ("session_id", "event_id", *_OWN[row["table"]]):
        if row[name] is not None:
            data[name] = _opened(row[name]) if name in _JSON_TEXT else row[name]
    return row["agent_id"], {
        "type": kind,
        "data": data,
        "id": f"{topic_ids[row['kafka_topic']]}:{row['kafka_partition']}:{row['kafka_offset']}",
    }


def _opened(text: str) -> Any:
    """A JSON text as the value that it stands for; as text where a strict reader can't take it (NaN)."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(name: str) -> None:
    raise ValueError(name)


def _us(name: str) -> Column:
    return F.unix_micros(name).alias(name)
