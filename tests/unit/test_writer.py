"""When piled-up micro-batches become a batch of the lake, on real tables."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest
from deltalake import DeltaTable
from tests.builders import parsed, row

from agentmon.lake.partials import COUNTED, Partials
from agentmon.settings import Settings
from agentmon.stream import writer as writing
from agentmon.stream.batch import Batch
from agentmon.stream.parsed import side_by_side
from agentmon.stream.store import Store
from agentmon.stream.tables import create_missing
from agentmon.stream.writer import LakeWriter, Part

PLACE = ("agent.actions", 0)
IDS = {"agent.actions": "id"}


class Written:
    """A writer that waits an hour for more, once it has written its first batch; how many messages each batch had."""

    def __init__(self, settings: Settings) -> None:
        self.batches: list[int] = []
        self._written = Event()
        self._end = 0
        self.held: Event | None = None  # a batch waits for it before it is written
        self.is_writing = Event()
        store = Store(settings, before_write=self._before_write)
        self.writer = LakeWriter(store, "run", {PLACE: 0}, self._on_stored, interval_s=3_600, max_rows=100)
        self.writer.start()

    def _before_write(self, table: str) -> None:
        self.is_writing.set()
        if self.held is not None:
            assert self.held.wait(20)

    def _on_stored(self, batch: Batch, *_: object) -> None:
        self.batches.append(batch.messages)
        self._written.set()

    def add(self, count: int, *, caught_up: bool, ingest_time: datetime | None = None, payload: str = "{}") -> None:
        rows = parsed(*(row(offset=self._end + n, payload=payload) for n in range(count)))
        self._end += count
        summaries = Partials(60).summaries(side_by_side(rows, COUNTED))
        at = ingest_time or self.writer.ingest_time()
        self.writer.add(Part(rows, summaries, {PLACE: self._end}, at, "cluster", IDS, caught_up))

    def next(self) -> int:
        assert self._written.wait(20)
        self._written.clear()
        return self.batches[-1]


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    settings = Settings(home=tmp_path)
    create_missing(settings.lake)
    found = Written(settings)
    found.add(1, caught_up=True)
    assert found.next() == 1, "the first batch does not wait"
    yield found
    found.writer.close()
    found.writer.check()


def test_what_is_left_of_a_backlog_does_not_wait_for_more(written: Written) -> None:
    written.add(30, caught_up=False)
    written.add(2, caught_up=True)
    assert written.next() == 32


def test_what_is_left_of_a_backlog_that_came_while_a_batch_was_written_does_not_wait_either(written: Written) -> None:
    written.is_writing.clear()
    written.held = Event()
    written.add(100, caught_up=True)
    assert written.is_writing.wait(20)
    written.add(30, caught_up=False)
    written.held.set()
    assert written.next() == 100
    written.add(2, caught_up=True)
    assert written.next() == 32


def test_a_few_wait_for_more_and_many_do_while_kafka_has_more(written: Written) -> None:
    written.add(9, caught_up=True)
    written.add(90, caught_up=False)
    time.sleep(0.3)
    assert written.batches == [1]
    written.add(1, caught_up=False)
    assert written.next() == 100, "as many as a batch may have"


def test_huge_messages_do_not_pile_up(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_PILE_BYTES", 1_000_000)
    written.add(5, caught_up=False, payload="x" * 150_000)
    written.add(2, caught_up=False, payload="x" * 150_000)
    assert written.next() == 7


def test_rows_with_another_ingest_time_are_another_batch(written: Written) -> None:
    """One batch has one, so that doing it again gives the same rows."""
    at = written.writer.ingest_time()
    assert written.writer.ingest_time() == at, "the same for all that is read within the interval"
    written.add(5, caught_up=True)
    written.add(3, caught_up=True, ingest_time=at + timedelta(seconds=2))
    assert written.next() == 5
    time.sleep(0.3)
    assert written.batches == [1, 5]


def test_a_batch_is_sealed_after_its_rows_are_in_the_tables(written: Written, tmp_path: Path) -> None:
    before = datetime.now(UTC)
    written.add(29, caught_up=False)
    written.add(1, caught_up=True)
    written.next()
    table, ledger = (DeltaTable(tmp_path / "lake" / name) for name in ("actions", "ledger"))
    stored = datetime.fromtimestamp(table.history(1)[0]["timestamp"] / 1000, UTC)
    sealed = max(ledger.to_pyarrow_table()["committed_at"].to_pylist())
    assert before < stored < sealed.astimezone(UTC) < datetime.now(UTC)
