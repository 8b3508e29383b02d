"""When the query `live` runs: it is started at a sealed position, and stands aside for a long backlog."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql.streaming import StreamingQuery

from agentmon.lake.files import is_local, local_path
from agentmon.lake.running import read_running
from agentmon.settings import Settings
from agentmon.stream.figures import Figures
from agentmon.stream.kafka import KafkaView
from agentmon.stream.lake import LakeQuery, Offsets
from agentmon.stream.live import MAX_BACKLOG, LiveQuery, Send, position_name
from agentmon.stream.state import state_of

log = logging.getLogger(__name__)

_CHECK_S = 0.5
_RETRY_S = 5.0
_STATE_S = 2.0


class LiveSupervisor(threading.Thread):
    """Starts and stops the query `live`; while that stands aside, publishes the lake's figures itself."""

    def __init__(
        self,
        settings: Settings,
        spark: SparkSession,
        kafka: KafkaView,
        spark_kafka: Mapping[str, str],
        lake: LakeQuery,
        send: Send,
        on_state: Callable[[dict[str, Any]], None],
    ) -> None:
        super().__init__(name="live-supervisor", daemon=True)
        self._settings = settings
        self._spark = spark
        self._kafka = kafka
        self._spark_kafka = spark_kafka
        self._lake = lake
        self._send = send
        self._on_state = on_state
        self._told_state = -_STATE_S
        self._asked_to_stop = threading.Event()
        self._query: StreamingQuery | None = None
        self._live: LiveQuery | None = None
        self._figures: Figures | None = None
        self._published: Offsets = {}
        self._starts = 0

    def run(self) -> None:
        """Look after the query until asked to stop. What goes wrong here never stops the lake query."""
        while not self._asked_to_stop.wait(_CHECK_S):
            try:
                self._check()
            except Exception as error:  # noqa: BLE001 - live figures may fail and come back; the lake goes on
                log.warning(
                    "live figures pause: %s", str(error).splitlines()[0] if str(error) else type(error).__name__
                )
                self._end()
                self._asked_to_stop.wait(_RETRY_S)
        self._end()

    def stop(self) -> None:
        """Let the running batch be published, then end."""
        self._asked_to_stop.set()
        self.join()

    def _check(self) -> None:
        ends = self._kafka.ends()
        if self._query is not None and self._live is not None and self._figures is not None:
            if not self._query.isActive:
                raise RuntimeError(str(self._query.exception()))
            if _behind(self._live.position, ends) > MAX_BACKLOG:
                log.info("live figures follow the lake until the backlog is drained")
                self._end()
            else:
                self._tell_state(self._figures)
        elif not self._lake.is_warm():
            return  # on a cold JVM both at once would have each wait for the other
        elif _behind(self._lake.position, ends) <= MAX_BACKLOG:
            self._begin()
        else:
            self._publish_from_lake()

    def _tell_state(self, figures: Figures) -> None:
        if time.monotonic() > self._told_state + _STATE_S:
            self._told_state = time.monotonic()
            self._on_state(state_of(figures.agents, self._settings.watermark_s))

    def _read(self) -> tuple[Figures, Offsets]:
        settings = self._settings
        since = time.time() - settings.agent_silence_s
        positions, agents = read_running(
            settings.lake, since_s=since, window_s=settings.window_s, watermark_s=settings.watermark_s
        )
        figures = Figures(settings.window_s, settings.watermark_s, settings.agent_silence_s)
        figures.agents = agents
        _, topic_ids = self._kafka.topic_ids()
        known = {(p.topic, p.partition): p.end_offset for p in positions if topic_ids.get(p.topic) == p.topic_id}
        start = {key: known.get(key, beginning) for key, (beginning, _) in self._kafka.offsets().items()}
        return figures, start

    def _begin(self) -> None:
        figures, start = self._read()
        # What was sealed, but not published when the job ended, would not be heard of until an agent's next event.
        self._publish(figures, start)
        checkpoint = f"{self._settings.checkpoints}/live-{self._starts % 2}"
        self._starts += 1
        remove(checkpoint)
        live = LiveQuery(self._settings, figures, start, self._kafka.topic_ids, self._send, checkpoint)
        self._spark.sparkContext.setLocalProperty("spark.scheduler.pool", "live")
        self._query, self._live, self._figures = live.writer(self._spark, self._spark_kafka).start(), live, figures

    def _publish_from_lake(self) -> None:
        at = dict(self._lake.position)
        if at == self._published:
            return
        self._published = at
        self._publish(*self._read())

    def _publish(self, figures: Figures, position: Offsets) -> None:
        newest = {(name, figures.window_of(agent.newest)) for name, agent in figures.agents.items()}
        _, topic_ids = self._kafka.topic_ids()
        self._send(figures.messages(newest, position_name(position, topic_ids)))

    def _end(self) -> None:
        if self._live is not None and self._query is not None:
            self._live.stop_after_batch()
            self._query.stop()
        self._live, self._query, self._figures = None, None, None


def remove(uri: str) -> None:
    """Remove a checkpoint of ours that nothing needs any more; on an object store it is left to its lifecycle rules."""
    if is_local(uri):
        shutil.rmtree(local_path(uri), ignore_errors=True)


def _behind(position: Mapping[tuple[str, int], int], ends: Mapping[tuple[str, int], int]) -> int:
    return sum(max(0, end - position.get(key, 0)) for key, end in ends.items())
