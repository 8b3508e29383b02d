"""The driver's side of the processes that read: messages come out of them as rows.

Python runs one thread at a time: fetching and parsing in the driver would wait for what it does with the rows. Each
process (stream/reader.py) reads its share of the partitions, holds nothing but its place in them, and ends with the driver.

The driver asks with a `Request`; the answer is a `Piece` with its tables, or the error that reading failed with. One
that had its fill is asked for more at once, so that it parses while others, and the driver, are still busy.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from agentmon.contracts.topics import Offsets, Place
from agentmon.settings import Settings
from agentmon.stream.handover import receive, send
from agentmon.stream.parsed import Parsed, count, joined, size

#: A backlog that is shared out anew is so many times what is taken in at once, and its largest share becomes so much smaller.
_BACKLOG, _WORTHWHILE = 2, 0.9
#: Huge messages are handed on in pieces of some such size.
_HELD_BYTES = 64 * 1024 * 1024
_LOOK_S = 1.0
_END_S = 5.0


@dataclass(frozen=True)
class Start:
    """What a process begins with, or goes on with: the next offsets, and how many messages a piece has at the most."""

    settings: Settings
    offsets: Offsets
    most: int


@dataclass(frozen=True)
class Request:
    """A piece, up to these offsets if it can hold as much, of topics with these ids, as rows with this ingest_time."""

    ends: Offsets
    topic_ids: Mapping[str, str]
    ingest_time: datetime


@dataclass(frozen=True)
class Piece:
    """The next offsets after it, and which tables' rows follow; `is_full`: there may be more."""

    end: Offsets
    tables: tuple[str, ...]
    is_full: bool


@dataclass(frozen=True)
class Rows:
    """What was read, up to `end`; `caught_up`: Kafka had no more then."""

    parsed: Parsed
    end: Offsets
    ingest_time: datetime
    caught_up: bool

    @cached_property
    def count(self) -> int:
        return count(self.parsed)

    @cached_property
    def size(self) -> int:
        """Bytes."""
        return size(self.parsed)


class Readers:
    """AGENTMON_READERS processes read on from `start`, in pieces of some `most` messages. A thread at a time."""

    def __init__(self, settings: Settings, start: Mapping[Place, int], most: int) -> None:
        self._settings = settings
        self._most = most
        self._most_each = math.ceil(most / settings.readers)
        self._stopped = False
        self._position = dict(start)
        self._owners: dict[Place, int] = {}
        shares = self._shares(start, settings.readers)
        self._processes = [_Process(Start(settings, share, self._most_each)) for share in shares]

    def behind(self, ends: Mapping[Place, int]) -> int:
        """Offsets up to these ends that were not read yet."""
        return sum(max(0, end - self._position.get(place, 0)) for place, end in ends.items())

    def until(self, ends: Mapping[Place, int], topic_ids: Mapping[str, str], ingest_time: datetime) -> Iterator[Rows]:
        """What there is up to these ends, and what has come beyond them meanwhile; all of it, unless stopped.

        Rows that had been asked for before have their ingest_time of then. Raises what live/fetcher.py's `read` does;
        RuntimeError where a process is gone.
        """
        yield from self._balance(ends)
        shares = self._shares(ends, len(self._processes))
        requests = {p: Request(share, topic_ids, ingest_time) for p, share in zip(self._processes, shares, strict=True)}
        held: list[Rows] = []
        while self.behind(ends) and not self._stopped:
            for process, request in requests.items():
                if process.is_full or self.behind(request.ends):
                    process.ask(request)
            asked = [process for process in self._processes if process.asked is not None]
            for process in select.select(asked, [], [], _LOOK_S)[0]:
                rows = process.answer()
                if process.is_full:
                    process.ask(requests[process])
                if not self._is_new(rows):
                    continue
                if held and held[0].ingest_time != rows.ingest_time:
                    yield self._together(held, ends)
                    held = []
                self._position.update(rows.end)
                held.append(rows)
                if self._are_enough(held):
                    yield self._together(held, ends)
                    held = []
        if held:
            yield self._together(held, ends)

    def _are_enough(self, held: Sequence[Rows]) -> bool:
        """Whether another piece would be too much; pieces are a little more or less than what was asked for."""
        rows = sum(part.count for part in held)
        return rows > self._most - self._most_each // 2 or sum(part.size for part in held) > _HELD_BYTES

    def stop(self) -> None:
        """Have what was asked for end early, and ask for nothing else. From any thread."""
        self._stopped = True
        for process in self._processes:
            process.stop()

    def close(self) -> None:
        """End the processes."""
        self.stop()
        for process in self._processes:
            process.close()

    def _together(self, held: list[Rows], ends: Mapping[Place, int]) -> Rows:
        # One that has not answered yet is not full, and behind.
        caught_up = not any(process.is_full for process in self._processes) and not self.behind(ends)
        return Rows(joined(rows.parsed for rows in held), dict(self._position), held[0].ingest_time, caught_up)

    def _is_new(self, rows: Rows) -> bool:
        """Whether anything came."""
        return not rows.end.items() <= self._position.items()

    def _balance(self, ends: Mapping[Place, int]) -> Iterator[Rows]:
        """Share a backlog out anew where that makes the largest share much smaller; what was asked for before comes first."""
        behind = {place: max(0, end - self._position.get(place, 0)) for place, end in ends.items()}
        if sum(behind.values()) < _BACKLOG * self._most:
            return
        owners = share_out(behind, len(self._processes))
        if _largest(behind, owners) >= _WORTHWHILE * _largest(behind, self._owners):
            return
        for process in self._processes:
            if process.asked is not None and self._is_new(rows := process.answer()):
                self._position.update(rows.end)
                yield self._together([rows], ends)
        self._owners |= owners
        shares = self._shares(self._position, len(self._processes))
        for process, share in zip(self._processes, shares, strict=True):
            process.start(Start(self._settings, share, self._most_each))

    def _shares(self, offsets: Mapping[Place, int], processes: int) -> list[Offsets]:
        """The offsets by process; a partition stays with the one that it came to, until a backlog is shared out anew."""
        found: list[Offsets] = [{} for _ in range(processes)]
        for place, offset in sorted(offsets.items()):
            found[self._owners.setdefault(place, len(self._owners) % processes)][place] = offset
        return found


def share_out(behind: Mapping[Place, int], processes: int) -> dict[Place, int]:
    """Which process reads which partition: the largest first, each to the one that has least so far.

    Source: Graham, "Bounds on multiprocessing timing anomalies", 1969: at most a third more than the best there is.
    """
    shares = [0] * processes
    owners = {}
    for place, offsets in sorted(behind.items(), key=lambda entry: (-entry[1], entry[0])):
        owners[place] = shares.index(min(shares))
        shares[owners[place]] += offsets
    return owners


def _largest(behind: Mapping[Place, int], owners: Mapping[Place, int]) -> int:
    """What the process has to read that has most."""
    shares: Counter[int | None] = Counter()
    for place, offsets in behind.items():
        shares[owners.get(place)] += offsets
    return max(shares.values(), default=0)


class _Process:
    """One of them. It has one question at a time: what it says is the answer to that."""

    def __init__(self, start: Start) -> None:
        self.asked: Request | None = None
        self.is_full = False
        self._asking = threading.Lock()
        self._stopped = False
        self._channel, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "agentmon.stream.reader", str(theirs.fileno())]
            # A session of its own: Ctrl-C means the driver, which ends the conversation when it has all.
            self._process = subprocess.Popen(
                command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, start_new_session=True
            )
        self._send(start)

    def fileno(self) -> int:
        return self._channel.fileno()

    def start(self, start: Start) -> None:
        """Read on from there; what was fetched ahead is dropped. Only while it is not busy."""
        self._send(start)

    def ask(self, request: Request) -> None:
        """Unless it is busy, or was stopped."""
        if self.asked is None and self._send(request):
            self.asked = request

    def answer(self) -> Rows:
        """To what was asked; waits for it."""
        assert self.asked is not None
        request, self.asked = self.asked, None
        try:
            told, tables = receive(self._channel)
        except EOFError:
            raise self._gone() from None
        if isinstance(told, BaseException):
            raise told
        self.is_full = told.is_full
        rows = dict(zip(told.tables, tables, strict=True))
        return Rows(joined([rows]), told.end, request.ingest_time, not told.is_full)

    def stop(self) -> None:
        with self._asking:
            if not self._stopped:
                self._stopped = True
                with contextlib.suppress(OSError):  # it is gone already
                    self._channel.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._channel.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, what: Start | Request) -> bool:
        with self._asking:
            if self._stopped:
                return False
            try:
                send(self._channel, what)
            except (BrokenPipeError, ConnectionResetError):
                raise self._gone() from None
            return True

    def _gone(self) -> RuntimeError:
        return RuntimeError(f"the process that reads (pid {self._process.pid}) is gone")
