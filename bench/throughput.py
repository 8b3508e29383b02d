"""How fast a backlog reaches the tables: ours, and the same backlog through a plain Python loader."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any

from agentmon.settings import project_root
from bench.events import events, send_all
from bench.home import Stack


def warm_up(own: Stack, count: int) -> None:
    """So many messages through the job, which compiles meanwhile."""
    begin = own.sealed()
    send_all(own.bootstrap, events(count, start=time.time() - 3600, step_s=0.003, tag="-warm"))
    own.wait_sealed(begin + count)


def ours(own: Stack, count: int) -> dict[str, Any]:
    """Events per second of a warm job; it is held (SIGSTOP) while the backlog is made, so that it is one."""
    begin = own.sealed()
    processes = own.job_processes()
    if not processes:
        raise RuntimeError("the job is not running")
    for process in processes:
        process.suspend()
    try:
        send_all(own.bootstrap, events(count, start=time.time() - 3600, step_s=0.003, tag=f"-bulk-{begin}"))
    finally:
        begun = time.time()
        for process in processes:
            process.resume()
    # The ledger says when it was; looking more often would only take CPU from the job.
    last = own.wait_sealed(begin + count, pause_s=10.0)
    return {"events": count, "seconds": round(last - begun, 2), "events_per_s": round(count / (last - begun))}


def peer(own: Stack, count: int, *, duties: bool) -> dict[str, Any]:
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
        return {"events": count, "events_per_s": round(json.loads(ran.stdout)["events_per_s"])}
    finally:
        shutil.rmtree(lake, ignore_errors=True)
