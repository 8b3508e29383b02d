"""One writer per lake, and one commit at a time beside other processes.

Delta's log store on a local file system is safe within one JVM only, so the locks are the JVM's: a
Python driver that is killed while its JVM still writes does not let go of them. They are POSIX record
locks (java.nio FileLock), which Python's fcntl.lockf respects. On an object store the log store
itself must put if absent; there only the lock of AGENTMON_HOME is taken.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agentmon.errors import LakeBusyError


class FileLock:
    """A lock file, locked by the driver's JVM."""

    def __init__(self, jvm: Any, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = jvm.java.io.RandomAccessFile(str(path), "rw")
        self._lock: Any = None

    def try_acquire(self) -> bool:
        """Take the lock if nobody holds it."""
        self._lock = self._file.getChannel().tryLock()
        return self._lock is not None

    def release(self) -> None:
        """Let go of it; the file stays, because removing it would race with the next holder."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def close(self) -> None:
        """Let go of it for good."""
        self.release()
        self._file.close()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock, and hold it for a while."""
        self._lock = self._file.getChannel().lock()
        try:
            yield
        finally:
            self.release()


def hold_alone(jvm: Any, folder: Path, what: str) -> FileLock:
    """Be the only job on `folder` for as long as this process lives.

    Raises LakeBusyError, naming who holds it.
    """
    lock = FileLock(jvm, folder / ".writer.lock")
    about = folder / ".writer.json"
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
