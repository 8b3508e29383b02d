"""Commit one batch to the lake: every message once, its figures once, and the ledger as its seal.

Invariants
- Tasks have written the files of messages; they are nothing to anybody until a commit names them. The ledger is
  committed last. What it has is whole; where the job goes on is read from it and from nothing else.
- Each table's commit is a Delta transaction named (query_id, batch_id), so that doing a batch again
  adds only what is missing. Each commit carries the batch's description, so that it can be done
  again by anybody who finds it (see resume.py).
- What a message becomes depends on the message and the batch's description alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pyarrow as pa

from agentmon.contracts.tables import MESSAGE_TABLES, TABLES
from agentmon.contracts.topics import Place
from agentmon.lake.files import is_local, local_path
from agentmon.settings import Settings
from agentmon.stream.batch import Batch, now
from agentmon.stream.output import Output
from agentmon.stream.tables import Appender

#: Files that no commit names for so long may be gone: a vacuum by somebody else takes what is an hour old.
OLDEST_FILE_S = 600.0


class StaleFilesError(Exception):
    """Raised when a batch's files can't be committed any more, as on a laptop that slept: the batch must be read again."""


class Store:
    """Commits batches to one lake, whose tables exist. One thread at a time may use it.

    `commit_lock` is taken around the commits of a batch, for writers in other processes;
    `before_write` is called with each table's name before its commit (the fault tests stop there).
    Raises AgentmonError where a table asks for more than our files promise.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        commit_lock: Callable[[], AbstractContextManager[None]] = nullcontext,
        before_write: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._lake = settings.lake
        self._commit_lock = commit_lock
        self._before_write = before_write
        self._tables = {name: Appender(settings.lake, table) for name, table in TABLES.items()}

    def commit(self, output: Output, batch: Batch) -> None:
        """Put what the batch's tasks wrote into every table that it concerns, and seal the batch.

        Raises StaleFilesError before the first commit.
        """
        if not batch.ranges:
            raise ValueError("rows without offsets: nothing could tell whether they are stored")
        self.check(output)
        files = output.files()
        with self._commit_lock():
            for name in MESSAGE_TABLES:
                if name in files:
                    self._before_write(name)
                    self._tables[name].commit(files[name], batch)
            for name in ("summaries", "sessions"):
                if name in output.parts:
                    self._append(name, output.parts[name], batch)
            self._append("ledger", ledger_rows(batch, "stored", messages=output.messages()), batch)

    def check(self, output: Output) -> None:
        """That the tasks' files are fresh, and whole on this machine's disk where the lake is local.

        Raises StaleFilesError.
        """
        actions = [(name, action) for name, files in output.files().items() for action in files]
        oldest_ms = min((action.modification_time for _, action in actions), default=None)
        if oldest_ms is not None and time.time() - oldest_ms / 1000 > OLDEST_FILE_S:
            raise StaleFilesError(f"a batch's files waited over {OLDEST_FILE_S:.0f} s for their commit")
        if is_local(self._lake):
            for name, action in actions:
                _check_is_here(local_path(self._lake) / name / action.path, action.size)

    def discard(self, batch: Batch) -> None:
        """Delete files that tasks wrote for a batch that failed, of tables that it is not committed to.

        On a full disk each attempt would leave some. On an object store they are left to the nightly job.
        """
        if is_local(self._lake):
            for name in MESSAGE_TABLES:
                self._tables[name].discard(batch)

    def has_figures(self, batch: Batch) -> bool:
        """Whether a batch that is not sealed has reached its figures, which come after all its messages."""
        return self._tables["summaries"].has(batch)

    def note(self, batch: Batch, kind: str, note: str) -> None:
        """Enter the ranges of a batch into the ledger alone: what became of offsets that are not stored."""
        with self._commit_lock():
            self._append("ledger", ledger_rows(batch, kind, note), batch)

    def _append(self, table: str, rows: pa.Table, batch: Batch) -> None:
        self._before_write(table)
        self._tables[table].append(rows, batch)


def _check_is_here(path: Path, size: int) -> None:
    try:
        there = path.stat().st_size
    except FileNotFoundError:
        there = 0
    if there != size:
        raise StaleFilesError(f"{path} has {there} bytes, and a task wrote {size}: somebody removed or changed it")


def ledger_rows(
    batch: Batch, kind: str, note: str | None = None, messages: Mapping[Place, int] | None = None
) -> pa.Table:
    """The ledger's rows for the ranges of a batch; `messages` in each partition, where these are stored."""
    at = now()
    constants: Mapping[str, object] = {
        "kind": kind,
        "cluster_id": batch.cluster_id,
        "committed_at": at,
        "note": note,
        "event_date": at.date(),
    }
    return pa.Table.from_pylist(
        [
            {
                "kafka_topic": r.topic,
                "kafka_topic_id": r.topic_id,
                "kafka_partition": r.partition,
                "start_offset": r.start,
                "end_offset": r.end,
                "messages": None if messages is None else messages.get((r.topic, r.partition), 0),
                **constants,
            }
            for r in batch.ranges
        ]
    )
