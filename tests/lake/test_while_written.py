"""A reader beside writes, compaction and vacuum: it never fails, and never sees half a batch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from threading import Event, Thread

import pytest
from bench.lake import Maker
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from agentmon.lake.adhoc import run_sql
from agentmon.lake.history import read_history
from agentmon.lake.selection import Selection
from agentmon.lake.sessions import read_sessions
from agentmon.lake.status import read_status

ROWS = 50
SECONDS = 60.0
TABLES = ("actions", "summaries", "sessions", "ledger")


class Busy:
    """Appends batch after batch, and compacts and vacuums what is there, in threads, until it is stopped."""

    def __init__(self, lake: Path) -> None:
        self._lake = lake
        self._maker = Maker(lake, date(2026, 11, 20))
        self._maker.open_day(ROWS, 1)
        self._stop = Event()
        self.batches = 1
        self.compactions = 0
        self.errors: list[BaseException] = []
        self._threads = [Thread(target=self._guard, args=(work,)) for work in (self._write, self._maintain)]

    def __enter__(self) -> Busy:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _guard(self, work: object) -> None:
        try:
            while not self._stop.is_set():
                work()  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001 - handed to the test, which would otherwise wait for nothing
            self.errors.append(error)

    def _write(self) -> None:
        self._maker.open_day(ROWS, 1)
        self.batches += 1

    def _maintain(self) -> None:
        for table in TABLES:
            there = DeltaTable(str(self._lake / table))
            try:
                there.optimize.compact()
                # As the tables' own property has it: what was deleted in the last hour stays.
                there.vacuum(retention_hours=1, dry_run=False)
                self.compactions += 1
            except DeltaError as error:
                if "conflict" not in str(error).lower() and "concurrent" not in str(error).lower():
                    raise


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[Busy, str]]:
    with Busy(tmp_path / "lake") as writer:
        yield writer, str(tmp_path / "lake")


def test_a_reader_never_fails_and_never_sees_half_a_batch(busy: tuple[Busy, str]) -> None:
    writer, lake = busy
    seen, rounds, end = 0, 0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        totals = read_status(lake)["totals"]
        assert totals["actions"] % ROWS == 0
        assert totals["actions"] >= seen
        seen = totals["actions"]
        [raw] = run_sql(lake, "SELECT count(*) AS rows, count(DISTINCT kafka_offset) AS offsets FROM actions").dicts()
        assert raw["rows"] % ROWS == 0
        assert raw["rows"] >= seen
        sessions = read_sessions(lake, Selection()).dicts()
        assert sum(row["actions"] for row in sessions) % ROWS == 0
        buckets = read_history(lake, Selection()).rows.dicts()
        assert sum(row["actions"] for row in buckets) % ROWS == 0
        rounds += 1
        assert not writer.errors
    assert writer.batches > 10
    assert writer.compactions > 4
    assert rounds > 5
    assert seen > ROWS
