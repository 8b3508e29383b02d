"""A stack of the bench's own: temporary home, embedded broker, the real job as `agentmon up` starts it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from agentmon.errors import NoLakeError
from agentmon.lake.connection import open_lake
from agentmon.live.client import Connection
from agentmon.live.topics import ensure, wanted_topics
from agentmon.settings import Settings
from agentmon.stack.addresses import LOOPBACK, free_port
from agentmon.stack.broker import Broker
from agentmon.stack.job import JobProcess

#: (figure, what was measured, goal)
Line = tuple[str, Any, str]


class Stack:
    """Broker and job of one temporary home."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home)
        self.broker = Broker(self.settings)
        self.job = JobProcess(self.settings)
        self._port = free_port()

    def start_broker(self) -> None:
        """Start it, also after a kill, on the same data and port; make the topics that are missing."""
        self.broker.start(f"localhost:{self._port}", LOOPBACK, self._port)
        with Connection(self.settings) as connection:
            ensure(connection, wanted_topics())

    def adopt_broker(self) -> None:
        """Take over the one that `agentmon up` has started. Raises OSError, KeyError or ValueError before that."""
        note = json.loads((self.settings.run / "broker.json").read_text())
        self._port = int(note["bootstrap"].rpartition(":")[2])

    def start_job(self) -> psutil.Process:
        """Start the job and wait until its queries run; its JVM."""
        self.job.end_remains()
        process = self.job.start(self.bootstrap)
        self.job.wait_ready(process)
        return process

    def kill_job(self, *, driver: bool = False) -> None:
        """kill -9 of the driver's JVM, or of its Python process."""
        process = self.job.driver() if driver else self.job.process()
        if process is not None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(10)

    def kill_broker(self) -> None:
        """kill -9 of the broker."""
        process = self.broker.process()
        if process is not None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(10)

    def job_processes(self) -> list[psutil.Process]:
        """The JVM, and the Python processes below it: the driver and those that read."""
        jvm = self.job.process()
        return [] if jvm is None else [jvm, *filter(_is_alive, jvm.children(recursive=True))]

    @property
    def bootstrap(self) -> str:
        return f"localhost:{self._port}"

    def sealed(self) -> int:
        """Messages that the ledger has."""
        try:
            with open_lake(self.settings.lake, ("ledger",)) as con:
                found = con.execute(
                    "SELECT coalesce(sum(end_offset - start_offset), 0) FROM ledger WHERE kind = 'stored'"
                ).fetchone()
                return int(found[0]) if found else 0
        except NoLakeError:
            return 0

    def wait_sealed(self, count: int, timeout_s: float = 600.0, pause_s: float = 2.0) -> float:
        """Wait until the ledger has so many; the epoch second of the last commit."""
        # Looking costs a third of a second of one core, which the job has not got then: seldom.
        wait(lambda: self.sealed() >= count, timeout_s, f"{count} messages in the lake", pause_s=pause_s)
        with open_lake(self.settings.lake, ("ledger",)) as con:
            (last,) = con.execute("SELECT epoch(max(committed_at)) FROM ledger").fetchone() or (0.0,)
        return float(last)


def _is_alive(process: psutil.Process) -> bool:
    """Not a worker that has just ended, nor what is left of a shell that the JVM has not asked about."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def stack() -> Iterator[Stack]:
    """A stack that is stopped and removed at the end."""
    home = Path(tempfile.mkdtemp(prefix="agentmon-bench-"))
    own = Stack(home)
    try:
        yield own
    finally:
        own.job.stop()
        own.broker.stop()
        shutil.rmtree(home, ignore_errors=True)


def wait(happened: Callable[[], bool], timeout_s: float, what: str, pause_s: float = 0.2) -> None:
    """Wait for something; raises TimeoutError naming it."""
    end = time.monotonic() + timeout_s
    while not happened():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {timeout_s:.0f} s in vain for {what}")
        time.sleep(pause_s)
