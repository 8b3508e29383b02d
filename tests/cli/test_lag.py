"""`agentmon lag` as typed, without a job and without Kafka."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from agentmon.stack.addresses import free_port
from agentmon_cli.main import main


@pytest.fixture(autouse=True)
def _nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTMON_HOME", str(tmp_path))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"localhost:{free_port()}")


def lag(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["agentmon", "lag", *arguments])
    return main()


def test_a_job_that_is_down_is_said_and_fails_only_a_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lag(monkeypatch) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "the job is not running: agentmon up starts it" in told.err
    assert lag(monkeypatch, "--check") == 3


def test_where_it_stopped_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    queries = {
        "lake": {"batch_id": 3, "lag_messages": 7},
        "live": {"state": {"agents": 2, "windows": 5, "bytes": 9, "watermark": "2026"}},
    }
    (tmp_path / "run" / "progress.json").write_text(json.dumps({"pid": 1, "queries": queries}))
    assert lag(monkeypatch, "--json") == 0
    told = capsys.readouterr()
    lake, live = json.loads(told.out)
    assert (lake["query"], lake["batch_id"], lake["lag_messages"], lake["lag_s"]) == ("lake", 3, 7, None)
    assert (live["query"], live["agents"], live["windows"]) == ("live", 2, 5)
    assert (live["state_bytes"], live["watermark"], lake["state_bytes"]) == (9, "2026", None)
    assert "this is where it stopped" in told.err
