"""The thread that commits: parsed micro-batches pile up for AGENTMON_LAKE_INTERVAL and become one batch of the lake.

So rows are live several times a second, and the tables still get few, larger files. What is piled up is lost with
the process, and read again from Kafka: the ledger does not have it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from agentmon.stream.batch import Batch, now, ranges_between
from agentmon.stream.parsed import Parsed, count, joined
from agentmon.stream.store import Store, Stored

log = logging.getLogger(__name__)

#: Parts' summaries are stored as they are where a row stands for so many messages at least.
_MESSAGES_A_SUMMARY = 20

#: A pile of so many rows does not wait for more where Kafka has no more for now.
_WORTH_A_COMMIT = 25_000

#: Next offset per (topic, partition).
Offsets = dict[tuple[str, int], int]


@dataclass
class Pile:
    """Micro-batches that will be one batch; all have its ingest_time, so that doing it again gives the same rows."""

    ingest_time: datetime
    cluster_id: str
    topic_ids: Mapping[str, str]
    end: Offsets
    parts: list[tuple[Parsed, pa.Table]] = field(default_factory=list)  # rows, and their summaries
    begun: float = field(default_factory=time.monotonic)
    caught_up: bool = False  # with the end of Kafka, as far as that was known

    @property
    def rows(self) -> int:
        return sum(count(rows) for rows, _ in self.parts)


def _summaries(pile: Pile) -> pa.Table | None:
    """Those of all parts, where that makes few rows; of many small parts None: the agents of one are those of all."""
    found = pa.concat_tables(summaries for _, summaries in pile.parts)
    return found if len(found) * _MESSAGES_A_SUMMARY <= pile.rows else None


class LakeWriter(threading.Thread):
    """Commits piles, one after another, from `start` on.

    A failure ends the thread; `begin`, `add` and `check` raise it. `on_stored(batch, stored, position)` is called
    after each sealed batch.
    """

    def __init__(
        self,
        store: Store,
        query_id: str,
        start: Mapping[tuple[str, int], int],
        on_stored: Callable[[Batch, Stored, Offsets], None],
        *,
        interval_s: float,
        max_rows: int,
    ) -> None:
        super().__init__(name="lake-writer", daemon=True)
        self._store = store
        self._query_id = query_id
        self._sealed: Offsets = dict(start)
        self._on_stored = on_stored
        self._interval_s = interval_s
        self._max_rows = max_rows
        self._changed = threading.Condition()
        self._pile: Pile | None = None
        self._hurried = False
        self._stopping = False
        self._writing = False
        self._batches = 0
        self._error: BaseException | None = None

    def begin(self, cluster_id: str, topic_ids: Mapping[str, str]) -> Pile:
        """The pile that the next micro-batch belongs to; waits while that is full and the one before is being written."""
        with self._changed:
            self._changed.wait_for(lambda: self._error or self._pile is None or self._pile.rows < self._max_rows)
            self.check()
            if self._pile is None:
                self._pile = Pile(now(), cluster_id, topic_ids, {})
            self._pile.topic_ids = topic_ids  # there may be a topic more
            return self._pile

    def add(self, pile: Pile, parsed: Parsed, summaries: pa.Table, end: Offsets, *, caught_up: bool) -> None:
        """Pile up one micro-batch that ends at these offsets; `caught_up`: Kafka had no more."""
        with self._changed:
            self.check()
            if self._pile is not pile:  # its earlier micro-batches were committed meanwhile
                pile = self._pile = Pile(pile.ingest_time, pile.cluster_id, pile.topic_ids, {})
            pile.parts.append((parsed, summaries))
            pile.end.update(end)
            pile.caught_up = caught_up
            self._changed.notify_all()

    def flush(self) -> None:
        """Have everything that was added sealed; returns when it is."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._error or not (self._writing or (self._pile and self._pile.parts)))
            self._hurried = False
            self.check()

    def close(self) -> None:
        """Seal what is piled up and end. Says nothing of a failure: who asks for that calls `check`."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self.join()

    def check(self) -> None:
        """Raises what the thread failed with."""
        if self._error is not None:
            raise self._error

    def run(self) -> None:
        """Until closed, or until a batch can't be written."""
        try:
            while (pile := self._next()) is not None:
                self._commit(pile)
        except BaseException as error:  # noqa: BLE001 - raised again by check() in the thread that runs the job
            self._fail(error)

    def _next(self) -> Pile | None:
        with self._changed:
            while True:
                pile = self._pile
                wait_s = None
                if pile is not None and pile.parts:
                    # The first one at once: who has started a job waits for its first rows.
                    wait_s = pile.begun + (self._interval_s if self._batches else 0) - time.monotonic()
                    enough = _WORTH_A_COMMIT if pile.caught_up else self._max_rows
                    if self._hurried or self._stopping or wait_s <= 0 or pile.rows >= enough:
                        self._pile, self._writing = None, True
                        self._changed.notify_all()
                        return pile
                elif self._stopping:
                    return None
                self._changed.wait(wait_s)

    def _commit(self, pile: Pile) -> None:
        ranges = ranges_between(self._sealed, pile.end, pile.topic_ids)
        batch = Batch(self._query_id, self._batches, ranges, pile.ingest_time, pile.cluster_id)
        rows = joined(rows for rows, _ in pile.parts)
        stored = self._store.store(rows, batch, _summaries(pile))
        self._batches += 1
        self._sealed.update(pile.end)
        self._on_stored(batch, stored, dict(self._sealed))
        with self._changed:
            self._writing = False
            self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        log.debug("a batch was not written", exc_info=error)
        with self._changed:
            self._error, self._writing = error, False
            self._changed.notify_all()
