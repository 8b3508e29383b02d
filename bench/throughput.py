"""How fast a backlog reaches the tables, and what that takes: ours, and the same backlog through a plain Python loader."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from agentmon.settings import project_root
from bench.events import events, send_all
from bench.home import Line, Stack
from bench.processes import Meter, Used


def backlog(own: Stack, count: int) -> Iterator[Line]:
    """A backlog through the job, its peers, and another through the job: the machine's speed changes by the minute."""
    before = _size(Path(own.settings.lake))
    warm_up(own, count // 2)
    first = ours(own, count)
    bare = peer(own, count, duties=False)
    full = peer(own, count, duties=True)
    runs = [first, ours(own, count)]
    speed = 2 * count / sum(run.seconds for run in runs)
    tasks, driver = (sum(getattr(run.used, name) for run in runs) for name in ("tasks", "driver"))
    memory = max(run.used.memory for run in runs)
    yield "backlog: agentmon before and after, messages/s", [round(count / run.seconds) for run in runs], "-"
    yield "backlog: agentmon, messages/s", round(speed), "-"
    yield "backlog: plain Python, same duties, messages/s", full, "peer"
    yield "backlog: plain Python, bare, messages/s", bare, "peer"
    yield "backlog: ratio to the peer with duties", round(speed / full, 2), ">= 1.5 (floor 1.0)"
    yield "backlog: ratio to the bare peer", round(speed / bare, 2), "-"
    yield "backlog: CPU per message in tasks, microseconds", round(tasks / (2 * count) * 1e6, 1), "-"
    yield "backlog: CPU per message in the driver, microseconds", round(driver / (2 * count) * 1e6, 1), "-"
    yield "backlog: the driver's share of the job's CPU, %", round(100 * driver / (tasks + driver)), "<= 10 (floor 20)"
    yield "backlog: memory of all the job's processes, PSS, GiB", round(memory / 2**30, 2), "<= 2.5"
    grown = _size(Path(own.settings.lake)) - before
    yield "growth: bytes on disk per event", round(grown / (2 * count + count // 2)), "<= 500"


class Run(NamedTuple):
    """A backlog through the job: how long it took, and what it used."""

    seconds: float
    used: Used


def warm_up(own: Stack, count: int) -> None:
    """So many messages through the job, which compiles meanwhile."""
    begin = own.sealed()
    send_all(own.bootstrap, events(count, start=time.time() - 3600, step_s=0.003, tag="-warm"))
    own.wait_sealed(begin + count)


def ours(own: Stack, count: int) -> Run:
    """A backlog through the warm job; it is held (SIGSTOP) while the backlog is made, so that it is one."""
    begin = own.sealed()
    processes = own.job_processes()
    if not processes:
        raise RuntimeError("the job is not running")
    with Meter(own) as meter:
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # workers come and go
                process.suspend()
        try:
            send_all(own.bootstrap, events(count, start=time.time() - 3600, step_s=0.003, tag=f"-bulk-{begin}"))
        finally:
            begun = time.time()
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.resume()
        # The ledger says when it was; looking more often would only take CPU from the job.
        last = own.wait_sealed(begin + count, pause_s=10.0)
    return Run(last - begun, meter.between(begun, last))


def peer(own: Stack, count: int, *, duties: bool) -> int:
    """The peer's events per second over the first `count` messages of the same topics."""
    lake = tempfile.mkdtemp(prefix="agentmon-peer-")
    try:
        command = [
            sys.executable,
            "-m",
            "bench.peer",
            own.bootstrap,
            lake,
            str(count),
            *(["--duties"] if duties else []),
        ]
        ran = subprocess.run(command, check=True, capture_output=True, text=True, cwd=project_root())
        return round(json.loads(ran.stdout)["events_per_s"])
    finally:
        shutil.rmtree(lake, ignore_errors=True)


def _size(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
