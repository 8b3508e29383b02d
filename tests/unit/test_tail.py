"""A last line that has no newline: taken once, whatever its writer does next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agentmon.publish.bridge import EVENTS, Bridge
from agentmon.publish.tail import Tail
from agentmon.settings import Settings

THREE = b'{"tool":"t1"}\n{"tool":"t2"}\n{"tool":"t3"}'


def add(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def lines(tail: Tail) -> list[bytes | None]:
    return [line.data for line in tail.lines()]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"  \n", b"\n\n"])
@pytest.mark.parametrize("first", [b"", b"one\n"])
@pytest.mark.parametrize("anew", [False, True])
def test_a_last_line_is_the_same_line_when_its_end_comes(tmp_path: Path, first: bytes, end: bytes, anew: bool) -> None:
    """Also the only line of a file, whose beginning is its name, and for a reader that begins anew."""
    path = tmp_path / "f"
    path.write_bytes(first + b"last")
    tail = Tail(path)
    assert lines(tail) == first.splitlines()
    last = tail.last()
    assert last is not None
    assert (last.start, last.data, tail.place.offset) == (len(first), b"last", len(first))
    tail.take(last)
    assert (lines(tail), tail.last(), tail.behind()) == ([], None, 0)
    if anew:
        tail = Tail(path, tail.place)
    add(path, end + b"next\n")
    assert [line for line in lines(tail) if line] == [b"next"]
    assert tail.place.identity == last.place.identity, "the same file"
    assert tail.behind() == 0


def test_what_is_added_to_a_taken_line_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one\nlast")
    tail = Tail(path)
    assert lines(tail) == [b"one"]
    last = tail.last()
    assert last is not None
    tail.take(last)
    add(path, b" and more\n")
    assert lines(tail) == [b" and more"]


@pytest.mark.parametrize("data", [b"", b"one\n", b"one\n  ", b"\n"])
def test_there_is_no_last_line_without_text(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "f"
    path.write_bytes(data)
    tail = Tail(path)
    lines(tail)
    assert tail.last() is None


def test_a_last_line_that_is_too_long_has_no_data(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one\n" + b"x" * 101)
    tail = Tail(path, most_bytes=100)
    assert lines(tail) == [b"one"]
    last = tail.last()
    assert last is not None
    assert (last.start, last.data) == (4, None)


def test_the_last_line_of_a_replaced_file_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one\nlast of the old")
    tail = Tail(path)
    assert lines(tail) == [b"one"]
    path.rename(tmp_path / "f.1")
    path.write_bytes(b"first of the new\n")
    assert lines(tail) == [b"last of the old", b"first of the new"]


@dataclass
class Bridged:
    """A bridge without Kafka, as AGENTMON_HOME keeps what it publishes: its lines, and what it said."""

    bridge: Bridge
    told: list[str] = field(default_factory=list)

    @property
    def counts(self) -> tuple[int, int]:
        return self.bridge.bookmark.lines, self.bridge.bookmark.bad

    @property
    def accepted(self) -> int:
        return self.bridge.publisher.stats().accepted


@pytest.fixture
def bridged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AGENTMON_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "localhost:1")
    monkeypatch.setenv("AGENTMON_EXIT_WAIT", "0.05")
    opened: list[Bridge] = []

    def begin() -> Bridged:
        while opened:
            opened.pop().close()
        told: list[str] = []
        opened.append(Bridge(tmp_path, Settings.from_env(), agent_id="tailed", say=told.append))
        return Bridged(opened[0], told)

    yield begin
    while opened:
        opened.pop().close()


@pytest.mark.parametrize(
    ("data", "count"), [(THREE, 3), (THREE.splitlines()[0], 1), (THREE + b"\n", 3), (THREE + b"\r", 3)]
)
def test_once_takes_a_last_line_without_a_newline(
    tmp_path: Path, bridged: Callable[[], Bridged], data: bytes, count: int
) -> None:
    events = tmp_path / EVENTS
    events.write_bytes(data)
    for _ in range(3):
        one = bridged()
        one.bridge.once(0.0)
        assert (one.counts, one.told) == ((count, 0), [])
    add(events, b"\n" + THREE)
    for _ in range(2):
        one = bridged()
        one.bridge.once(0.0)
        assert one.counts[0] - count in (3, 4), "a blank line between counts as one, as everywhere"


@pytest.mark.parametrize(
    ("cut", "reason"),
    [(b'{"tool":"t3"', "not JSON"), (b'{"tool":"\xc3', "not JSON"), (b"[1]", "not an object"), (b"word", "not JSON")],
)
def test_once_names_a_last_line_that_is_no_action_yet(
    tmp_path: Path, bridged: Callable[[], Bridged], cut: bytes, reason: str
) -> None:
    events = tmp_path / EVENTS
    events.write_bytes(b'{"tool":"t1"}\n' + cut)
    one = bridged()
    one.bridge.once(0.0)
    assert one.counts == (1, 0)
    (told,) = one.told
    assert "byte 14" in told
    assert reason in told
    add(events, b'"}\n')
    again = bridged()
    again.bridge.once(0.0)
    assert again.counts[0] == 2, "it is read whole once it is"


def test_tailing_takes_it_once_it_is_quiet(tmp_path: Path, bridged: Callable[[], Bridged]) -> None:
    """Two looks without a change; half a line is left, however long it is quiet."""
    events = tmp_path / EVENTS
    events.write_bytes(b'{"tool":"t1"}\n{"tool":')
    one = bridged()
    assert [one.bridge.step() for _ in range(4)] == [True, False, False, False]
    assert one.counts == (1, 0)
    add(events, b'"t2"}')
    assert [one.bridge.step() for _ in range(4)] == [False, True, False, False]
    assert one.counts == (2, 0)
    add(events, b'\n{"tool":"t3"}\n')
    assert [one.bridge.step() for _ in range(3)] == [True, False, False]
    assert (one.counts, one.accepted, one.told) == ((3, 0), 3, [])
