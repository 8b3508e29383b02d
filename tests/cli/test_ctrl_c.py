"""Ctrl-C stops a query at once, whatever DuckDB is at, and quietly; the shell goes on."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bench.lake import make

from agentmon.lake.connection import connect, remove_spilled
from agentmon.lake.stopping import stoppable
from agentmon_cli import app
from agentmon_cli.main import main

#: One task of a join, for half a minute or so.
SLOW = "SELECT count(*) AS n FROM range(200000) a, range(100000) b WHERE (a.range * b.range) % 7 = 3"
#: One call of a function, which DuckDB can't leave.
STUCK = "SELECT levenshtein(repeat('a', 500000 + range::INT), repeat('b', 500000)) FROM range(1)"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    make(home / "lake", 0, days=1, commits=0)
    return home


@contextmanager
def pressed() -> Iterator[None]:
    """Ctrl-C, once a query runs in this block."""
    over = threading.Event()

    def press() -> None:
        while not over.is_set():
            if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
                os.kill(os.getpid(), signal.SIGINT)
                return

    finger = threading.Thread(target=press)
    finger.start()
    try:
        yield
    finally:
        over.set()
        finger.join()


def test_a_query_stops_and_all_is_as_before() -> None:
    with connect(delta=False) as con:
        with pressed(), pytest.raises(KeyboardInterrupt), stoppable(con):
            con.execute(SLOW)
        assert con.execute("SELECT 1").fetchall() == [(1,)]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1


def test_what_was_spilled_is_removed() -> None:
    with connect(delta=False) as con:
        (folder,) = con.execute("SELECT current_setting('temp_directory')").fetchone() or ()
        Path(folder).mkdir()
        Path(folder, "duckdb_temp_storage-0.tmp").write_text("rows")
        remove_spilled()
        assert not Path(folder).exists()


def test_what_others_do_at_ctrl_c_stays() -> None:
    told: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: told.append(number))
    try:
        with connect(delta=False) as con, stoppable(con):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert told == [signal.SIGINT]


def test_the_shell_goes_on(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("AGENTMON_HOME", str(home))
    monkeypatch.setattr(sys, "argv", ["agentmon", "sql", "--format", "csv"])
    monkeypatch.setattr(sys, "stdin", Terminal(f"{SLOW};\nSELECT 41 + 1 AS n;\n"))
    with pressed():
        assert main() == 0
    out, err = capsys.readouterr()
    assert "stopped" in err.splitlines()
    assert "n\n42\n" in out


@pytest.mark.parametrize(("query", "times"), [(SLOW, 1), (STUCK, 2)])
def test_a_command_ends_quietly_at_the_second_at_the_latest(home: Path, query: str, times: int) -> None:
    code = (
        "import os, signal, threading, time\ndef press():\n"
        "    while signal.getsignal(signal.SIGINT) is signal.default_int_handler: pass\n"
        f"    for _ in range({times}): os.kill(os.getpid(), signal.SIGINT); time.sleep(0.2)\n"
        "threading.Thread(target=press, daemon=True).start()\nfrom agentmon_cli.main import run; run()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, "sql", query], env={**os.environ, "AGENTMON_HOME": str(home)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


@pytest.mark.parametrize("error", [RuntimeError("Query interrupted"), ImportError("initialization failed")])
def test_what_others_make_of_ctrl_c_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    """As DuckDB, and what is just being loaded, raise it."""

    def interrupt() -> int:
        raise error from KeyboardInterrupt()

    monkeypatch.setattr(app, "invoke", interrupt)
    monkeypatch.setattr(sys, "argv", ["agentmon", "actions"])
    assert main() == 130
    assert capsys.readouterr() == ("", "")
