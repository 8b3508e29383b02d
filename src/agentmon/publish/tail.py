"""Following a file of lines, in flat memory, through truncation and rotation, from a known place.

Lines are whole: what follows the last newline is given only to who asks for it, and when its file has been replaced.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

_CHUNK = 1024 * 1024
#: So much of the first line tells a file from another one that was written into its place.
_BEGINNING = 1024


@dataclass(frozen=True)
class Place:
    """A file's identity, and how far it has been read. `generation` counts the files that have had this name."""

    device: int = 0
    inode: int = 0
    beginning: str = ""
    generation: int = 0
    offset: int = 0

    @property
    def identity(self) -> str:
        """A name of the file that no other one has, also where its inode is used again."""
        told = f"{self.device}:{self.inode}:{self.generation}:{self.beginning}"
        return hashlib.sha256(told.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Line:
    """One whole line; `data` is None where it is longer than allowed. `place` is where the next one begins."""

    start: int
    data: bytes | None
    place: Place


class Tail:
    """Reads the lines of a file that grows. `place` moves on with each line that is taken."""

    def __init__(self, path: Path, place: Place | None = None, most_bytes: int = 16 * 1024 * 1024) -> None:
        self._path = path
        self._most = most_bytes
        self._file: BinaryIO | None = None
        self.place = place or Place()

    def lines(self) -> Iterator[Line]:
        """The whole lines that are there now, also those of a file that has been renamed meanwhile."""
        if self._file is None:
            self._file = self._find()
        if self._file is None:
            return
        if self._was_rewritten(self._file):
            self._go_to(self._file, self.place.generation + 1)
        yield from self._rest(self._file)
        if self._is_replaced():
            # The old file is read to its end; what comes now is a new one, from its beginning.
            yield from self._rest(self._file)
            last = self.last()
            if last is not None:
                self.take(last)
                yield last
            self._file.close()
            self._file = self._open(self._path)
            if self._file is not None:
                self._go_to(self._file, self.place.generation + 1)
                yield from self._rest(self._file)

    def last(self) -> Line | None:
        """What follows the last newline: a line whose writer may not be done with it. `take` moves on behind it."""
        if self._file is None:
            return None
        data = os.pread(self._file.fileno(), self._most + 1, self.place.offset)
        if not data.strip() or b"\n" in data:
            return None
        beginning = self.place.beginning or _beginning(self._file, is_whole=False)
        place = replace(self.place, beginning=beginning, offset=self.place.offset + len(data))
        return Line(self.place.offset, data if len(data) <= self._most else None, place)

    def take(self, line: Line) -> None:
        """Go on behind the last line. Of what is added to it later only the newline is passed over."""
        self.place = line.place

    def behind(self) -> int:
        """Bytes that are there and not taken."""
        return max(0, os.fstat(self._file.fileno()).st_size - self.place.offset) if self._file else 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _find(self) -> BinaryIO | None:
        """The file where reading goes on: by its identity, whatever it is called by now; else the one of that name."""
        if self.place.inode:
            for path in sorted(self._path.parent.glob(f"{self._path.name}*")):
                file = self._open(path)
                if file is None:
                    continue
                if self._is_same(file):
                    return file
                file.close()
        file = self._open(self._path)
        if file is not None:
            self._go_to(file, self.place.generation + 1 if self.place.inode else 0)
        return file

    def _is_same(self, file: BinaryIO) -> bool:
        status = os.fstat(file.fileno())
        same = (status.st_dev, status.st_ino) == (self.place.device, self.place.inode)
        return same and not self._was_rewritten(file)

    def _was_rewritten(self, file: BinaryIO) -> bool:
        """Whether it has been cut off, or has another first line than before."""
        if os.fstat(file.fileno()).st_size < self.place.offset:
            return True
        return bool(self.place.beginning) and _beginning(file, is_whole=False) != self.place.beginning

    def _is_replaced(self) -> bool:
        assert self._file is not None
        try:
            now = self._path.stat()
        except OSError:
            return False  # renamed, and no new one yet: more may come into the old one
        then = os.fstat(self._file.fileno())
        return (now.st_dev, now.st_ino) != (then.st_dev, then.st_ino)

    def _go_to(self, file: BinaryIO, generation: int) -> None:
        status = os.fstat(file.fileno())
        self.place = Place(status.st_dev, status.st_ino, "", generation, 0)

    def _rest(self, file: BinaryIO) -> Iterator[Line]:
        """Whole lines from the place on. A last line without its end is left for later."""
        if not self.place.beginning:
            self.place = replace(self.place, beginning=_beginning(file))
            if not self.place.beginning:
                return  # no whole line yet, and no identity
        at, start, parts, size = self.place.offset, self.place.offset, [], 0
        was_taken = at > 0 and os.pread(file.fileno(), 1, at - 1) != b"\n"  # by `take`: here is the end of that line
        while chunk := os.pread(file.fileno(), _CHUNK, at):
            begin = 0
            while (end := chunk.find(b"\n", begin)) >= 0:
                size += end - begin
                parts.append(chunk[begin:end])
                begin = end + 1
                self.place = replace(self.place, offset=at + begin)
                line = Line(start, b"".join(parts) if size <= self._most else None, self.place)
                start, parts, size = at + begin, [], 0
                if not was_taken or line.data is None or line.data.strip():
                    yield line
                was_taken = False
            size += len(chunk) - begin
            if size <= self._most:
                parts.append(chunk[begin:])
            else:
                parts = []
            at += len(chunk)

    @staticmethod
    def _open(path: Path) -> BinaryIO | None:
        try:
            return path.open("rb", buffering=0)
        except OSError:
            return None


def _beginning(file: BinaryIO, *, is_whole: bool = True) -> str:
    """A name of the first line, the same before and after its end has come; where it has to be whole, none until then."""
    head = os.pread(file.fileno(), _BEGINNING, 0)
    line, newline, _ = head.partition(b"\n")
    if is_whole and not newline and len(head) < _BEGINNING:
        return ""
    return hashlib.sha256(line.rstrip()).hexdigest()[:16]
