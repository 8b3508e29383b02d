"""The streaming job as a whole: start, keep going, stop.

    locks → tables → (resume from the ledger → query → wait)*, until stopped or until it can't go on

A query that fails is started again from the ledger; a Kafka that is away is waited for.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql.streaming import StreamingQuery

from agentmon.contracts.topics import Offsets, Place, is_read
from agentmon.errors import AgentmonError, KafkaUnreachable, LakeBusyError, first_line
from agentmon.lake.files import is_local, local_path, remove_folders
from agentmon.lake.ledger import Position, has_batch, read_positions
from agentmon.live.client import spark_options
from agentmon.live.frontend import FrontendPublisher
from agentmon.live.topics import wanted_topics
from agentmon.settings import Settings
from agentmon.stream.batch import Batch, Range, now
from agentmon.stream.commit import Store
from agentmon.stream.compact import Compactor
from agentmon.stream.kafka import KafkaView
from agentmon.stream.kept import kept_rows, rows_in
from agentmon.stream.locks import FileLock, hold_alone
from agentmon.stream.output import Output
from agentmon.stream.progress import ProgressFile, facts_of
from agentmon.stream.publishing import Publishing
from agentmon.stream.query import NAME, MonitorQuery
from agentmon.stream.resume import Plan, plan, settle, still_there, unsealed_batch, without
from agentmon.stream.run import run_tasks
from agentmon.stream.source import read_ranges
from agentmon.stream.state import state_of
from agentmon.stream.status import JobStatus
from agentmon.stream.tables import create_missing
from agentmon.stream.task import figures_of

log = logging.getLogger(__name__)

CommitLock = Callable[[], AbstractContextManager[None]]

#: A failing query is started again so many times within this span before the job gives up.
_RESTARTS = 5
_RESTART_SPAN_S = 600.0
_LOOK_S = 0.25
#: Beginnings of the names of checkpoint folders, those of earlier versions too.
_CHECKPOINTS = (NAME, "lake", "old")
#: What the figures take in memory is looked up at most so often, seconds.
_STATE_S = 10.0


@dataclass(frozen=True)
class Options:
    """What a user accepts explicitly on the command line."""

    accept_loss: bool = False
    accept_new_topics: bool = False


def run(settings: Settings, options: Options, session: Callable[[], SparkSession]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code. Errors are one line on stderr and in job.json."""
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("py4j").setLevel(logging.WARNING)
    status = JobStatus(settings)
    stopping = threading.Event()
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # spark-submit's JVM is our parent
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), name="parent", daemon=True).start()
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        try:
            Job(settings, options, session, status, stopping).run()
        finally:
            session().stop()
    except AgentmonError as error:
        return _failed(status, settings, error)
    except Exception as error:  # noqa: BLE001 - the last line of defence: one line for the user, the rest on request
        return _failed(status, settings, AgentmonError(f"the job ended: {first_line(error)}"), error)
    status.write("stopped")
    return 0


def _end_with_parent(parent: int) -> None:
    """Whatever the other threads wait for: without our JVM nothing is read any more, and our locks keep others out."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


def _failed(status: JobStatus, settings: Settings, error: AgentmonError, cause: BaseException | None = None) -> int:
    if not isinstance(error, LakeBusyError):
        status.write("failed", str(error))
    if settings.log_level == "DEBUG":
        log.error("%s", error, exc_info=cause or error)
    else:
        sys.stderr.write(f"agentmon: {error}\n")
    return int(error.exit_code)


class Job:
    """One process's life as the writer of one lake."""

    def __init__(
        self,
        settings: Settings,
        options: Options,
        session: Callable[[], SparkSession],
        status: JobStatus,
        stopping: threading.Event,
        before_write: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._options = options
        self._session = session
        self._status = status
        self._stopping = stopping
        self._before_write = before_write
        self._kafka = KafkaView(settings)
        self._progress = ProgressFile(settings.run / "progress.json")
        self._looked_at = -_STATE_S
        self._reported = ""

    def run(self) -> None:
        """Raises AgentmonError when the job can't go on."""
        with ExitStack() as held:
            self._take_locks(held)
            # Not before: a job that is refused leaves the word of the one that runs alone.
            self._status.write("starting")
            create_missing(self._settings.lake)
            commit_lock = self._commit_lock(held)
            self._compactor = Compactor(self._settings, commit_lock)
            held.callback(self._compactor.close)
            held.callback(self._kafka.close)
            self._keep_going(commit_lock)

    def _keep_going(self, commit_lock: CommitLock) -> None:
        failures: list[float] = []
        while not self._stopping.is_set():
            try:
                # Opened anew: the tables as they are now, whatever the last round failed at.
                self._store = Store(self._settings, commit_lock=commit_lock, before_write=self._before_write)
                self._one_round()
            except KafkaUnreachable as error:
                self._wait(str(error), 2.0)
            except AgentmonError:
                raise
            except Exception as error:  # noqa: BLE001 - any failure of a query: go on from the ledger
                failures = [*(t for t in failures if t > time.monotonic() - _RESTART_SPAN_S), time.monotonic()]
                self._recover(error, len(failures))

    def _take_locks(self, held: ExitStack) -> None:
        """Held until the job ends, however it does."""
        lake, checkpoints = self._settings.lake, self._settings.checkpoints
        places = [
            (local_path(uri), what)
            for uri, what in ((lake, "the lake"), (checkpoints, "the checkpoint folder"))
            if is_local(uri)
        ]
        for folder, what in places or [(self._settings.run, "the lake of")]:
            held.callback(hold_alone(folder, what).close)

    def _commit_lock(self, held: ExitStack) -> CommitLock:
        if not is_local(self._settings.lake):
            return nullcontext
        lock = FileLock(local_path(self._settings.lake) / ".commit.lock")
        held.callback(lock.close)
        return lock.held

    def _one_round(self) -> None:
        """From the ledger until a stop is asked for (then returns) or something fails (then raises)."""
        spark = self._session()
        start = self._resume(spark)
        with self._running(spark, start) as (query, running):
            self._status.write("running", queries={NAME: query.checkpoint.rpartition("/")[2]})
            while not self._stopping.wait(_LOOK_S):
                if query.error is not None:
                    raise query.error
                if not running.isActive:
                    raise query.error or RuntimeError(_cause(running))
                self._report(running)

    def _resume(self, spark: SparkSession) -> Offsets:
        """Finish what a crash left half done, put accepted gaps on record, and say where to go on."""
        self._kafka.forget()
        cluster_id, topic_ids = self._kafka.topic_ids()
        offsets = self._kafka.offsets()
        self._name_missing_topics(topic_ids)
        lake = self._settings.lake
        positions = read_positions(lake)
        found = self._plan(positions, topic_ids, offsets, cluster_id)
        if not self._options.accept_new_topics:
            # A topic that is away now and comes back later, as another, is no new topic.
            self._kafka.expect({p.topic: p.topic_id for p in positions if p.topic not in topic_ids})
        half_done = unsealed_batch(lake, lambda query, batch: has_batch(lake, query, batch))
        if half_done is not None:
            self._finish(spark, half_done, topic_ids, offsets)
            found = self._plan(read_positions(lake), topic_ids, offsets, cluster_id)
        self._put_on_record(found.lost, cluster_id, "accepted with --accept-loss")
        return dict(found.start)

    def _put_on_record(self, lost: tuple[Range, ...], cluster_id: str, note: str) -> None:
        if lost:
            entry = Batch(f"accepted-{now():%Y%m%dT%H%M%S%f}", 0, lost, now(), cluster_id)
            self._store.note(entry, "lost", note)

    def _plan(
        self,
        positions: list[Position],
        topic_ids: dict[str, str],
        offsets: dict[Place, tuple[int, int]],
        cluster_id: str,
    ) -> Plan:
        return plan(
            positions,
            topic_ids,
            offsets,
            cluster_id=cluster_id,
            accept_loss=self._options.accept_loss,
            accept_new_topics=self._options.accept_new_topics,
        )

    def _finish(
        self,
        spark: SparkSession,
        batch: Batch,
        topic_ids: dict[str, str],
        offsets: dict[Place, tuple[int, int]],
    ) -> None:
        left = still_there(batch, topic_ids, offsets)
        log.info("finishing a batch of %d messages that an earlier run left half done", batch.messages)
        # What a table has got already needs no Kafka to be counted.
        missing = without(batch.ranges, left)
        kept = kept_rows(self._settings.lake, missing)
        end = settle(batch, missing, rows_in(missing, kept), has_figures=self._store.has_figures(batch))
        note = "half stored when Kafka dropped it or its topic was made anew"
        if not end.sealed:
            self._store.note(batch, "lost", note)
            return
        self._put_on_record(end.lost, batch.cluster_id, note)
        output = Output(figures_of(kept, self._settings.window_s)) if kept else Output()
        if left:
            messages = read_ranges(spark, spark_options(self._settings), left)
            output += run_tasks(messages, batch, self._settings)
        self._store.commit(output, replace(batch, ranges=end.sealed))

    @contextmanager
    def _running(self, spark: SparkSession, start: Offsets) -> Iterator[tuple[MonitorQuery, StreamingQuery]]:
        settings = self._settings
        # The ledger says where to go on: an old checkpoint would have Spark replay its own last batch.
        remove_folders(settings.checkpoints, _CHECKPOINTS)
        with ExitStack() as held:
            frontend = FrontendPublisher(settings)
            held.callback(frontend.close)
            _, topic_ids = self._kafka.topic_ids()
            self._publishing = Publishing(settings, frontend.send, start, topic_ids)
            query = MonitorQuery(settings, self._store, self._publishing, self._kafka.topic_ids, start, self._on_stored)
            running = query.writer(spark, spark_options(settings)).start()
            held.callback(running.stop)
            try:
                yield query, running
            finally:
                query.stop_after_batch()

    def _on_stored(self, output: Output, position: Offsets) -> None:
        self._kafka.commit(position)
        facts: dict[str, Any] = {"stored": output.rows_by_table(), "sealed_at": time.time()}
        if time.monotonic() > self._looked_at + _STATE_S:
            self._looked_at = time.monotonic()
            facts["state"] = state_of(self._publishing.agents, self._settings.watermark_s)
        self._progress.update(NAME, **facts)
        self._compactor.wake()

    def _report(self, running: StreamingQuery) -> None:
        progress = running.lastProgress
        if progress is not None and progress.timestamp != self._reported:
            self._reported = progress.timestamp
            self._progress.update(NAME, **facts_of(progress))

    def _name_missing_topics(self, there: dict[str, str]) -> None:
        missing = [spec.name for spec in wanted_topics() if is_read(spec.name) and spec.name not in there]
        if missing:
            log.warning(
                "missing topics: %s; they are read as soon as they exist (agentmon topics creates them)",
                ", ".join(missing),
            )

    def _recover(self, error: Exception, failures: int) -> None:
        """Wait a moment and go on, or raise when that has not helped."""
        text = first_line(error)
        if any(sign in str(error) for sign in ("No space left on device", f"os error {errno.ENOSPC}")):
            self._wait(
                f"the disk is full ({os.strerror(errno.ENOSPC)}): what the ledger has is safe, the rest stays in Kafka; free some room",
                10.0,
            )
        elif failures > _RESTARTS:
            raise AgentmonError(
                f"the job failed {failures} times within {_RESTART_SPAN_S:.0f} s, last: {text}"
            ) from error
        else:
            log.warning(
                "a query failed and is started again from the ledger: %s",
                text,
                exc_info=self._settings.log_level == "DEBUG",
            )
            self._stopping.wait(min(2.0**failures, 30.0))

    def _wait(self, why: str, seconds: float) -> None:
        log.warning("waiting: %s", why)
        self._status.write("waiting", why)
        self._stopping.wait(seconds)


def _cause(query: StreamingQuery) -> str:
    error: Any = query.exception()
    return str(error) if error is not None else f"the query `{NAME}` ended"
