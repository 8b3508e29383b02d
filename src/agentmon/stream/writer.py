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
from functools import cached_property

import pyarrow as pa

from agentmon.contracts.topics import Offsets, Place
from agentmon.stream.batch import Batch, now, ranges_between
from agentmon.stream.memory import give_back
from agentmon.stream.parsed import Parsed, count, joined, size
from agentmon.stream.store import Store, Stored

log = logging.getLogger(__name__)

#: Parts' summaries are stored as they are where a row stands for so many messages at least.
_MESSAGES_A_SUMMARY = 20

#: Huge messages are few in a pile: Arrow's arrays of texts end at 2 GiB, and memory sooner.
_PILE_BYTES = 512 * 1024 * 1024

#: A pile whose successor does not come is written so much later, seconds.
_REST_S = 0.5


@dataclass
class Part:
    """A piece of what was read, up to `end`; `caught_up`: Kafka had no more, as far as was known."""

    rows: Parsed
    summaries: pa.Table
    end: Offsets
    ingest_time: datetime
    cluster_id: str
    topic_ids: Mapping[str, str]
    caught_up: bool

    @cached_property
    def size(self) -> int:
        """Bytes."""
        return size(self.rows)


@dataclass
class Pile:
    """Parts that will be one batch; all have its ingest_time, so that doing it again gives the same rows."""

    ingest_time: datetime
    parts: list[Part] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)
    is_over: bool = False  # what comes next has another ingest_time
    ends_backlog: bool = False  # known once it is taken to be written

    @property
    def rows(self) -> int:
        return sum(count(part.rows) for part in self.parts)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(part.size for part in self.parts)


def _summaries(pile: Pile) -> pa.Table | None:
    """Those of all parts, where that makes few rows; of many small parts None: the agents of one are those of all."""
    found = pa.concat_tables(part.summaries for part in pile.parts)
    return found if len(found) * _MESSAGES_A_SUMMARY <= pile.rows else None


class LakeWriter(threading.Thread):
    """Commits piles, one after another, from `start` on.

    A failure ends the thread; `add`, `flush` and `check` raise it. `on_stored(batch, stored, position)` is called
    after each sealed batch.
    """

    def __init__(
        self,
        store: Store,
        query_id: str,
        start: Mapping[Place, int],
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
        self._ingest_time, self._ingest_since = now(), time.monotonic()
        self._was_behind = False
        self._hurried = False
        self._stopping = False
        self._writing = False
        self._batches = 0
        self._error: BaseException | None = None

    def ingest_time(self) -> datetime:
        """Of what is read next: a new one for each batch, none while the one before waits to be written."""
        with self._changed:
            is_waiting = self._writing and self._pile is not None
            if time.monotonic() > self._ingest_since + self._interval_s and not is_waiting:
                self._ingest_time, self._ingest_since = now(), time.monotonic()
            return self._ingest_time

    def add(self, part: Part) -> None:
        """Pile up a part; waits while it belongs to the next batch and the one before is still being written."""
        with self._changed:
            while not self._error and self._pile is not None and not self._takes(self._pile, part):
                self._changed.notify_all()
                self._changed.wait()
            self.check()
            if self._pile is None:
                self._pile = Pile(part.ingest_time)
            self._pile.parts.append(part)
            self._was_behind |= not part.caught_up
            self._changed.notify_all()

    def _takes(self, pile: Pile, part: Part) -> bool:
        pile.is_over = part.ingest_time != pile.ingest_time
        return not pile.is_over and not self._is_full(pile)

    def _is_full(self, pile: Pile) -> bool:
        return pile.rows >= self._max_rows or pile.size >= _PILE_BYTES

    def flush(self) -> None:
        """Have everything that was added sealed; returns when it is."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._error or not (self._writing or self._pile))
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
                if pile is not None:
                    # The first one at once: who has started a job waits for its first rows.
                    wait_s = pile.begun + (self._interval_s + _REST_S if self._batches else 0) - time.monotonic()
                    is_due = pile.is_over or self._ends_backlog(pile) or self._is_full(pile)
                    if is_due or self._hurried or self._stopping or wait_s <= 0:
                        # Now: what is added while it is written belongs to the next.
                        pile.ends_backlog = self._ends_backlog(pile)
                        self._was_behind = not pile.parts[-1].caught_up
                        self._pile, self._writing = None, True
                        self._changed.notify_all()
                        return pile
                elif self._stopping:
                    return None
                self._changed.wait(wait_s)

    def _ends_backlog(self, pile: Pile) -> bool:
        """Whether Kafka had more than a piece, and has no more: what is left need not wait."""
        return pile.parts[-1].caught_up and self._was_behind

    def _commit(self, pile: Pile) -> None:
        last = pile.parts[-1]  # its topics are all that there were
        ranges = ranges_between(self._sealed, last.end, last.topic_ids)
        batch = Batch(self._query_id, self._batches, ranges, pile.ingest_time, last.cluster_id)
        rows = joined(part.rows for part in pile.parts)
        stored = self._store.store(rows, batch, _summaries(pile))
        self._batches += 1
        self._sealed.update(last.end)
        self._on_stored(batch, stored, dict(self._sealed))
        if pile.ends_backlog:
            del rows
            pile.parts.clear()
            give_back()
        with self._changed:
            self._writing = False
            self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        log.debug("a batch was not written", exc_info=error)
        with self._changed:
            self._error, self._writing = error, False
            self._changed.notify_all()
