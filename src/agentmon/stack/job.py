"""The streaming job as a background process: started through spark-submit.sh, stopped through its Python driver."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from typing import Any

import psutil

from agentmon.errors import StackError
from agentmon.settings import Settings, project_root
from agentmon.stack import home
from agentmon.stack.java import find_java

READY_SECONDS = 120.0
STOP_SECONDS = 60.0
REMAINS_SECONDS = 5.0
SCRIPT = "jobs/streaming/monitor.py"


class JobProcess:
    """The job of one AGENTMON_HOME. It tells how it is in job.json; who started which process is in submit.json."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._note = settings.run / "submit.json"
        self._told = settings.run / "job.json"
        # Shows in the JVM's command line, so that the process is known as ours even where the note is lost.
        self._marker = f"spark.agentmon.home={settings.home.resolve()}"
        self.log = settings.logs / "job.log"

    def process(self) -> psutil.Process | None:
        """The JVM that `up` started, if it is alive."""
        return home.process_of(home.read_note(self._note)) or home.find_marked(self._marker)

    def driver(self) -> psutil.Process | None:
        """The job's Python process, whoever started it; it may outlive its JVM."""
        told = self.told()
        try:
            process = psutil.Process(int(told["driver_pid"]))
            # A pid is used again only by a younger process: ours was there when it wrote the file.
            ours = process.create_time() <= float(told["started_at"]) + 1.0
            ours = ours and any(part.endswith(SCRIPT) for part in process.cmdline())
            return process if ours and home.is_alive(process) else None
        except (psutil.Error, KeyError, TypeError, ValueError):
            return None

    def is_foreign(self) -> bool:
        """Whether a job works here that `up` did not start: somebody's own spark-submit."""
        driver = self.driver()
        return driver is not None and not self._is_ours(self.told()) and not self._is_orphan(driver)

    def told(self) -> dict[str, Any]:
        """What the job says of itself: state, error, bootstrap, pids."""
        return home.read_note(self._told)

    def start(self, bootstrap: str, flags: Sequence[str] = ()) -> psutil.Process:
        """Start the job and return at once: it waits for Kafka by itself; see `wait_ready`."""
        find_java()
        home.check_space(self._settings)
        # What an earlier job said must not be taken for the word of this one.
        self._told.unlink(missing_ok=True)
        process = self._spawn(bootstrap, flags)
        home.write_note(self._note, {**home.note_of(process), "started_at": time.time()})
        return process

    def wait_ready(self, process: psutil.Process) -> None:
        """Wait until its queries run. Raises StackError, with the job's own reason, if it ends or takes too long."""
        home.wait_until(lambda: self._runs(process) or not home.is_alive(process), READY_SECONDS, pause=0.1)
        if not home.is_alive(process):
            raise StackError(f"the job ended at its start: {self._reason(process)}")
        if not self._runs(process):
            raise StackError(f"the job does not run after {READY_SECONDS:.0f} s: {self._reason(process)}")

    def stop(self) -> bool:
        """Let the running batch commit, then stop; whether there was a job. Raises StackError for a foreign one."""
        if self.is_foreign():
            raise StackError(f"the job (pid {self._pid()}) was started by hand: stop it there (Ctrl-C), then go on")
        jvm, driver = self.process(), self.driver()
        if jvm is not None:
            # SIGTERM to the JVM would cut the batch off; without a driver there is no batch yet.
            if driver is not None:
                driver.terminate()
                home.wait_until(lambda: not home.is_alive(jvm), STOP_SECONDS)
            home.end(jvm, 10)
        self.end_remains()
        self._note.unlink(missing_ok=True)
        return jvm is not None

    def end_remains(self) -> bool:
        """After a kill -9 of one of the job's two processes, have the other gone too; whether there was one.

        Both end by themselves, but not at once, and they hold locks until then. Only a process that `up` started
        is hurried.
        """
        jvm, driver = self.process(), self.driver()
        if jvm is not None and driver is None and self.told().get("jvm_pid") == jvm.pid:
            home.wait_until(lambda: not home.is_alive(jvm), REMAINS_SECONDS)
            home.end(jvm, REMAINS_SECONDS)
            return True
        if jvm is None and driver is not None and self._is_orphan(driver):
            if self._is_ours(self.told()):
                home.end(driver, REMAINS_SECONDS)
            else:
                home.wait_until(lambda: not home.is_alive(driver), REMAINS_SECONDS)
            return True
        return False

    def _is_orphan(self, driver: psutil.Process) -> bool:
        """Whether its JVM, which is its parent, is gone."""
        try:
            return bool(driver.ppid() != self.told().get("jvm_pid"))
        except psutil.Error:
            return False

    def _is_ours(self, told: dict[str, Any]) -> bool:
        process = self.process()
        return told.get("jvm_pid") in (home.read_note(self._note).get("pid"), process.pid if process else -1)

    def _pid(self) -> int:
        driver = self.driver()
        return driver.pid if driver else 0

    def _runs(self, process: psutil.Process) -> bool:
        told = self.told()
        runs = told.get("jvm_pid") == process.pid and told.get("state") == "running"
        # Whoever was killed says nothing any more.
        return runs and self.driver() is not None

    def _spawn(self, bootstrap: str, flags: Sequence[str]) -> psutil.Process:
        root = project_root()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        command = [str(root / "spark-submit.sh"), "--conf", self._marker, str(root / SCRIPT), *flags]
        with self.log.open("wb") as log:
            started = subprocess.Popen(
                command,
                cwd=self._settings.home,
                env=dict(os.environ, AGENTMON_HOME=str(self._settings.home), KAFKA_BOOTSTRAP_SERVERS=bootstrap),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return psutil.Process(started.pid)

    def _reason(self, process: psutil.Process) -> str:
        told = self.told()
        if told.get("jvm_pid") == process.pid and told.get("error"):
            return f"{told['error']} (log: {self.log})"
        return f"{_last_word(home.tail(self.log))} (log: {self.log})"


def _last_word(lines: list[str]) -> str:
    """The line of a log that says most: ours, else the first line of the last error, else the last line."""
    ours = [line.removeprefix("agentmon: ") for line in lines if line.startswith("agentmon: ")]
    errors = [line for line in lines if "ERROR" in line or "Exception" in line or "Error:" in line]
    speaking = [line for line in lines if line.strip() and not line.startswith(("\tat ", "    at "))]
    return (ours or errors or speaking or ["no reason given"])[-1].strip()[:300]
