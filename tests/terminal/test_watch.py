"""agentmon watch in a real terminal (tmux) and on a real broker, and where there is no terminal."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest
from bench.lake import make
from kafka import KafkaProducer
from tests.terminal.tmux import AGENTMON, Terminal

from agentmon.live.client import Connection, client_config
from agentmon.live.load import Pace, load
from agentmon.live.topics import ensure, wanted_topics
from agentmon.settings import Settings, project_root
from agentmon.stack.addresses import LOOPBACK, free_port
from agentmon.stack.broker import Broker

RECORDING = project_root() / "data" / "tau-airline-events.jsonl.gz"
_names = count()

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None and "CI" not in os.environ, reason="there is no tmux")


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, Broker, int]]:
    """A broker of this file's own, which a test may kill, with the usual topics."""
    settings, port = Settings(home=tmp_path_factory.mktemp("watch")), free_port()
    broker = Broker(settings)
    broker.start(f"localhost:{port}", LOOPBACK, port)
    with Connection(settings) as connection:
        ensure(connection, wanted_topics())
    yield settings, broker, port
    broker.stop()


@pytest.fixture
def env(own_broker: tuple[Settings, Broker, int], tmp_path: Path) -> dict[str, str]:
    """A home without a lake, on that broker."""
    return {"AGENTMON_HOME": str(tmp_path), "KAFKA_BOOTSTRAP_SERVERS": own_broker[0].bootstrap}


@pytest.fixture
def terminal(env: dict[str, str]) -> Iterator[Terminal]:
    opened = Terminal(f"{os.getpid()}-{next(_names)}", env)
    yield opened
    opened.close()


def send(settings: Settings, topic: str, *values: Any) -> None:
    producer = KafkaProducer(**client_config(settings), max_request_size=2**22)
    for value in values:
        producer.send(topic, value if isinstance(value, bytes) else json.dumps(value).encode())
    producer.flush()
    producer.close()


def thought(text: str, agent: str = "a") -> dict[str, Any]:
    return {"type": "agent_thought", "timestamp": time.time(), "agent_id": agent, "thought": text}


def action(tool: str, agent: str = "a", **fields: Any) -> dict[str, Any]:
    return {"type": "agent_action", "timestamp": time.time(), "agent_id": agent, "tool": tool, **fields}


def test_the_four_panels_fill_from_the_recording(own_broker: tuple[Settings, Broker, int], terminal: Terminal) -> None:
    terminal.run("watch")
    terminal.until("live")
    load(own_broker[0], RECORDING, Pace())
    screen = terminal.until("2,744 events")
    assert "success 93.2%" in screen
    assert "reward 0.420" in screen
    for title in ("Recent Actions", "Agent Thoughts", "Learning Stats", "Learning Progress"):
        assert title in screen
    assert "get_reservation_details" in screen
    assert re.search(r"airline-3 +[▁▂▃▄▅▆▇█]{10} [↗↘→] +0.42", screen)
    lines = screen.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_keys_filter_pause_scroll_and_quit(own_broker: tuple[Settings, Broker, int], terminal: Terminal) -> None:
    settings = own_broker[0]
    terminal.run("watch")
    terminal.until("live")
    send(settings, "agent.thoughts", thought("an apple"), thought("a pear", "b"))
    terminal.until("a pear")
    terminal.keys("a")
    terminal.until(lambda screen: "an apple" in screen and "a pear" not in screen)
    terminal.keys("A", "/", "pear", "Enter")
    terminal.until(lambda screen: "a pear" in screen and "an apple" not in screen)
    terminal.keys("Escape")
    terminal.until("an apple")
    terminal.keys("p")
    terminal.until("PAUSED")
    send(settings, "agent.thoughts", thought("a plum"))
    assert "a plum" not in terminal.until("1 waiting")
    terminal.keys("p")
    terminal.until("a plum")
    terminal.keys("?")
    terminal.until("pause: what arrives")
    terminal.keys("x", "q")
    terminal.until("$")
    terminal.keys("echo back at the sh", "ell", "Enter")
    assert "Recent Actions" not in terminal.until("\nback at the shell")


def test_it_follows_the_size_of_the_terminal(own_broker: tuple[Settings, Broker, int], terminal: Terminal) -> None:
    terminal.run("watch")
    terminal.until("live")
    send(own_broker[0], "agent.actions", action("search", reasoning="why " * 40))
    terminal.until("search")
    for width, height in ((140, 50), (60, 16), (80, 24)):
        terminal.resize(width, height)
        screen = terminal.until(partial(_fills, width))
        assert screen.count("╭") == 4


#: More than what one partition may have waiting (agentmon.live.rows.FALLEN_BEHIND).
BURST = 23_000
HOSTILE = [
    "\x1b[2J\x1b[H\x1b]0;title\x07 cleared",
    "[bold red]markup[/bold red] [link=http://x]y[/link]",
    "\u202eright to left\u2066 \u200b\ufeff",
    "\ud800 lone",
    "x" * 400_000,
    "\x9b31m\r\x08\x7f\x00",
]


def test_hostile_data_neither_breaks_the_screen_nor_reaches_the_terminal(
    own_broker: tuple[Settings, Broker, int], terminal: Terminal
) -> None:
    terminal.run("watch")
    terminal.until("live")
    rows = [action(text, agent=text[:40], error=text) for text in HOSTILE]
    send(own_broker[0], "agent.actions", *rows, b"\xff\xfe", b"", b"[1]", b'{"tool": NaN}')
    send(own_broker[0], "agent.thoughts", *(thought(text, text[:40]) for text in HOSTILE))
    terminal.until("16 events")
    send(own_broker[0], "agent.thoughts", thought("the last"))
    send(own_broker[0], "agent.monitor.frontend", b"{", {"type": "learning_update"}, {"type": "learning_update",
         "data": {"agent_id": "a", "recent_rewards": ["\x1b[2J"]}}, {"type": "alert_update", "data": {"why": HOSTILE[0]}})  # fmt: skip
    screen = terminal.until(lambda s: "the last" in s and "ALERT" in s)
    lines = screen.splitlines()
    assert lines[0].startswith("agentmon")
    assert screen.count("╭") == 4
    assert max(map(len, lines)) <= 80
    assert "\x9b" not in screen
    assert "[bold red]" in screen.replace("\n", "")
    assert "\u202e" not in screen


def test_a_broker_that_is_killed_and_back_is_waited_for(
    own_broker: tuple[Settings, Broker, int], terminal: Terminal
) -> None:
    settings, broker, port = own_broker
    send(settings, "agent.thoughts", thought("long ago"))
    terminal.run("watch")
    terminal.until("live")
    process = broker.process()
    assert process is not None
    process.kill()
    process.wait(10)
    terminal.until("can't be used")
    broker.start(f"localhost:{port}", LOOPBACK, port)
    terminal.until(lambda s: "can't be used" not in s and "live" in s)
    send(settings, "agent.thoughts", thought("back again"))
    screen = terminal.until("back again")
    assert " 1 events" in screen, "what was there before it began is not live"


def test_it_begins_with_what_the_lake_has_and_says_that_the_job_is_down(env: dict[str, str]) -> None:
    make(Path(env["AGENTMON_HOME"]) / "lake", 3_000)
    run = Path(env["AGENTMON_HOME"]) / "run"
    run.mkdir()
    (run / "job.json").write_text(json.dumps({"driver_pid": os.getpid(), "started_at": 0, "state": "stopped"}))
    terminal = Terminal(f"{os.getpid()}-{next(_names)}", {**env, "NO_COLOR": "1"})
    try:
        terminal.run("watch")
        screen = terminal.until("The job is down")
        assert re.search(r"^agentmon +[23],\d\d\d events  success \d\d\.\d%", screen)
        assert "tool-" in screen
        assert not re.search(r"\x1b\[[0-9;]*3[1-7]", terminal.screen(styled=True))
    finally:
        terminal.close()


def test_without_a_terminal_it_prints_lines_and_ends_quietly(
    own_broker: tuple[Settings, Broker, int], env: dict[str, str], tmp_path: Path
) -> None:
    out, err = (tmp_path / "out").open("w+"), (tmp_path / "err").open("w+")
    process = subprocess.Popen([AGENTMON, "watch", "--debug"], env={**os.environ, **env}, stdout=out, stderr=err)
    try:
        _until(lambda: "live from" in (tmp_path / "err").read_text())
        send(own_broker[0], "agent.actions", action("search\x1b[2J", error="no\nroute"))
        _until(lambda: (tmp_path / "out").read_text().endswith("\n"))
    finally:
        psutil.Process(process.pid).send_signal(2)
        assert process.wait(60) == 130
    assert re.fullmatch(r"\d{4}-\S+Z a ✗ search\\x1b\[2J no route\n", (tmp_path / "out").read_text())
    assert "Traceback" not in (tmp_path / "err").read_text()
    assert "debug: 1 rows" in (tmp_path / "err").read_text()


def test_without_a_terminal_every_line_is_printed_or_said_to_be_skipped(
    own_broker: tuple[Settings, Broker, int], env: dict[str, str], tmp_path: Path
) -> None:
    """A burst of more than the reader lets wait: it comes while the process stands still."""
    out, err = (tmp_path / "out").open("w+"), (tmp_path / "err").open("w+")
    process = subprocess.Popen([AGENTMON, "watch"], env={**os.environ, **env}, stdout=out, stderr=err)
    try:
        _until(lambda: "live from" in (tmp_path / "err").read_text())
        process.send_signal(signal.SIGSTOP)
        producer = KafkaProducer(**client_config(own_broker[0]))
        for number in range(BURST):
            producer.send("agent.thoughts", json.dumps(thought(f"no {number}.")).encode(), partition=0)
        producer.flush()
        producer.close()
        process.send_signal(signal.SIGCONT)
        _until(lambda: f"no {BURST - 1}." in (tmp_path / "out").read_text())
    finally:
        process.kill()
        process.wait(60)
    skipped = re.findall(r"agentmon: skipped ([\d,]+) messages", (tmp_path / "err").read_text())
    printed = re.findall(r"no (\d+)\.", (tmp_path / "out").read_text())
    assert skipped
    assert len(printed) + sum(int(told.replace(",", "")) for told in skipped) == BURST
    assert printed == sorted(set(printed), key=int)


def test_once_shows_one_screen(own_broker: tuple[Settings, Broker, int], env: dict[str, str]) -> None:
    ran = subprocess.run(
        [AGENTMON, "watch", "--once"], env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("agentmon")
    assert "\x1b" not in ran.stdout


def test_once_with_neither_lake_nor_kafka_exits_with_4(tmp_path: Path) -> None:
    nowhere = {"AGENTMON_HOME": str(tmp_path), "KAFKA_BOOTSTRAP_SERVERS": f"localhost:{free_port()}"}
    ran = subprocess.run(
        [AGENTMON, "watch", "--once"], env={**os.environ, **nowhere}, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (4, "")
    assert len(ran.stderr.splitlines()) == 1


def _fills(width: int, screen: str) -> bool:
    lines = screen.splitlines()
    return lines[0].startswith("agentmon") and max(map(len, lines)) == width and "q quit" in lines[-1]


def _until(happened: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)
