"""Where accepted messages wait for Kafka: on disk, in memory where the disk takes none, within a bound, counted."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agentmon.publish.journal import Journal, left_behind
from agentmon.publish.record import Record, frame, unframe

#: Where messages wait, below the agent's project.
FOLDER = ".agentmon-spill"
#: What is held in memory at the most, where the disk is full or can't be written.
MEMORY_BYTES = 8 * 1024 * 1024


class Source(Protocol):
    """What the sender takes messages from. `pending` counts those that were accepted and not settled yet."""

    acked: int
    written: int
    pending: int

    def read(self, place: int) -> Iterator[Record]: ...
    def hand_over(self, place: int) -> None: ...
    def acknowledge(self, place: int) -> None: ...


@dataclass(frozen=True)
class Stats:
    """What became of the messages of this process: accepted = sent + spilled + dropped."""

    accepted: int
    sent: int  # acknowledged by Kafka
    spilled: int  # waiting for that, on disk (but for `in_memory` of them)
    dropped: int  # no room left, or refused by Kafka for good
    in_memory: int = 0  # of spilled: would not outlive this process
    filtered: int = 0  # not accepted: left out by the filter or by sampling
    recovered: int = 0  # left behind by earlier processes and sent by this one
    spilled_bytes: int = 0


class Memory:
    """Messages in memory, for want of a disk."""

    def __init__(self) -> None:
        self.acked = self.written = self.pending = 0
        self._frames: deque[tuple[int, bytes]] = deque()

    def append(self, data: bytes) -> None:
        self._frames.append((self.written, data))
        self.written += len(data)
        self.pending += 1

    def read(self, place: int) -> Iterator[Record]:
        for start, data in list(self._frames):
            record = unframe(data, 0, start) if start >= place else None
            if record is not None:
                yield record

    def hand_over(self, place: int) -> None:
        pass  # nobody could go on from here

    def acknowledge(self, place: int) -> None:
        self.acked = place
        while self._frames and self._frames[0][0] < place:
            self._frames.popleft()


class Outbox:
    """Accepts messages from any thread; one sender takes them from `sources`, in order."""

    def __init__(self, root: Path, most_bytes: int) -> None:
        self.root = root / FOLDER
        self._most = most_bytes
        self._begin()

    def _begin(self) -> None:
        self.lock = threading.Lock()
        self._memory = Memory()
        self._journal: Journal | None = None
        self._adopted: list[Journal] = []
        self._accepted = self._sent = self._full = self._refused = self._recovered = 0
        self._left = 0  # on disk, in files that have been given up
        self.trouble: str | None = None  # why the disk is not used, for people

    def accept(self, topic: str, key: bytes, value: bytes, maybe_repeat: bool = False) -> bool:
        """Take a message; False where there is no room left for it (it is counted as dropped)."""
        data = frame(topic, key, value, maybe_repeat)
        with self.lock:
            self._accepted += 1
            # In order: what is newer stays behind what is in memory.
            keeper: Journal | Memory = self._memory if self._memory.pending else self._disk() or self._memory
            if self._has_room(keeper, len(data)):
                try:
                    keeper.append(data)
                    return True
                except OSError as error:
                    self._note_trouble(error)
                    if self._has_room(self._memory, len(data)):
                        self._memory.append(data)
                        return True
            self._full += 1
            return False

    def _disk(self) -> Journal | None:
        try:
            if self._journal is None:
                self._journal = Journal.create(self.root)
                self.trouble = None
        except OSError as error:
            self._note_trouble(error)
        return self._journal

    def _has_room(self, keeper: Journal | Memory, size: int) -> bool:
        if keeper is self._memory:
            return self._memory.written - self._memory.acked + size <= MEMORY_BYTES
        return self.waiting_bytes() + size <= self._most

    def _note_trouble(self, error: OSError) -> None:
        self.trouble = f"{self.root} can't be written ({error.strerror or error})"

    def waiting_bytes(self) -> int:
        """Bytes that wait on disk."""
        own = self._journal.waiting_bytes if self._journal else 0
        return own + sum(journal.waiting_bytes for journal in self._adopted)

    def sources(self) -> list[Source]:
        """In the order in which they are to be sent: what earlier processes left, our own, what is in memory."""
        own = [self._journal] if self._journal else []
        return [*self._adopted, *own, self._memory]

    def adopt(self) -> int:
        """Take over what dead processes have left; how many bytes of messages that is."""
        mine = {journal.folder.name for journal in (*self._adopted, self._journal) if journal}
        found = 0
        for folder in left_behind(self.root):
            journal = Journal.adopt(folder) if folder.name not in mine else None
            if journal is None:
                continue
            if journal.waiting_bytes:
                self._adopted.append(journal)
                found += journal.waiting_bytes
            else:
                journal.close()
        return found

    def settle(self, source: Source, place: int, done: int, refused: int) -> None:
        """Kafka has, or has refused for good, everything of a source up to a place: so many messages."""
        with self.lock:
            if source in self._adopted:
                self._recovered += done
            else:
                self._sent += done
                self._refused += refused
                source.pending -= done + refused
        source.acknowledge(place)
        if source in self._adopted and source.acked >= source.written:
            self._adopted.remove(source)
            source.close()

    def give_up(self, source: Source) -> int:
        """A journal that can't be read any more, as somebody deleted it: what it held is lost, and counted."""
        with self.lock:
            lost = source.pending
            self._refused += lost
            if source is self._journal:
                self._journal = None
            elif source in self._adopted:
                self._adopted.remove(source)
        source.drop()  # type: ignore[attr-defined]
        return lost

    def is_empty(self) -> bool:
        """Whether Kafka has everything."""
        return all(source.acked >= source.written for source in self.sources())

    def stats(self, filtered: int = 0) -> Stats:
        """What became of this process's messages."""
        with self.lock:
            on_disk = self._left + (self._journal.pending if self._journal else 0)
            return Stats(
                accepted=self._accepted,
                sent=self._sent,
                spilled=on_disk + self._memory.pending,
                dropped=self._full + self._refused,
                in_memory=self._memory.pending,
                filtered=filtered,
                recovered=self._recovered,
                spilled_bytes=self.waiting_bytes(),
            )

    def close(self) -> None:
        """Give up the files; what Kafka has not got stays on disk for the next process."""
        with self.lock:
            for journal in (*self._adopted, self._journal):
                if journal is not None:
                    journal.close()
            # What stays counts as spilled still.
            self._left += self._journal.pending if self._journal else 0
            self._adopted, self._journal = [], None
        with contextlib.suppress(OSError):  # others are there still
            if not any(left_behind(self.root)):
                (self.root / ".gitignore").unlink(missing_ok=True)
            self.root.rmdir()

    def forget(self) -> None:
        """In a forked child: leave all of it to the parent and begin anew."""
        for journal in (*self._adopted, self._journal):
            if journal is not None:
                journal.drop()
        self._begin()
