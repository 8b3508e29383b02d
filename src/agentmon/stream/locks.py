"""One writer per lake, and one commit at a time beside other processes.

Delta's log store in a JVM is safe, on a local file system, for writers within that JVM only; so whoever commits
takes a lock first. They are POSIX record locks (fcntl), which Java's FileLock respects, and which the kernel lets
go of however their holder ends. On an object store the commit itself must put if absent; there only the lock of
AGENTMON_HOME is taken.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentmon.errors import LakeBusyError

#: In a folder that a job holds: who it is, as JSON.
WRITER_FILE = ".writer.json"


class FileLock:
    """A lock file, for other processes alone: several threads of this one may hold it at once.

    Open it once per process: closing any descriptor of a file lets go of the process's lock on it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("a")
        self._holders = 0
        self._counting = threading.Lock()

    def try_acquire(self) -> bool:
        """Take the lock if no other process holds it."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def release(self) -> None:
        """Let go of it; the file stays, because removing it would race with the next holder."""
        fcntl.lockf(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of it for good."""
        self.release()
        self._file.close()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock, and hold it for a while."""
        with self._counting:
            if not self._holders:
                fcntl.lockf(self._file, fcntl.LOCK_EX)
            self._holders += 1
        try:
            yield
        finally:
            with self._counting:
                self._holders -= 1
                if not self._holders:
                    self.release()


def hold_alone(folder: Path, what: str) -> FileLock:
    """Be the only job on `folder` for as long as this process lives.

    Raises LakeBusyError, naming who holds it.
    """
    lock = FileLock(folder / ".writer.lock")
    about = folder / WRITER_FILE
    if not lock.try_acquire():
        raise LakeBusyError(
            f"{what} {folder} is being written by {_holder(about)}; stop that job first (agentmon down, or SIGTERM to it)"
        )
    about.write_text(
        json.dumps(
            {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            }
        )
    )
    return lock


def _holder(about: Path) -> str:
    try:
        found = json.loads(about.read_text())
        return f"the job with pid {found['pid']} on {found['host']} since {found['since']}"
    except (OSError, ValueError, KeyError):
        return "another job"
