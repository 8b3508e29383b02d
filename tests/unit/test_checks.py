"""What doctor says of clocks and checkpoints, without a job and without Kafka."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
from bench.lake import make
from deltalake import DeltaTable, write_deltalake

from agentmon.lake.files import commits_since_checkpoint
from agentmon.lake.ledger import read_positions
from agentmon.settings import Settings
from agentmon.stack.checkpoint import Checkpoint, is_writable, read_checkpoint
from agentmon.stack.job import JobProcess
from agentmon_cli import checks
from agentmon_cli.checks import BROKEN, OK, WARNING, Finding


def levels(found: Any) -> list[tuple[str, str]]:
    """(level, first word) of what a check found; whatever is wrong says why and what to do."""
    told: list[Finding] = list(found)
    assert all(one.why and one.mend for one in told if one.level != OK)
    return [(one.level, one.what.split()[0].rstrip(":")) for one in told]


def test_a_message_from_the_future_tells_that_a_clock_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    found = list(checks.message_clocks({"agent.actions": now + 60, "agent.thoughts": now - 9e5}))
    assert levels(found) == [(WARNING, "agent.actions")]
    assert "60 s ahead" in found[0].what
    assert levels(checks.message_clocks({"agent.actions": now, "agent.metrics": now + 1})) == [(OK, "clocks")]
    assert levels(checks.message_clocks({})) == []


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home with a lake of a few rows."""
    make(tmp_path / "lake", 100, days=1, commits=2, today=date(2026, 11, 20))
    return Settings(home=tmp_path)


def batch(settings: Settings, number: int, *, ended: bool, age_s: float = 0) -> None:
    """Spark's files of one micro-batch."""
    folder = settings.home / "checkpoints" / "monitor-1"
    for kind in ("offsets", "commits") if ended else ("offsets",):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / str(number)).write_text("v1")
        os.utime(folder / kind / str(number), (time.time() - age_s,) * 2)


def test_a_checkpoint_tells_which_batch_runs_and_for_how_long(settings: Settings) -> None:
    folder = settings.home / "checkpoints" / "monitor-1"
    assert read_checkpoint(folder) is None
    batch(settings, 9, ended=True, age_s=500)
    assert read_checkpoint(folder) == Checkpoint(9, None)
    batch(settings, 10, ended=False, age_s=300)
    (folder / "offsets" / ".11.tmp").write_text("")
    found = read_checkpoint(folder)
    assert found is not None
    assert (found.batch_id, found.running_s) == (10, pytest.approx(300, abs=30))


def running(settings: Settings, monkeypatch: pytest.MonkeyPatch, **progress: Any) -> None:
    """Notes as a job leaves them that runs."""
    monkeypatch.setattr(JobProcess, "driver", lambda _: psutil.Process())
    settings.run.mkdir(exist_ok=True)
    (settings.run / "job.json").write_text(json.dumps({"state": "running", "queries": {"monitor": "monitor-1"}}))
    (settings.run / "progress.json").write_text(json.dumps({"queries": {"monitor": progress}}))


def test_without_a_job_the_ledger_is_what_counts(settings: Settings) -> None:
    assert levels(checks.checkpoint(settings)) == [(OK, "checkpoints")]


def test_a_batch_that_does_not_end_and_a_checkpoint_that_is_gone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    running(settings, monkeypatch)
    assert levels(checks.checkpoint(settings)) == [(BROKEN, "checkpoints")]
    (settings.home / "checkpoints" / "monitor-1").mkdir(parents=True)
    assert levels(checks.checkpoint(settings)) == [(OK, "checkpoints")]
    batch(settings, 10, ended=False, age_s=10)
    assert levels(checks.checkpoint(settings)) == [(OK, "checkpoints")]
    batch(settings, 10, ended=False, age_s=1_000)
    assert levels(checks.checkpoint(settings)) == [(WARNING, "checkpoints")]


def test_what_is_read_and_not_stored_for_long_is_broken(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    batch(settings, 1, ended=True)
    ends = {str(at.partition): at.end_offset for at in read_positions(settings.lake)}
    stored = {"agent.actions": ends}
    running(settings, monkeypatch, position=stored, sealed_at=time.time() - 1_000)
    assert levels(checks.checkpoint(settings)) == [(OK, "checkpoints")]
    ahead = {"agent.actions": {partition: end + 5 for partition, end in ends.items()}}
    running(settings, monkeypatch, position=ahead, sealed_at=time.time())
    assert levels(checks.checkpoint(settings)) == [(OK, "checkpoints")]
    running(settings, monkeypatch, position=ahead, sealed_at=time.time() - 1_000)
    *_, waiting = checks.checkpoint(settings)
    assert waiting.level == BROKEN
    assert waiting.what.startswith(f"monitor: {5 * len(ends)} messages are read but not stored")


def test_ctrl_c_is_no_finding(settings: Settings) -> None:
    def check(_: Settings) -> Iterator[Finding]:
        yield Finding(OK, "one")
        raise RuntimeError("Query interrupted") from KeyboardInterrupt()

    with pytest.raises(RuntimeError, match="interrupted"):
        list(checks.made(check, settings))


def test_a_folder_that_can_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_writable(tmp_path / "not" / "there" / "yet")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert levels(checks.checkpoint(Settings(home=tmp_path))) == [(BROKEN, "checkpoints")]


def test_a_check_that_fails_itself_is_a_finding() -> None:
    def weather(_: Settings) -> Iterator[Finding]:
        yield Finding(OK, "sun: there")
        raise ValueError("no barometer\nat line 7")

    found = list(checks.made(weather, Settings()))
    assert levels(found) == [(OK, "sun"), (BROKEN, "weather")]
    assert found[1].what == "weather: no barometer"


def test_a_log_without_checkpoints_and_a_commit_from_the_future(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert levels(checks.lake(settings)) == [(OK, "lake")]
    ledger = DeltaTable(f"{settings.lake}/ledger")
    assert commits_since_checkpoint(f"{settings.lake}/ledger") == ledger.version() + 1
    monkeypatch.setattr(checks, "MANY_COMMITS", 2)
    assert (WARNING, "ledger") in levels(checks.lake(settings))
    for table in ("actions", "summaries", "sessions", "ledger"):
        DeltaTable(f"{settings.lake}/{table}").create_checkpoint()
    assert commits_since_checkpoint(f"{settings.lake}/ledger") == 0
    assert levels(checks.lake(settings)) == [(OK, "lake")]
    soon = datetime.now(UTC) + timedelta(minutes=10)
    rows = {"kind": ["stored"], "committed_at": [soon], "event_date": [soon.date()]}
    fields = [pa.field("kind", pa.string()), pa.field("committed_at", pa.timestamp("us", "UTC"))]
    schema = pa.schema([*fields, pa.field("event_date", pa.date32())])
    write_deltalake(ledger, pa.table(rows, schema), mode="append", schema_mode="merge")
    monkeypatch.setattr(time, "time", lambda: (soon - timedelta(minutes=10)).timestamp())
    [late] = [one for one in checks.lake(settings) if one.level == WARNING]
    assert "600 s ahead" in late.what
