"""Write one batch to the lake: every message once, its figures once, and the ledger as its seal.

Invariants
- Files are written first, side by side, and are nothing to anybody until a commit names them. The ledger is committed
  last. What it has is whole; where the job goes on is read from it and from nothing else (Spark's checkpoint is only
  what Structured Streaming needs to run).
- Each table's write is a Delta transaction named (query_id, batch_id), so that doing a batch again
  writes only what is missing. Each commit carries the batch's description, so that it can be done
  again by anybody who finds it (see resume.py).
- What a message becomes depends on the message and the batch's description alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pyarrow as pa

from agentmon.contracts.tables import TABLES
from agentmon.contracts.topics import Place
from agentmon.lake.partials import COUNTED, Partials
from agentmon.settings import Settings
from agentmon.stream.batch import Batch, now
from agentmon.stream.parsed import Parsed, side_by_side
from agentmon.stream.tables import Appender, Written

#: Tables whose files are written side by side.
_WRITERS = 2

#: Rows per table that a batch put into the lake.
Stored = dict[str, int]


class Store:
    """Writes batches into one lake, whose tables exist. One thread at a time may use it.

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
        self._partials = Partials(settings.window_s)
        self._commit_lock = commit_lock
        self._before_write = before_write
        self._tables = {name: Appender(settings.lake, table) for name, table in TABLES.items()}

    def store(self, parsed: Parsed, batch: Batch, summaries: pa.Table | None = None) -> Stored:
        """Put parsed rows into every table that they concern, and seal the batch; `summaries` where they are known."""
        if not batch.ranges:
            raise ValueError("rows without offsets: nothing could tell whether they are stored")
        chosen = dict(parsed)
        stored = {name: rows.num_rows for name, rows in chosen.items()}
        with self._written(parsed, batch) as written:
            if any(stored.values()):
                counted = side_by_side(parsed, COUNTED)
                chosen["summaries"] = self._partials.summaries(counted) if summaries is None else summaries
                chosen["sessions"] = self._partials.sessions(counted)
            messages = _messages(parsed)
            for writing in written.values():
                writing.result()
            with self._commit_lock():
                for name, rows in chosen.items():
                    if name in written:
                        self._before_write(name)
                        self._tables[name].commit(written.pop(name).result(), batch)
                    elif rows.num_rows:
                        self._append(name, rows, batch)
                self._append("ledger", ledger_rows(batch, "stored", messages=messages), batch)
        return stored

    @contextmanager
    def _written(self, parsed: Parsed, batch: Batch) -> Iterator[dict[str, Future[Written]]]:
        """By table, its files as they are being written; of a table that is left in it at the end they are removed."""
        writing: dict[str, Future[Written]] = {}
        try:
            with ThreadPoolExecutor(_WRITERS) as pool:  # at the end of a backlog nothing else runs
                for name, rows in sorted(parsed.items(), key=lambda entry: -entry[1].num_rows):
                    if rows.num_rows:
                        writing[name] = pool.submit(self._tables[name].write, rows, batch)
                yield writing
        finally:
            for name, future in writing.items():
                if future.exception() is None:
                    self._tables[name].discard(future.result())

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


def _messages(parsed: Parsed) -> dict[Place, int]:
    """Rows per topic and partition: fewer than offsets where markers of transactions lie, or a topic is compacted."""
    places = side_by_side(parsed, ("kafka_topic", "kafka_partition"))
    counted = places.group_by(["kafka_topic", "kafka_partition"]).aggregate([([], "count_all")]).to_pylist()
    return {(row["kafka_topic"], row["kafka_partition"]): row["count_all"] for row in counted}


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
