"""The reading commands: exit codes, one line for an error, imports that wait."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pytest
from bench.lake import make

from agentmon.contracts.tables import TABLES
from agentmon_cli.main import main

COMMANDS = ["status", "actions", "thoughts", "learning", "metrics", "sessions", "tools", "history"]


class Ran(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def agentmon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs a command on a home that has nothing."""
    monkeypatch.setenv("AGENTMON_HOME", str(tmp_path))

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["agentmon", *arguments])
        code = main()
        return Ran(code, *capsys.readouterr())

    return run


@pytest.mark.parametrize("arguments", [*([c] for c in COMMANDS), ["sql", "SELECT 1"], ["status", "--json"]])
def test_without_a_lake_it_says_what_to_do_and_exits_with_4(agentmon: Callable[..., Ran], arguments: list[str]) -> None:
    ran = agentmon(*arguments)
    assert (ran.returncode, ran.stdout) == (4, "")
    [line] = ran.stderr.splitlines()
    assert "agentmon up" in line


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["status", "--format", "xml"], "--format"),
        (["actions", "--since", "yesterday"], "--since"),
        (["actions", "--since", "1h", "--until", "2h"], "--until"),
        (["actions", "--since", "9999-12-31"], "--since 9999-12-31 can't be used: no event"),
        (["history", "--until", "1960-01-01"], "agentmon: --until 1960-01-01 can't"),
        (["history", "--last", "1h", "--until", "2h"], "--last 1h and --until 2h can't"),
        (["actions", "--limit", "-1"], "--limit"),
        (["serve", "--port", "99999"], "--port"),
        (["selftest", "--timeout", "0"], "--timeout"),
        (["selftest", "--timeout", "nan"], "--timeout"),
        (["history", "--bucket", "0m"], "--bucket"),
        (["history", "--last", "1h", "--since", "2h"], "--last"),
        (["tables", "nothing"], "nothing"),
    ],
)
def test_wrong_usage_names_what_is_wrong_and_exits_with_2(
    agentmon: Callable[..., Ran], arguments: list[str], names: str
) -> None:
    ran = agentmon(*arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert names in ran.stderr
    assert "Traceback" not in ran.stderr


def test_tables_need_no_lake(agentmon: Callable[..., Ran]) -> None:
    found = json.loads(agentmon("tables", "--json").stdout)
    assert {row["table"] for row in found} == set(TABLES)
    assert all(row["comment"] for row in found)
    assert TABLES["ledger"].example in agentmon("tables", "ledger").stdout


@pytest.mark.parametrize("command", [*COMMANDS, "sql", "tables"])
def test_help_exits_with_0(agentmon: Callable[..., Ran], command: str) -> None:
    ran = agentmon(command, "--help")
    assert ran.returncode == 0
    assert "--format" in ran.stdout


def test_help_loads_nothing_heavy() -> None:
    heavy = ["duckdb", "pyarrow", "pyspark", "kafka", "rich.table"]
    code = f"import sys; from agentmon_cli.app import build; build(); sys.exit(str(set({heavy}) & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stderr.strip() == "set()"


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["status", "--json"], ["pandas", "pyarrow", "typer", "pydantic", "rich", "deltalake", "duckdb"]),
        (["actions", "--limit", "0"], ["pandas", "pyarrow"]),
    ],
)
def test_reading_loads_no_more_than_it_needs(tmp_path: Path, arguments: list[str], heavy: list[str]) -> None:
    make(tmp_path / "lake", 100, days=1)
    code = (
        "import os, sys\nfrom agentmon_cli.main import run\nos._exit = sys.exit\ntry:\n    run()\nexcept SystemExit as end:\n    code = end.code\n"
        f"found = [name for name in {heavy} if sys.modules.get(name)]\nsys.exit(str(found) if found else code)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, "AGENTMON_HOME": str(tmp_path)},
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "agent-00" in ran.stdout


@pytest.mark.parametrize("limit", [2**62, 2**63 - 1, 2**70])
def test_no_limit_is_too_high(agentmon: Callable[..., Ran], tmp_path: Path, limit: int) -> None:
    make(tmp_path / "lake", 60, days=1, commits=2, today=date(2026, 11, 20))
    for command in ("actions", "sessions", "tools"):
        ran = agentmon(command, "--limit", str(limit), "--json")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert json.loads(ran.stdout)


def test_where_the_gateway_can_not_listen_one_line_says_so(agentmon: Callable[..., Ran]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = [agentmon("serve", "--port", port), agentmon("serve", "--port", port, "--host", "no host")]
    for ran in told:
        assert (ran.returncode, ran.stdout) == (1, "")
        assert re.fullmatch(r"agentmon: can't listen at .* \([^()]*\): try another --port or --host\n", ran.stderr)


@pytest.mark.parametrize("command", ["up", "down"])
def test_a_home_that_can_not_be_written_is_one_line(agentmon: Callable[..., Ran], tmp_path: Path, command: str) -> None:
    (tmp_path / "run" / "up.lock").mkdir(parents=True)  # root may write where a mode forbids it
    ran = agentmon(command)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert re.fullmatch(r"agentmon: .*/run can't be written \(.*\): set AGENTMON_HOME to .*\n", ran.stderr)
