"""A batch reaches every table once, whatever stops it on the way."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.builders import T0, kafka_messages, run_task

from agentmon.lake.connection import open_lake
from agentmon.lake.ledger import has_batch, read_positions
from agentmon.settings import Settings
from agentmon.stream import files
from agentmon.stream.batch import Batch, Range
from agentmon.stream.commit import OLDEST_FILE_S, StaleFilesError, Store
from agentmon.stream.output import Output
from agentmon.stream.resume import unsealed_batch
from agentmon.stream.tables import create_missing

TOPIC = "agent.store"
MESSAGES = [
    {"type": "x", "agent_id": "a", "session_id": "s", "timestamp": 1763000000},
    {"type": "x", "agent_id": "a", "session_id": "s", "timestamp": 1763000001},
    {"type": "y", "agent_id": "a", "timestamp": 1763000001},
]


class KilledError(Exception):
    """Stands for a kill -9 between two tables' commits."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a lake whose tables exist."""
    made = Settings(home=tmp_path)
    create_missing(made.lake)
    return made


@pytest.fixture
def batch() -> Batch:
    """MESSAGES and one that is no JSON."""
    return Batch("query", 0, (Range(TOPIC, "id", 0, 0, 4),), T0, "cluster")


def run(settings: Settings, batch: Batch) -> Output:
    values = [json.dumps(message).encode() for message in MESSAGES]
    return run_task(settings.lake, batch, kafka_messages(TOPIC, *values, b"not json"))


def store(settings: Settings, batch: Batch, die_before: str | None = None) -> None:
    def before_write(table: str) -> None:
        if table == die_before:
            raise KilledError(table)

    Store(settings, before_write=before_write).commit(run(settings, batch), batch)


def figures(lake: str) -> dict[str, Any]:
    """What an outsider reads: rows per table and sums of the figures."""
    with open_lake(lake) as con:
        tables = ("events", "quarantine", "ledger", "summaries", "sessions")
        found: dict[str, Any] = {t: con.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables}
        found["other"], found["quarantined"] = con.execute(
            "SELECT sum(other), sum(quarantined) FROM summaries"
        ).fetchone()
        found["offsets"] = con.execute(
            "SELECT kafka_offset FROM events UNION ALL SELECT kafka_offset FROM quarantine ORDER BY 1"
        ).fetchall()
    return found


def test_a_batch_is_in_every_table_once_and_sealed(settings: Settings, batch: Batch) -> None:
    store(settings, batch)
    once = figures(settings.lake)
    assert once["offsets"] == [(0,), (1,), (2,), (3,)]
    assert (once["other"], once["quarantined"]) == (3, 1)
    assert has_batch(settings.lake, "query", 0)
    assert [p.end_offset for p in read_positions(settings.lake)] == [4]
    store(settings, batch)
    assert figures(settings.lake) == once


@pytest.mark.parametrize("table", ["quarantine", "summaries", "sessions", "ledger"])
def test_a_batch_cut_off_is_found_and_finished(settings: Settings, batch: Batch, table: str) -> None:
    with pytest.raises(KilledError):
        store(settings, batch, die_before=table)
    lake = settings.lake
    assert not has_batch(lake, "query", 0)
    assert figures(lake)["summaries"] == 0, "an unsealed batch is in no figure"
    found = unsealed_batch(lake, lambda query, number: has_batch(lake, query, number))
    assert found == batch
    store(settings, found)
    after = figures(lake)
    assert after["offsets"] == [(0,), (1,), (2,), (3,)]
    assert (after["other"], after["quarantined"], after["ledger"]) == (3, 1, 1)
    assert unsealed_batch(lake, lambda query, number: has_batch(lake, query, number)) is None


def data_files(lake: str) -> list[Path]:
    return [path for path in Path(lake).rglob("*.parquet") if "_delta_log" not in path.parts]


def test_a_task_that_can_not_write_a_table_leaves_no_files_of_the_others(
    settings: Settings, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk each attempt would leave some, until there is no room for anything."""
    write = files.pq.write_table

    def full(rows: pa.Table, *args: Any, **kwargs: Any) -> None:
        if "raw" in rows.column_names:  # quarantine
            raise OSError(errno.ENOSPC, "No space left on device")
        write(rows, *args, **kwargs)

    monkeypatch.setattr(files.pq, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        run(settings, batch)
    assert not data_files(settings.lake)
    monkeypatch.undo()
    store(settings, batch)
    assert figures(settings.lake)["offsets"] == [(0,), (1,), (2,), (3,)]


def test_files_of_a_batch_that_failed_are_deleted_where_no_commit_names_them(settings: Settings, batch: Batch) -> None:
    """Of its other tasks' files too: a task that ran twice wrote what nobody reports."""
    run(settings, batch)
    with pytest.raises(KilledError):
        store(settings, batch, die_before="quarantine")
    Store(settings).discard(batch)
    assert [path.parts[-3] for path in data_files(settings.lake) if "part-query-0-" in path.name] == ["events"] * 2
    store(settings, batch)
    after = figures(settings.lake)
    assert (after["events"], after["quarantine"], after["ledger"]) == (3, 1, 1)


@pytest.mark.parametrize("fault", ["gone", "cut off", "too old"])
def test_files_that_somebody_removed_or_that_waited_too_long_are_not_committed(
    settings: Settings, batch: Batch, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vacuum takes files that no commit names; a laptop may have slept in between."""
    output = run(settings, batch)
    path = data_files(settings.lake)[0]
    if fault == "gone":
        path.unlink()
    elif fault == "cut off":
        os.truncate(path, 10)
    else:
        later = files.time.time() + OLDEST_FILE_S + 1
        monkeypatch.setattr("agentmon.stream.commit.time.time", lambda: later)
    with pytest.raises(StaleFilesError):
        Store(settings).commit(output, batch)
    monkeypatch.undo()
    assert figures(settings.lake)["offsets"] == []
