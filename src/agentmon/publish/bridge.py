"""The bridge: the learning files of a DSPy agent into Kafka, each line once, wherever it was stopped.

Before lines are published the bookmark says how far that will go, and afterwards that it is done: what lies between
after a crash may have been sent, is sent again with the same event_id, and marked. The file is the buffer: while
Kafka is away, no more is read than the publisher keeps.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from agentmon.contracts import topics
from agentmon.errors import StackError, UsageError
from agentmon.publish.publisher import AgentStreamingPublisher
from agentmon.publish.tail import Line, Place, Tail
from agentmon.settings import Settings

log = logging.getLogger("agentmon.publish")

EVENTS = ".dspy_rl_events.jsonl"
STATE = ".dspy_rl_state.json"
#: Lines between two notes of the bookmark.
_BATCH = 2_000
#: What is on its way, or waits for Kafka, at the most.
_WAITING_BYTES = 8 * 1024 * 1024
_LOOK_S = 0.25
#: Bad lines are kept up to so much; beyond that they are only counted.
_ASIDE_BYTES = 16 * 1024 * 1024
_TOLD = 5


@dataclass
class Bookmark:
    """What the bridge remembers: how far it has read (place) and published at the most (handed), and its counts."""

    place: Place = field(default_factory=Place)
    handed: int = 0
    state: str = ""
    state_handed: str = ""
    lines: int = 0
    bad: int = 0

    @classmethod
    def read(cls, path: Path) -> Bookmark:
        """From its file; a new one where there is none. Raises StackError where it is damaged."""
        try:
            told = json.loads(path.read_text())
            return cls(**{**told, "place": Place(**told["place"])})
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StackError(f"{path} can't be read ({error}): delete it to begin at the start of the file") from error

    def write(self, path: Path) -> None:
        """At once: whoever is killed on the way leaves the old one or the new one."""
        work = path.with_suffix(".new")
        work.write_text(json.dumps(asdict(self)))
        work.replace(path)


class Bridge:
    """Tails one folder's files. `run` until told to stop, or `once` to the end."""

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        *,
        agent_id: str | None = None,
        session_id: str | None = None,
        say: Callable[[str], None] = log.warning,
    ) -> None:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder: give the one that has {EVENTS}")
        self._folder = folder
        self._settings = settings
        self._say = say
        self._notes = settings.home / "bridge" / hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        self._notes.mkdir(parents=True, exist_ok=True)
        self.aside = self._notes / "bad-lines.jsonl"
        self._lock = self._take_lock()
        self._path = self._notes / "bookmark.json"
        self.bookmark = Bookmark.read(self._path)
        self._tail = Tail(folder / EVENTS, self.bookmark.place, settings.max_message_bytes)
        self._state_seen = (0, 0)
        self._unended = (Place(), 0)  # where a last line without a newline begins, and how long it was
        self._is_tried = False
        self.publisher = AgentStreamingPublisher(
            folder,
            agent_id=agent_id,
            session_id=session_id or settings.session_id or "",
            settings=settings,
            reports=False,  # the bridge's own memory and CPU are not the agent's
        )
        self._report_at = time.monotonic() + settings.metrics_interval_s
        self._told_bad = 0

    def run(self, stopped: Callable[[], bool]) -> None:
        """Follow the files until `stopped()`."""
        while not stopped():
            if not self.step():
                time.sleep(_LOOK_S)

    def once(self, timeout_s: float) -> bool:
        """Publish what is there now; whether Kafka has all of it."""
        end = time.monotonic() + timeout_s
        while self.step() or self._is_full():
            if self._is_full():
                if time.monotonic() > end:
                    return False
                self.publisher.flush(1.0)
            else:
                end = time.monotonic() + timeout_s
        self._end()
        return self.publisher.flush(timeout_s)

    def step(self) -> bool:
        """Take up what is new; whether there was something, and there may be more."""
        self._report()
        if self._is_full():
            return False
        self._follow_state()
        lines = list(islice(self._tail.lines(), _BATCH))
        if not lines:
            return self._look_at_last()
        self._publish(lines)
        return True

    def _look_at_last(self) -> bool:
        """Take a last line without a newline once it has been quiet from one look to the next, if it is an action.

        An object that is whole can't go on, so that a line that is one is never the first half of another.
        """
        unended = (self._tail.place, self._tail.behind())
        if unended != self._unended:
            self._unended, self._is_tried = unended, False
            return False
        if self._is_tried or not unended[1]:
            return False
        self._is_tried = True
        last = self._tail.last()
        return last is not None and self._take(last)

    def _take(self, last: Line) -> bool:
        if isinstance(_message(last.data), str):
            return False
        self._tail.take(last)
        self._publish([last])
        return True

    def _end(self) -> None:
        """At the end of the files: a last line without a newline counts too, or is named."""
        last = self._tail.last()
        if last is not None and not self._take(last):
            self._say(
                f"{EVENTS}, byte {last.start}: the last line, which has no newline, is left for later: {_message(last.data)}"
            )

    def close(self) -> bool:
        """Note the place and leave; whether Kafka has everything (what it has not is sent by the next bridge)."""
        self._tail.close()
        done = self.publisher.close()
        os.close(self._lock)
        return done

    def _publish(self, lines: list[Line]) -> None:
        mark = self.bookmark
        for identity, group in groupby(lines, key=lambda line: line.place.identity):
            run = list(group)
            if identity != mark.place.identity:  # another file: nothing of it has been on its way
                mark.place, mark.handed = replace(run[0].place, offset=run[0].start), 0
            suspect = mark.handed
            mark.handed = max(suspect, run[-1].place.offset)
            mark.write(self._path)
            for line in run:
                self._publish_line(line, maybe_repeat=line.start < suspect)
            mark.place = run[-1].place
            mark.lines += len(run)
            mark.write(self._path)

    def _publish_line(self, line: Line, *, maybe_repeat: bool) -> None:
        message = _message(line.data)
        if isinstance(message, str):
            if line.data is None or line.data.strip():
                self._set_aside(line, message)
            return
        message["event_id"] = f"{line.place.identity}-{line.start:x}"
        self.publisher.publish_line(message, maybe_repeat=maybe_repeat)

    def _set_aside(self, line: Line, reason: str) -> None:
        self.bookmark.bad += 1
        self._told_bad += 1
        if self._told_bad <= _TOLD:
            self._say(f"{EVENTS}, byte {line.start}: {reason}, set aside in {self.aside}")
        if self.aside.exists() and self.aside.stat().st_size > _ASIDE_BYTES:
            return
        told = {"file": line.place.identity, "byte": line.start, "error": reason}
        text = (line.data or b"")[:65_536].decode("utf-8", "backslashreplace")
        with self.aside.open("a") as aside:
            aside.write(json.dumps({**told, "line": text}) + "\n")

    def _follow_state(self) -> None:
        path = self._folder / STATE
        try:
            status = path.stat()
            if (status.st_mtime_ns, status.st_size) == self._state_seen:
                return
            data = path.read_bytes() if status.st_size <= self._settings.max_message_bytes else b""
        except OSError:
            return
        name = hashlib.sha256(data).hexdigest()[:16]
        try:
            state = json.loads(data)
        except (ValueError, RecursionError):
            return  # half written: the next look sees all of it
        self._state_seen = (status.st_mtime_ns, status.st_size)
        if not isinstance(state, dict) or name == self.bookmark.state:
            return
        maybe_repeat = name == self.bookmark.state_handed
        self.bookmark.state_handed = name
        self.bookmark.write(self._path)
        message = {"type": "learning_progress", "data": state, "event_id": f"state-{name}-{status.st_mtime_ns:x}"}
        self.publisher._publish(topics.LEARNING, message, None, None, maybe_repeat=maybe_repeat)
        self.bookmark.state = name
        self.bookmark.write(self._path)

    def _report(self) -> None:
        now = time.monotonic()
        if now < self._report_at:
            return
        self._report_at = now + self._settings.metrics_interval_s
        mark = self.bookmark
        told = {"bridge_lines": mark.lines, "bridge_bad_lines": mark.bad, "bridge_behind_bytes": self._tail.behind()}
        self.publisher.publish_metrics(told)

    def _is_full(self) -> bool:
        return self.publisher.stats().spilled_bytes > min(_WAITING_BYTES, self._settings.spill_bytes // 2)

    def _take_lock(self) -> int:
        fd = os.open(self._notes / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise StackError(f"another bridge follows {self._folder} already: one is enough") from None
        return fd


def _message(data: bytes | None) -> dict[str, Any] | str:
    """A line as an action, or why it is none."""
    if data is None:
        return "longer than AGENTMON_MAX_MESSAGE_BYTES"
    try:
        line = json.loads(data)
    except RecursionError:
        return "nested too deep"
    except ValueError:
        return "not JSON"
    if not isinstance(line, dict):
        return "JSON, but not an object"
    info = line.pop("info", None)
    context = info if isinstance(info, dict) else {} if info is None else {"info": info}
    return {"type": "agent_action", "action": "call", "context": context, **line}
