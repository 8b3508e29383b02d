"""The real job as a process: `agentmon up` and `down`, what they mend, and the ways to start Spark by hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from agentmon.settings import Settings, project_root
from agentmon.stack.classes import KAFKA, SPARK, archive

BIN = Path(sys.executable).parent
JOB = project_root() / "jobs" / "streaming" / "monitor.py"
PATIENCE_S = 180.0


def agentmon(home: Path, *arguments: str) -> str:
    """A command that has to succeed; what it said on stdout."""
    ran = subprocess.run(
        [BIN / "agentmon", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=home.parent,
        env={**os.environ, "AGENTMON_HOME": str(home)},
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def told(home: Path) -> dict[str, Any]:
    try:
        return json.loads((home / "run" / "job.json").read_text())
    except FileNotFoundError:
        return {}


def processes(home: Path) -> list[psutil.Process]:
    return [psutil.Process(told(home)[name]) for name in ("jvm_pid", "driver_pid")]


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home where `up` has been called once; its tests follow one another through one life of a stack."""
    folder = tmp_path_factory.mktemp("stack") / "home"
    try:
        said = agentmon(folder, "up")
        assert "broker: started" in said
        assert "topics: created agent.actions, agent.thoughts" in said
        assert "job: started" in said
        yield folder
    finally:
        agentmon(folder, "down")


@pytest.mark.skipif(
    not all(archive(name).exists() for name in (KAFKA, SPARK)) and "CI" not in os.environ,
    reason="set-up could not keep classes here, and has said why",
)
def test_both_jvms_take_their_classes_from_archives(home: Path) -> None:
    broker = json.loads((home / "run" / "broker.json").read_text())["pid"]
    for pid, name in ((broker, KAFKA), (told(home)["jvm_pid"], SPARK)):
        assert str(archive(name)) in {mapped.path for mapped in psutil.Process(pid).memory_maps()}


def test_up_leaves_what_runs_alone(home: Path) -> None:
    before = told(home)
    assert before["state"] == "running"
    said = agentmon(home, "up")
    assert "started" not in said
    assert "created" not in said
    assert told(home)["jvm_pid"] == before["jvm_pid"]


def test_selftest_follows_one_of_each_kind(home: Path) -> None:
    paths = json.loads(agentmon(home, "selftest", "--json", "--timeout", "120"))
    assert [path["kind"] for path in paths] == ["event", "action", "thought", "learning", "metrics"]
    assert all(path["kafka_s"] and path["delta_s"] for path in paths)
    assert [path["kind"] for path in paths if path["live_s"] is None] == ["event"]


def test_first_python_of_the_readme_shows_in_status(home: Path, tmp_path: Path) -> None:
    text = (project_root() / "README.md").read_text()
    example = text.partition("```python\n")[2].partition("```")[0]
    env = {**os.environ, "AGENTMON_HOME": str(home), "AGENTMON_EXIT_WAIT": "30"}
    ran = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, check=False, cwd=tmp_path, env=env
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    end = time.monotonic() + PATIENCE_S
    agents: list[dict[str, Any]] = []
    while not agents or not agents[0]["memory_bytes"]:
        assert time.monotonic() < end
        time.sleep(1)
        agents = json.loads(agentmon(home, "status", "--json"))["agents"]
    (agent,) = agents  # the self-test's is left out
    assert (agent["agent_id"], agent["actions"], agent["thoughts"], agent["success_rate"]) == ("my-agent", 1, 1, 1.0)
    assert agent["memory_bytes"] > 1_000_000, "the publisher's own report at its end"


def test_a_second_job_is_refused_and_told_who_runs(home: Path) -> None:
    """However it was started; the first goes on."""
    before = told(home)
    second = subprocess.run(
        [project_root() / "spark-submit.sh", str(JOB)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "AGENTMON_HOME": str(home)},
    )
    assert second.returncode == 1
    assert (
        f"agentmon: the lake {home / 'lake'} is being written by the job with pid {before['driver_pid']}"
        in second.stdout + second.stderr  # spark-submit passes both on as one
    )
    assert not any(ended(process) for process in processes(home))
    assert told(home) == before


@pytest.mark.parametrize("victim", ["jvm_pid", "driver_pid"])
def test_up_mends_the_job_after_kill_9(home: Path, victim: str) -> None:
    before = processes(home)
    os.kill(told(home)[victim], signal.SIGKILL)
    said = agentmon(home, "up")
    assert "broker: up" in said
    assert "job: started" in said
    assert told(home)["state"] == "running"
    assert all(ended(process) for process in before)
    assert not any(ended(process) for process in processes(home))


def test_up_mends_the_broker_after_kill_9(home: Path) -> None:
    job, note = told(home), json.loads((home / "run" / "broker.json").read_text())
    os.kill(note["pid"], signal.SIGKILL)
    said = agentmon(home, "up")
    assert f"broker: started at {note['bootstrap']}" in said
    assert "created" not in said
    assert told(home)["jvm_pid"] == job["jvm_pid"]


def test_a_driver_ends_with_its_jvm_while_kafka_is_away(home: Path) -> None:
    """Else it would go on asking, and hold the lake's lock."""
    jvm, driver = processes(home)
    os.kill(json.loads((home / "run" / "broker.json").read_text())["pid"], signal.SIGKILL)
    os.kill(jvm.pid, signal.SIGKILL)
    end = time.monotonic() + 60
    while not ended(driver):
        assert time.monotonic() < end
        time.sleep(0.2)
    said = agentmon(home, "up")
    assert "broker: started" in said
    assert "job: started" in said


def test_down_stops_all_and_cleanly(home: Path) -> None:
    running = processes(home)
    broker = psutil.Process(json.loads((home / "run" / "broker.json").read_text())["pid"])
    said = agentmon(home, "down")
    assert "job: stopped" in said
    assert "broker: stopped" in said
    assert told(home)["state"] == "stopped"
    assert all(ended(process) for process in (*running, broker))
    log = (home / "logs" / "job.log").read_text()
    assert "Traceback" not in log
    assert "Exception in thread" not in log
    assert "was not running" in agentmon(home, "down")


@pytest.mark.parametrize(
    ("command", "env"),
    [
        pytest.param(["spark-submit"], {"PATH": f"{BIN}:{os.environ['PATH']}"}, id="bare spark-submit"),
        pytest.param(
            [str(project_root() / "spark-submit.sh"), "--conf", "spark.ui.showConsoleProgress=false"],
            {"SPARK_HOME": "/opt/another-spark", "SPARK_CONF_DIR": "/opt/another-spark/conf"},
            id="spark-submit.sh beside another Spark",
        ),
    ],
)
def test_spark_submit_by_hand(
    broker: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], env: dict[str, str]
) -> None:
    for name in ("PYSPARK_SUBMIT_ARGS", "SPARK_LOCAL_IP", "SPARK_LOCAL_HOSTNAME", "SPARK_HOME", "SPARK_CONF_DIR"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    monkeypatch.setenv("AGENTMON_HOME", str(home))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with (tmp_path / "log").open("wb") as log:
        submitted = subprocess.Popen([*command, str(JOB)], cwd=tmp_path, stdout=log, stderr=log)
    try:
        end = time.monotonic() + PATIENCE_S
        while told(home).get("state") != "running":
            assert submitted.poll() is None, (tmp_path / "log").read_text()[-3000:]
            assert time.monotonic() < end, (tmp_path / "log").read_text()[-3000:]
            time.sleep(0.2)
        os.kill(told(home)["driver_pid"], signal.SIGTERM)
        assert submitted.wait(PATIENCE_S) == 0
        assert told(home)["state"] == "stopped"
    finally:
        submitted.kill()
        submitted.wait()
