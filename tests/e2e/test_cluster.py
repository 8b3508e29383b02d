"""A real Spark cluster: the commands of docker-compose.yml, on this machine's loopback instead of in containers."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from bench.cluster import PATIENCE_S, Cluster
from bench.events import events, send_all
from bench.faults import audit
from bench.home import Stack, stack
from bench.truth import check_figures
from deltalake import DeltaTable

from agentmon.contracts.tables import MESSAGE_TABLES
from agentmon.lake.adhoc import run_sql
from agentmon.settings import project_root
from agentmon.stack.addresses import LOOPBACK
from agentmon.stack.jars import pyspark_home, spark_jars
from agentmon.stack.java import find_java

MESSAGES = 60_000
#: Of each worker's files; nobody else's have one of these modes.
UMASKS = {"worker-a": 0o027, "worker-b": 0o077}


@pytest.fixture
def own() -> Iterator[Stack]:
    """A broker with the topics of conf/topics.json, and a home, that nobody else uses."""
    with stack() as made:
        made.start_broker()
        yield made


@pytest.fixture
def cluster(tmp_path: Path, own: Stack) -> Iterator[Cluster]:
    # Files that the driver merges would be the driver's.
    started = Cluster(tmp_path, own.settings, AGENTMON_COMPACT_FILES="1000")
    yield started
    assert started.stop() == [], "nothing is left running"


def send(own: Stack, count: int, tag: str = "") -> None:
    send_all(own.bootstrap, events(count, start=time.time() - 600, step_s=0.001, tag=tag))


def state_of(own: Stack) -> dict[str, Any]:
    return dict(json.loads((own.settings.run / "job.json").read_text()))


def rows_by_writer(own: Stack) -> Counter[str]:
    """How many rows of messages each worker has written: by its files' mode. Raises KeyError for anybody else's file."""
    writers = {0o666 & ~umask: name for name, umask in UMASKS.items()}
    rows: Counter[str] = Counter()
    for name in MESSAGE_TABLES:
        table = Path(own.settings.lake) / name
        for file in pa.table(DeltaTable(str(table)).get_add_actions(flatten=True)).to_pylist():
            mode = stat.S_IMODE((table / file["path"]).stat().st_mode)
            rows[writers[mode]] += file["num_records"]
    return rows


def records_by_executor(cluster: Cluster) -> Counter[str]:
    """How many messages of Kafka each executor has fetched, in tasks that were done."""
    records: Counter[str] = Counter()
    for stage in cluster.ask("stages?status=complete"):
        for task in tasks_of(cluster, f"{stage['stageId']}/{stage['attemptId']}", "success"):
            records[task["executorId"]] += task["taskMetrics"]["inputMetrics"]["recordsRead"]
    return records


def running_tasks(cluster: Cluster) -> list[tuple[str, str]]:
    """(stage, executor's id) of each task that runs."""
    stages = [f"{stage['stageId']}/{stage['attemptId']}" for stage in cluster.ask("stages?status=active")]
    return [(stage, task["executorId"]) for stage in stages for task in tasks_of(cluster, stage, "running")]


def tasks_of(cluster: Cluster, stage: str, status: str) -> list[dict[str, Any]]:
    return list(cluster.ask(f"stages/{stage}/taskList?length=1000&status={status}"))


def kill_one_that_works(cluster: Cluster, own: Stack) -> tuple[int, str, str]:
    """kill -9 an executor while it has a task: messages sent until then, the executor's id, the stage of that task.

    It is held first: so it is certain that it has not done the task by the time it is killed.
    """
    for sent in range(MESSAGES // 2, 10 * MESSAGES, MESSAGES // 2):
        send(own, MESSAGES // 2, f"-{sent}")
        end = time.monotonic() + 5
        while time.monotonic() < end:
            for stage, number in running_tasks(cluster):
                executor = cluster.executors()[number]
                executor.suspend()
                time.sleep(1)  # what it has reported before shows by then
                if (stage, number) in running_tasks(cluster):
                    cluster.remember()
                    executor.kill()
                    return sent, number, stage
                executor.resume()
    raise AssertionError("no task was ever seen to run")


def test_executors_do_the_work_and_one_that_is_killed_at_it_costs_a_retry(cluster: Cluster, own: Stack) -> None:
    cluster.start_master()
    for name, umask in UMASKS.items():
        cluster.start_worker(name, umask=umask)
    submitted = cluster.start_job()
    cluster.wait("job", cluster.is_job_healthy)
    cluster.wait("job", lambda: {one["id"] for one in cluster.ask("executors")} == {"driver", "0", "1"})

    send(own, MESSAGES)
    cluster.wait("job", lambda: own.sealed() == MESSAGES, pause_s=2)
    fetched = records_by_executor(cluster)
    assert set(fetched) == {"0", "1"}
    assert fetched.total() == MESSAGES
    written = rows_by_writer(own)
    assert set(written) == set(UMASKS)
    assert written.total() == MESSAGES, "the driver has written no row of a message"

    more, number, stage = kill_one_that_works(cluster, own)
    sent = MESSAGES + more
    cluster.wait("job", lambda: own.sealed() == sent, pause_s=2)
    [lost] = tasks_of(cluster, stage, "failed")
    assert lost["executorId"] == number
    assert "ExecutorLostFailure" in lost["errorMessage"]
    again = [task for task in tasks_of(cluster, stage, "success") if task["index"] == lost["index"]]
    assert [task["attempt"] for task in again] == [1]
    assert "started again from the ledger" not in cluster.log("job"), "it cost a task, not the query"

    told = audit(own)
    assert told == {"in_kafka": sent, "stored": sent, "holes": 0, "repeats": 0, "pending": 0}
    assert rows_by_writer(own).total() == sent
    counted = "SELECT sum(actions + thoughts + learning + metrics + other) FROM summaries"
    assert list(run_sql(own.settings.lake, counted)) == [(sent,)]
    check_figures(own)

    cluster.remember()
    cluster.driver().terminate()
    assert submitted.wait(PATIENCE_S) == 0
    assert state_of(own)["state"] == "stopped"
    assert cluster.stop() == []


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """What `make pack` makes, from packages that set-up has brought where they are still there."""
    pack = tmp_path / "agentmon-env.tar.gz"
    command = ["make", "--old-file=setup", "pack", f"PACK={pack}"]
    for offline in ("1", "0"):
        made = subprocess.run(
            command, cwd=project_root(), env={**os.environ, "UV_OFFLINE": offline}, capture_output=True, text=True
        )
        if made.returncode == 0:
            return pack
    raise AssertionError(made.stderr)


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """Variables of a machine that has Spark as anybody has it, and neither agentmon nor our jars."""
    spark = tmp_path / "spark"
    (spark / "jars").mkdir(parents=True)
    for folder in ("bin", "python"):
        (spark / folder).symlink_to(pyspark_home() / folder)
    for jar in (pyspark_home() / "jars").iterdir():
        if not jar.is_symlink():
            (spark / "jars" / jar.name).symlink_to(jar)
    kept = {name: value for name, value in os.environ.items() if name in ("HOME", "LANG", "JAVA_HOME")}
    path = f"{spark / 'bin'}:{find_java().parent}:/usr/bin:/bin"
    local = {"SPARK_LOCAL_IP": LOOPBACK, "SPARK_LOCAL_HOSTNAME": "localhost"}
    return {**kept, **local, "PATH": path, "SPARK_HOME": str(spark)}


def libraries(cluster: Cluster, number: str) -> set[str]:
    """Files that an executor's Python processes have loaded, of its own folder; and of ours, as they are."""
    executor = cluster.executors()[number]
    loaded = {file.path for process in executor.children(recursive=True) for file in process.memory_maps()}
    return {path.removeprefix(f"{executor.cwd()}/") for path in loaded if "site-packages" in path}


def test_executors_on_machines_without_agentmon_use_the_packed_environment(
    cluster: Cluster, own: Stack, packed: Path, elsewhere: dict[str, str]
) -> None:
    cluster.start_master()
    cluster.start_worker("elsewhere", env=elsewhere)
    jars = ",".join(str(jar) for jar in sorted(spark_jars().folder.glob("*.jar")))
    python = "spark.pyspark.python=./environment/bin/python"
    submitted = cluster.start_job("--archives", f"{packed}#environment", "--conf", python, "--jars", jars)
    cluster.wait("job", cluster.is_job_healthy)
    send(own, MESSAGES // 10)
    cluster.wait("job", lambda: own.sealed() == MESSAGES // 10, pause_s=2)
    loaded = libraries(cluster, "0")
    assert any("_duckdb" in path for path in loaded)
    assert [path for path in loaded if not path.startswith("environment/lib/")] == []
    cluster.driver().terminate()
    assert submitted.wait(PATIENCE_S) == 0


#: Runs a command where the lake is another, empty folder: (the lake, the command …).
_WITHOUT_LAKE = 'mount -t tmpfs none "$0" && exec "$@"'


def test_a_machine_that_has_another_folder_in_the_lakes_place_is_named_and_ends_the_job(
    cluster: Cluster, own: Stack
) -> None:
    lake = Path(own.settings.lake)
    lake.mkdir()
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    within = [*unshare, "sh", "-c", _WITHOUT_LAKE, str(lake)]
    if not shutil.which("unshare") or subprocess.run([*within, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives a process no mounts of its own; tests/stream/test_run.py has the rest")
    cluster.start_master()
    cluster.start_worker("elsewhere", within=within)
    submitted = cluster.start_job()
    cluster.wait("job", cluster.is_job_healthy)
    send(own, 10)
    assert submitted.wait(PATIENCE_S) == 1
    said = f"agentmon: the lake {lake} is a folder of this machine, and "
    assert [line for line in cluster.log("job").splitlines() if line.startswith(said)]
    assert state_of(own)["state"] == "failed"
    assert own.sealed() == 0
