"""A standalone Spark cluster on this machine: docker-compose.yml's commands, as processes in place of containers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml

from agentmon.settings import Settings, project_root
from agentmon.stack.addresses import LOOPBACK, free_port

SERVICES = yaml.safe_load((project_root() / "docker-compose.yml").read_text())["services"]
PATIENCE_S = 180.0
_EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"


class Cluster:
    """A master, workers and the job, with free ports, and the loopback address in place of names."""

    def __init__(self, folder: Path, settings: Settings, **env: str) -> None:
        """`folder` gets the logs and the executors' folders; `env`: variables beside this process's own."""
        self.folder = folder
        self._home = settings.home
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYSPARK_", "SPARK_"))},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "AGENTMON_HOME": str(settings.home),
            "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap,
            # Containers have names that resolve; this machine may not.
            "SPARK_LOCAL_IP": LOOPBACK,
            "SPARK_LOCAL_HOSTNAME": "localhost",
            **env,
        }
        self._ports = {port: str(free_port()) for port in ("7077", "8180", "8181")}
        self._page = free_port()
        self._services: dict[str, psutil.Popen] = {}
        self._below: set[psutil.Process] = set()

    def start_master(self) -> None:
        """Start it, and wait for its health check."""
        self._start("spark-master", SERVICES["spark-master"]["command"])
        self.wait("spark-master", lambda: self._is_healthy("spark-master"))

    def start_worker(
        self, name: str, *, within: Iterable[str] = (), env: Mapping[str, str] | None = None, umask: int = -1
    ) -> None:
        """Start a worker of one core, and wait for its health check.

        within: a command that runs another one. env: all of its variables. umask: the mode of files says who wrote them.
        """
        self._ports["8181"] = str(free_port())
        command = [*SERVICES["spark-worker"]["command"]]
        command[command.index("--cores") + 1] = "1"
        command[command.index("--work-dir") + 1] = str(self.folder / name)
        self._start(name, [*within, *command], env, umask)
        self.wait(name, lambda: self._is_healthy("spark-worker"))

    def start_job(self, *flags: str) -> psutil.Popen:
        """Submit the job, with Spark's page switched on; its JVM, which may take half a minute to be healthy."""
        script, *command = SERVICES["job"]["command"]
        page = ("--conf", "spark.ui.enabled=true", "--conf", f"spark.ui.port={self._page}")
        return self._start("job", [script, *page, *flags, *command])

    def is_job_healthy(self) -> bool:
        return self._is_healthy("job")

    def wait(self, service: str, happened: Callable[[], bool], pause_s: float = 0.2) -> None:
        """Wait for something that a service brings about. Raises AssertionError, with the end of its log."""
        end = time.monotonic() + PATIENCE_S
        while not happened():
            assert self._services[service].poll() is None, self.log(service)
            assert time.monotonic() < end, self.log(service)
            time.sleep(pause_s)

    def log(self, service: str) -> str:
        """The end of its log."""
        return (self.folder / f"{service}.log").read_text()[-5000:]

    def ask(self, path: str) -> Any:
        """What Spark's REST interface says of the job (spark.apache.org/docs/latest/monitoring.html). Raises OSError."""
        root = f"http://{LOOPBACK}:{self._page}/api/v1/applications"
        [application] = _json_at(root)
        return _json_at(f"{root}/{application['id']}/{path}")

    def executors(self) -> dict[str, psutil.Process]:
        """By id, the JVMs that run tasks; each has Spark's Python processes below it."""
        found = {}
        for process in self.below():
            words = _command(process)
            if _EXECUTOR in words:
                found[words[words.index("--executor-id") + 1]] = process
        return found

    def driver(self) -> psutil.Process:
        """The job's Python process; its parent is its JVM."""
        return psutil.Process(json.loads((self._home / "run" / "job.json").read_text())["driver_pid"])

    def below(self) -> Iterator[psutil.Process]:
        """All processes that the services have started, executors and Python workers among them."""
        for service in self._services.values():
            if _is_alive(service):
                yield from service.children(recursive=True)

    def remember(self) -> None:
        """Have `stop` look after what runs now, also where it loses its parent."""
        self._below.update(self.below())

    def stop(self) -> list[str]:
        """Stop all services, gently first; the commands of processes below them that had to be killed after that."""
        self.remember()
        for service in reversed(self._services.values()):
            if service.poll() is None:
                service.terminate()
                try:
                    service.wait(15)
                except psutil.TimeoutExpired:
                    service.kill()
                    service.wait()
        psutil.wait_procs(self._below, 10)
        left = [process for process in self._below if _is_alive(process)]
        commands = [" ".join(_command(process)) for process in left]
        for process in left:
            process.kill()
        return commands

    def _is_healthy(self, service: str) -> bool:
        """What the service's health check says."""
        kind, *test = SERVICES[service]["healthcheck"]["test"]
        assert kind == "CMD"
        command = [self._here(word) for word in test]
        return subprocess.run(command, env=self._env, capture_output=True, check=False).returncode == 0

    def _start(
        self, name: str, command: Iterable[str], env: Mapping[str, str] | None = None, umask: int = -1
    ) -> psutil.Popen:
        words = [self._here(word) for word in command]
        with (self.folder / f"{name}.log").open("wb") as log:
            service = psutil.Popen(words, cwd=project_root(), env=env or self._env, stdout=log, stderr=log, umask=umask)
        self._services[name] = service
        return service

    def _here(self, word: str) -> str:
        for name in ("spark-master", "spark-worker"):
            word = word.replace(name, LOOPBACK)
        for theirs, ours in self._ports.items():
            word = word.replace(theirs, ours)
        return word.replace("/var/lib/agentmon", str(self._home))


def _json_at(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []
