"""A real Spark cluster: the commands of docker-compose.yml, on this machine's loopback instead of in containers."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from agentmon.lake.adhoc import run_sql
from agentmon.live.client import Connection
from agentmon.live.load import Pace, load
from agentmon.live.recording import read
from agentmon.live.topics import ensure, wanted_topics
from agentmon.settings import Settings, project_root
from agentmon.stack.addresses import LOOPBACK, free_port

SERVICES = yaml.safe_load((project_root() / "docker-compose.yml").read_text())["services"]
RECORDING = project_root() / "data" / "tau-airline-events.jsonl.gz"
MESSAGES = 120
PATIENCE_S = 180.0


class Cluster:
    """Services of docker-compose.yml as processes, with free ports and the loopback address for their names."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self._env = env
        self._running: list[subprocess.Popen[bytes]] = []
        self._instead = {"spark-master": LOOPBACK, "spark-worker": LOOPBACK, "/tmp/spark-work": str(folder / "work")}
        self._instead |= {port: str(free_port()) for port in ("7077", "8180", "8181")}

    def start(self, service: str) -> subprocess.Popen[bytes]:
        command = [self._here(word) for word in SERVICES[service]["command"]]
        with (self.folder / f"{service}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=project_root(), env=self._env, stdout=log, stderr=log)
        self._running.append(process)
        return process

    def wait(self, service: str, done: Callable[[], bool], pause: float = 0.5) -> None:
        process, end = self._running[-1], time.monotonic() + PATIENCE_S
        while not done():
            log = (self.folder / f"{service}.log").read_text()[-3000:]
            assert process.poll() is None, log
            assert time.monotonic() < end, log
            time.sleep(pause)

    def is_healthy(self, service: str) -> bool:
        """What the service's health check says."""
        kind, *test = SERVICES[service]["healthcheck"]["test"]
        assert kind == "CMD"
        command = [self._here(word) for word in test]
        return subprocess.run(command, env=self._env, capture_output=True, check=False).returncode == 0

    def stop(self) -> None:
        for process in reversed(self._running):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _here(self, word: str) -> str:
        for theirs, ours in self._instead.items():
            word = word.replace(theirs, ours)
        return word.replace("/var/lib/agentmon", self._env["AGENTMON_HOME"])


@pytest.fixture
def cluster(tmp_path: Path, home_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    for name in ("PYSPARK_SUBMIT_ARGS", "SPARK_HOME", "SPARK_CONF_DIR"):
        monkeypatch.delenv(name, raising=False)
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "AGENTMON_HOME": str(home_settings.home),
        "KAFKA_BOOTSTRAP_SERVERS": home_settings.bootstrap,
        # Its cold first batches would only delay the lake's.
        "AGENTMON_LIVE_INTERVAL": "5",
        # Containers have names that resolve; this machine may not.
        "SPARK_LOCAL_IP": LOOPBACK,
        "SPARK_LOCAL_HOSTNAME": "localhost",
    }
    started = Cluster(tmp_path, env)
    yield started
    started.stop()


def a_slice_of_the_recording(path: Path, agent: str) -> Path:
    """Its first messages, as an agent's that no other test has: the broker's topics are everybody's."""
    with path.open("w") as out:
        for record in itertools.islice(read(RECORDING), MESSAGES):
            value = {**record.value, "agent_id": agent}
            out.write(json.dumps({"topic": record.topic, "key": agent, "value": value}) + "\n")
    return path


def stored_of(settings: Settings, agent: str) -> int:
    if not (Path(settings.lake) / "ledger" / "_delta_log").exists():
        return 0
    figures = "SELECT sum(actions + thoughts + learning) FROM summaries"
    [(found,)] = run_sql(settings.lake, f"{figures} WHERE agent_id = '{agent}'")
    return int(found or 0)


def test_the_job_on_a_cluster_stores_all_and_stops_cleanly(
    cluster: Cluster, home_settings: Settings, connection: Connection
) -> None:
    agent = f"cluster-{uuid.uuid4().hex[:8]}"
    ensure(connection, wanted_topics())
    load(home_settings, a_slice_of_the_recording(cluster.folder / "slice.jsonl", agent), Pace())

    for service in ("spark-master", "spark-worker"):
        cluster.start(service)
        cluster.wait(service, lambda service=service: cluster.is_healthy(service))
    submitted = cluster.start("job")
    cluster.wait("job", lambda: cluster.is_healthy("job"))
    cluster.wait("job", lambda: stored_of(home_settings, agent) == MESSAGES, pause=3.0)
    assert list((cluster.folder / "work").glob("app-*/0")), "no executor was started"

    told = json.loads((home_settings.home / "run" / "job.json").read_text())
    os.kill(told["driver_pid"], signal.SIGTERM)
    assert submitted.wait(PATIENCE_S) == 0
    assert json.loads((home_settings.home / "run" / "job.json").read_text())["state"] == "stopped"
