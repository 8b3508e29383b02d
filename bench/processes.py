"""CPU and memory of the job's processes, from /proc: what its tasks take, and what its driver takes.

Tasks are the JVM's threads that run them, and the Python workers: children of a `pyspark.daemon` that the JVM starts. The
driver is its Python process, and the JVM's other threads (planning, compiling, garbage). Threads and workers end and are
made anew: what an ended one was last seen with still counts. (The daemon ignores SIGCHLD, so that the system adds what its
ended workers took to nobody's times.)
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.home import Stack

_TICKS = os.sysconf("SC_CLK_TCK")
#: Names of threads that run tasks ("Executor task launch worker", cut), and of those that write to Python for them.
_TASK_THREADS = ("Executo", "stdout writer")
_DAEMON = "pyspark.daemon"


@dataclass(frozen=True)
class Job:
    """Pids of a running job; `python` is the driver's Python with its children."""

    jvm: int
    python: tuple[int, ...]
    daemons: tuple[int, ...]
    workers: tuple[int, ...]

    @property
    def all(self) -> tuple[int, ...]:
        return (self.jvm, *self.python, *self.daemons, *self.workers)


def find_job(own: Stack) -> Job | None:
    """The job's processes now; None where it does not run."""
    processes = own.job_processes()
    if not processes:
        return None
    jvm, *below = processes
    daemons = {p.pid for p in below if _is_daemon(p)}
    # A worker is a fork of its daemon, command line and all.
    heads = {pid for pid in daemons if _parent(pid) not in daemons}
    workers = daemons - heads
    return Job(
        jvm.pid,
        tuple(p.pid for p in below if p.pid not in daemons),
        tuple(sorted(heads)),
        tuple(sorted(workers)),
    )


class Used(NamedTuple):
    """CPU seconds since the meter's start, and the memory of all processes together (PSS, bytes), at a moment."""

    at: float
    tasks: float
    driver: float
    memory: int


class Meter:
    """Looks at the job every `period_s` while the context lasts; at its memory every second."""

    def __init__(self, own: Stack, period_s: float = 0.5) -> None:
        self._own = own
        self._period_s = period_s
        # CPU seconds that each was last seen with.
        self._threads: dict[tuple[int, int], float] = {}
        self._jvms: dict[int, float] = {}
        self._python: dict[int, float] = {}
        self._workers: dict[int, float] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._seen: list[Used] = []

    def __enter__(self) -> Meter:
        self._look(with_memory=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._look(with_memory=True)

    def between(self, begin: float = 0.0, end: float = float("inf")) -> Used:
        """What was used between two moments (epoch seconds), as far as samples tell; `memory` is the most at a time."""
        before = [used for used in self._seen if used.at <= begin]
        first = before[-1] if before else self._seen[0]
        after = [used for used in self._seen if used.at >= end]
        last = after[0] if after else self._seen[-1]
        within = [used.memory for used in self._seen if first.at <= used.at <= last.at]
        return Used(last.at - first.at, last.tasks - first.tasks, last.driver - first.driver, max(within))

    def _run(self) -> None:
        number = 0
        while not self._ending.wait(self._period_s):
            number += 1
            self._look(with_memory=number % max(1, round(1 / self._period_s)) == 0)

    def _look(self, *, with_memory: bool) -> None:
        job = find_job(self._own)
        if job is None:
            return
        self._jvms |= _cpu_of((job.jvm,))
        self._threads |= {(job.jvm, tid): seconds for tid, seconds in _task_threads(job.jvm)}
        self._python |= _cpu_of(job.python)
        self._workers |= _cpu_of((*job.daemons, *job.workers))
        threads = sum(self._threads.values())
        tasks = threads + sum(self._workers.values())
        driver = sum(self._jvms.values()) - threads + sum(self._python.values())
        memory = sum(map(pss, job.all)) if with_memory else self._seen[-1].memory
        self._seen.append(Used(time.time(), tasks, driver, memory))


def pss(pid: int) -> int:
    """Bytes of memory of a process, shared pages by their share (smaps_rollup); 0 where it is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _task_threads(pid: int) -> Iterator[tuple[int, float]]:
    try:
        tids = [entry.name for entry in os.scandir(f"/proc/{pid}/task")]
    except OSError:
        return
    for tid in tids:
        name, fields = _stat(f"/proc/{pid}/task/{tid}/stat")
        if name.startswith(_TASK_THREADS):
            yield int(tid), _seconds(fields)


def _cpu_of(pids: tuple[int, ...]) -> dict[int, float]:
    """CPU seconds of each process that is there."""
    found = {}
    for pid in pids:
        _, fields = _stat(f"/proc/{pid}/stat")
        if fields:
            found[pid] = _seconds(fields)
    return found


def _seconds(fields: list[str]) -> float:
    """User and system time, of the fields of `_stat`."""
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _stat(path: str) -> tuple[str, list[str]]:
    """Name of a process or thread, and the fields after it (proc_pid_stat(5), from its third on); nothing where it is gone."""
    try:
        text = Path(path).read_text()
    except OSError:
        return "", []
    name, _, rest = text.partition("(")[2].rpartition(")")
    return name, rest.split()


def _is_daemon(process: psutil.Process) -> bool:
    try:
        return any(_DAEMON in part for part in process.cmdline())
    except psutil.Error:
        return False


def _parent(pid: int) -> int:
    _, fields = _stat(f"/proc/{pid}/stat")
    return int(fields[1]) if fields else 0
