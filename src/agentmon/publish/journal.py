"""Messages on disk until Kafka has them: an append-only file in segments, and a bookmark.

A folder a process: `lock` (held for as long as its writer lives, whatever ends it), `bookmark`, and segments named
by the place of their first byte. What was accepted is written, not synced: it outlives a kill -9 of the process,
not a loss of power. The bookmark has two places: up to `acked` Kafka has everything, and beyond `handed` nothing has
been on its way; what lies between may have been sent, and whoever goes on after a crash marks it so.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import secrets
import struct
import time
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from agentmon.publish.record import Record, frame_length, unframe

SEGMENT_BYTES = 4 * 1024 * 1024
_READ_BYTES = 256 * 1024
_MARK = struct.Struct("<QQI")
_SUFFIX = ".log"
#: A folder that was begun and never named is left by a process that died in between.
_NEW = ".new-"


class Journal:
    """One process's messages. Appends come one at a time (the outbox has a lock), all else from one other thread."""

    def __init__(self, folder: Path, lock: int, acked: int, handed: int, segments: list[int], written: int) -> None:
        self.folder = folder
        self._lock: int | None = lock
        self.acked, self._handed = acked, handed
        self._suspect = handed  # what a process before us had handed over: may be in Kafka
        self._segments = deque(segments)  # first places, in order
        self.written = written
        self.pending = 0
        self._writer: int | None = None
        self._reader: tuple[int, int] | None = None  # (segment, file descriptor)
        self._mark: int | None = None

    @classmethod
    def create(cls, root: Path) -> Journal:
        """A new one below `root`. Raises OSError where that can't be written."""
        root.mkdir(parents=True, exist_ok=True)
        ignore = root / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        name = f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(3)}"
        begun = root / f"{_NEW}{name}"
        begun.mkdir()
        lock = _locked(begun)
        if lock is None:
            raise OSError("somebody else took a folder that was just made")
        folder = begun.rename(root / name)
        journal = cls(folder, lock, 0, 0, [], 0)
        journal._note()
        return journal

    @classmethod
    def adopt(cls, folder: Path) -> Journal | None:
        """What a process that is dead left behind; None where it lives, or somebody else has adopted it."""
        try:
            lock = _locked(folder)
        except OSError:
            return None
        if lock is None:
            return None
        segments = sorted(int(path.stem) for path in folder.glob(f"*{_SUFFIX}") if path.stem.isdecimal())
        acked, handed = _bookmark(folder / "bookmark", segments)
        segments = [s for n, s in enumerate(segments) if n + 1 == len(segments) or segments[n + 1] > acked]
        journal = cls(folder, lock, acked, handed, segments, 0)
        journal.written = journal._whole()
        return journal

    def append(self, frame: bytes) -> None:
        """Put a message at the end. Raises OSError where the disk does not take it; then nothing of it is there."""
        if self._writer is None or self.written - self._segments[-1] >= SEGMENT_BYTES:
            self._begin_segment()
        assert self._writer is not None
        done = 0
        try:
            while done < len(frame):
                done += _write(self._writer, frame[done:] if done else frame)
        except OSError:
            if done:  # half a message must not stand before the next one
                os.ftruncate(self._writer, self.written - self._segments[-1])
            raise
        self.written += len(frame)
        self.pending += 1

    def read(self, place: int) -> Iterator[Record]:
        """Whole messages from a place on, as many as one reading brings (none only at the end)."""
        end = self.written
        if place >= end:
            return
        later = [s for s in self._segments if s > place]
        segment = max(s for s in self._segments if s <= place)
        stop = min(end, later[0] if later else end)
        fd = self._open_reader(segment)
        data = os.pread(fd, min(stop - place, _READ_BYTES), place - segment)
        needed = frame_length(data, 0)
        if needed is not None and needed > len(data):
            data = os.pread(fd, min(stop - place, needed), place - segment)
        at = 0
        while (record := unframe(data, at, place)) is not None:
            if place + at < self._suspect:
                record.maybe_repeat = True
            yield record
            at = record.end - place

    def hand_over(self, place: int) -> None:
        """Note that messages up to here are about to be sent."""
        if place > self._handed:
            self._handed = place
            self._note()

    def acknowledge(self, place: int) -> None:
        """Note that Kafka has everything up to here, and let go of segments that are done with."""
        self.acked = place
        self._note()
        while len(self._segments) > 1 and self._segments[1] <= place:
            (self.folder / _name(self._segments.popleft())).unlink(missing_ok=True)

    @property
    def waiting_bytes(self) -> int:
        """Bytes that Kafka has not acknowledged."""
        return self.written - self.acked

    def close(self) -> None:
        """Leave it to the next process; where everything has been acknowledged, leave nothing."""
        with contextlib.suppress(OSError):
            if self.acked >= self.written and self.folder.exists():
                for path in self.folder.iterdir():
                    path.unlink()
                self.folder.rmdir()
        self.drop()

    def drop(self) -> None:
        """Close what is open and touch nothing on disk: also what a forked child does with its parent's."""
        for fd in (self._writer, self._mark, self._reader[1] if self._reader else None, self._lock):
            if fd is not None:
                os.close(fd)
        self._writer = self._mark = self._reader = self._lock = None

    def _begin_segment(self) -> None:
        path = self.folder / _name(self.written)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o600)
        if self._writer is not None:
            os.close(self._writer)
        self._writer = fd
        self._segments.append(self.written)

    def _open_reader(self, segment: int) -> int:
        if self._reader is None or self._reader[0] != segment:
            fd = os.open(self.folder / _name(segment), os.O_RDONLY)
            if self._reader is not None:
                os.close(self._reader[1])
            self._reader = (segment, fd)
        return self._reader[1]

    def _note(self) -> None:
        if self._mark is None:
            self._mark = os.open(self.folder / "bookmark", os.O_WRONLY | os.O_CREAT, 0o600)
        body = _MARK.pack(self.acked, self._handed, 0)[:16]
        os.pwrite(self._mark, body + struct.pack("<I", zlib.crc32(body)), 0)

    def _whole(self) -> int:
        """Where the whole messages of a journal that was left behind end."""
        if not self._segments:
            return self.acked
        place = max(self.acked, self._segments[0])
        self.written = self._segments[-1] + (self.folder / _name(self._segments[-1])).stat().st_size
        while True:
            before = place
            for record in self.read(place):
                place = record.end
            if place == before:
                return place


# os.write() lets other threads in, and a busy one keeps the agent waiting for Python's switch interval, 5 ms; a write
# to the page cache takes microseconds. So it is called without letting go of the interpreter.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.write.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t)
_libc.write.restype = ctypes.c_ssize_t


def _write(fd: int, data: bytes) -> int:
    written = int(_libc.write(fd, data, len(data)))
    if written < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return written


def left_behind(root: Path) -> Iterator[Path]:
    """Folders of journals below `root`, the oldest first: whose process is dead shows when they are adopted."""
    try:
        names = sorted(entry.name for entry in root.iterdir() if entry.name[:1].isdecimal())
    except OSError:
        return
    yield from (root / name for name in names)


def _locked(folder: Path) -> int | None:
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def _bookmark(path: Path, segments: list[int]) -> tuple[int, int]:
    first = segments[0] if segments else 0
    try:
        data = path.read_bytes()
        acked, handed, checksum = _MARK.unpack(data)
    except (OSError, struct.error):
        return first, 2**63  # any may have been sent
    if zlib.crc32(data[:16]) != checksum:
        return first, 2**63
    return max(acked, first), handed


def _name(segment: int) -> str:
    return f"{segment:020d}{_SUFFIX}"
