"""What runs for this AGENTMON_HOME: notes about processes of ours, safe against reused pids, and one lock."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from agentmon.errors import StackError
from agentmon.settings import Settings

#: A broker or a job that finds less than this stops in the middle of things.
MINIMUM_FREE_BYTES = 256 * 1024 * 1024


def write_note(path: Path, note: dict[str, Any]) -> None:
    """Write a small JSON file at once: whoever reads sees the old or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.name}.{os.getpid()}")
    work.write_text(json.dumps(note))
    work.replace(path)


def read_note(path: Path) -> dict[str, Any]:
    """What the file says; nothing where there is none or it is damaged."""
    try:
        note = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def note_of(process: psutil.Process) -> dict[str, Any]:
    """What identifies a process: its pid alone does not, as pids are used again."""
    return {"pid": process.pid, "create_time": process.create_time()}


def process_of(note: dict[str, Any]) -> psutil.Process | None:
    """The process that the note is about, if it is alive."""
    try:
        process = psutil.Process(int(note["pid"]))
        same = abs(process.create_time() - float(note["create_time"])) < 0.01
        return process if same and is_alive(process) else None
    except (psutil.Error, KeyError, TypeError, ValueError):
        return None


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs: a zombie, dead and not yet collected by its parent, does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def find_marked(marker: str) -> psutil.Process | None:
    """A living process of ours that was started with this argument, though its note is gone."""
    process: psutil.Process
    for process in psutil.process_iter():
        try:
            if marker in process.cmdline() and is_alive(process):
                return process
        except psutil.Error:
            continue
    return None


def end(process: psutil.Process, seconds: float) -> bool:
    """Ask a process to end (SIGTERM), wait for it, and kill it if it does not; whether asking was enough."""
    try:
        process.terminate()
        process.wait(seconds)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(10)
        return False
    return True


def wait_until(is_so: Callable[[], bool], seconds: float, pause: float = 0.05) -> bool:
    """Ask again and again; whether it became so in time."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


@contextmanager
def locked(settings: Settings, seconds: float = 180.0) -> Iterator[None]:
    """Only one `up` or `down` at a time for a home. The system frees the lock if its holder dies.

    Raises StackError where the home can't be written, and where another has the lock for so many seconds.
    """
    _make(settings.run)
    try:
        opened = (settings.run / "up.lock").open("w")
    except OSError as error:
        raise StackError(
            f"{settings.run} can't be written ({error.strerror}): set AGENTMON_HOME to a folder of yours"
        ) from error
    with opened as lock:
        if not wait_until(lambda: _try_lock(lock.fileno()), seconds, pause=0.2):
            raise StackError(f"another agentmon up or down is at work in {settings.home}: wait for it to end")
        yield


def check_space(settings: Settings) -> None:
    """Raises StackError where the disk is all but full: Kafka and Spark would stop halfway."""
    _make(settings.home)
    free = shutil.disk_usage(settings.home).free
    if free < MINIMUM_FREE_BYTES:
        raise StackError(
            f"the disk of {settings.home} is full ({free // 2**20} MB free): free some space"
            " or set AGENTMON_HOME to another place, then run agentmon up again"
        )


def tail(log: Path, size: int = 65_536) -> list[str]:
    """The last lines of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - size))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StackError(
            f"{folder} can't be made ({error.strerror}): set AGENTMON_HOME to a folder of yours"
        ) from error
