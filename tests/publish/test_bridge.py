"""The bridge: each line of a growing file once, whatever happens to the file, to the bridge, or in a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentmon.errors import StackError
from agentmon.publish.bridge import EVENTS, STATE, Bridge
from agentmon.publish.tail import Tail
from agentmon.settings import Settings

Published = Callable[..., list[dict[str, Any]]]


def add(path: Path, *lines: Any) -> None:
    with path.open("a") as file:
        for line in lines:
            file.write((line if isinstance(line, str) else json.dumps(line)) + "\n")


def taken(tail: Tail) -> list[str]:
    return [(line.data or b"TOO LONG").decode() for line in tail.lines()]


def test_only_whole_lines_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "f"
    tail = Tail(path)
    assert taken(tail) == []
    path.write_text("on")
    assert taken(tail) == []
    add(path, "e", "two")
    with path.open("a") as file:
        file.write("thr")
    assert taken(tail) == ["one", "two"]
    add(path, "ee")
    assert taken(Tail(path, tail.place)) == ["three"], "also by a reader that begins anew"


def test_truncated_and_rotated_files_are_read_on(tmp_path: Path) -> None:
    path = tmp_path / "f"
    add(path, "a", "b")
    tail = Tail(path)
    assert taken(tail) == ["a", "b"]
    ids = {tail.place.identity}
    path.write_text("c\n")
    assert taken(tail) == ["c"]
    ids.add(tail.place.identity)
    path.write_text("a\nlonger than what was there before\n")
    assert taken(tail) == ["a", "longer than what was there before"]
    ids.add(tail.place.identity)
    add(path, "last of the old")
    path.rename(tmp_path / "f.1")
    add(tmp_path / "f.1", "later still")
    add(path, "first of the new")
    assert taken(tail) == ["last of the old", "later still", "first of the new"]
    assert len(ids | {tail.place.identity}) == 4


def test_rotation_while_nobody_looks(tmp_path: Path) -> None:
    path = tmp_path / "f"
    add(path, "a", "b")
    tail = Tail(path)
    next(iter(tail.lines()))
    path.rename(tmp_path / "f.1")
    add(path, "c")
    assert taken(Tail(path, tail.place)) == ["b", "c"]


def test_memory_is_flat_and_a_huge_line_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with path.open("wb") as file:
        file.write(b"first\n")
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b"\nafter\n")
        for _ in range(30):
            file.write((b"y" * 99 + b"\n") * 10_000)
    tracemalloc.start()
    count = Counter(line.data is None for line in Tail(path, most_bytes=1_000_000).lines())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == {False: 300_002, True: 1}
    assert peak < 16 * 1024 * 1024


@pytest.fixture
def bridged(settings: Settings, project: Path) -> Callable[..., Bridge]:
    """A bridge of the project's folder, as `agentmon bridge --once` runs it."""

    def once(agent: str) -> Bridge:
        own = Bridge(project, settings, agent_id=agent)
        assert own.once(30)
        assert own.close()
        return own

    return once


def test_lines_become_actions_and_bad_ones_are_set_aside(
    project: Path, bridged: Callable[..., Bridge], published: Published
) -> None:
    events = project / EVENTS
    add(events, {"tool": "grep", "reward": 1.0, "ts": 1763000000.5})
    add(
        events,
        {"tool": "sed", "action": "edit", "reward": 0, "info": {"f": 1}, "reasoning": "why", "timestamp": 1763000001},
    )
    add(events, '{"tool": "nan", "reward": NaN, "info": "text"}', "no json", "[1]", "")
    one = bridged("bridged")
    assert (one.bookmark.lines, one.bookmark.bad) == (6, 2)
    aside = [json.loads(line) for line in one.aside.read_text().splitlines()]
    assert [(line["line"], line["error"]) for line in aside] == [
        ("no json", "not JSON"),
        ("[1]", "JSON, but not an object"),
    ]
    found = {m["tool"]: m for m in published("agent.actions", "bridged", 3)}
    assert (found["grep"]["action"], found["grep"]["ts"]) == ("call", 1763000000.5)
    assert (found["sed"]["action"], found["sed"]["context"], found["sed"]["reasoning"]) == ("edit", {"f": 1}, "why")
    assert (found["nan"]["reward"], found["nan"]["context"]) == ("NaN", {"info": "text"})
    add(events, {"tool": "more", "reward": 1})
    assert bridged("bridged").bookmark.lines == 7
    assert bridged("bridged").bookmark.lines == 7, "and no line twice"
    assert len(published("agent.actions", "bridged", 4)) == 4


def test_learning_follows_the_state_file(project: Path, bridged: Callable[..., Bridge], published: Published) -> None:
    state = project / STATE
    for text in ('{"total_events": 1, "avg_reward": 0.5}', '{"half', '{"total_events": 2}', '{"total_events": 2}'):
        state.write_text(text)
        bridged("state")
    assert [m["data"] for m in published("agent.learning", "state", 2)] == [
        {"total_events": 1, "avg_reward": 0.5},
        {"total_events": 2},
    ]


def test_one_bridge_a_folder(project: Path, settings: Settings) -> None:
    own = Bridge(project, settings)
    with pytest.raises(StackError, match="another bridge follows"):
        Bridge(project, settings)
    own.close()


def test_killed_with_9_at_any_moment_each_line_counts_once(
    project: Path, settings: Settings, published: Published
) -> None:
    events, lines = project / EVENTS, 30_000
    with events.open("w") as file:
        for n in range(lines):
            file.write(f'{{"tool": "t{n}", "reward": 1}}\n')
    env = {**os.environ, "AGENTMON_HOME": str(settings.home), "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap}
    command = [str(Path(sys.executable).with_name("agentmon")), "bridge", str(project), "--agent", "killed", "--once"]
    bookmark = settings.home / "bridge"
    for turn in range(3):
        bridge = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
        while bridge.poll() is None:
            notes = list(bookmark.glob("*/bookmark.json"))
            if notes and json.loads(notes[0].read_text())["lines"] >= 2_000 + 8_000 * turn:
                bridge.kill()
            time.sleep(0.005)
        bridge.wait()
    assert subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0
    found = published("agent.actions", "killed", lines)
    seen: Counter[str] = Counter()
    for message in found:
        assert message["_marked"] or not seen[message["event_id"]], "a second copy without a mark"
        seen[message["event_id"]] += 1
    assert len(seen) == lines == len({m["tool"] for m in found})
