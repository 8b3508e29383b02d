"""agentmon sql: plans are drawn, bytes that are no text are named, nothing ends the shell."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from bench.lake import make

from agentmon_cli.main import main
from agentmon_cli.told import tell

RUN = [sys.executable, "-c", "from agentmon_cli.main import run; run()"]


class Ran(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


class Terminal(io.TextIOWrapper):
    """Where somebody types these bytes."""

    def __init__(self, typed: bytes) -> None:
        super().__init__(io.BytesIO(typed), encoding="utf-8")

    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    make(home / "lake", 10, days=1, commits=1)
    return home


@pytest.fixture
def sql(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs agentmon sql, with something typed at a terminal where it is given."""

    def run(*arguments: str, typed: bytes = b"") -> Ran:
        monkeypatch.setenv("AGENTMON_HOME", str(home))
        monkeypatch.setattr(sys, "argv", ["agentmon", "sql", *arguments])
        monkeypatch.setattr(sys, "stdin", Terminal(typed))
        code = main()
        return Ran(code, *capsys.readouterr())

    return run


@pytest.mark.parametrize("how", ["EXPLAIN", "EXPLAIN ANALYZE", "EXPLAIN (FORMAT json)"])
def test_a_plan_is_drawn_whole(sql: Callable[..., Ran], how: str) -> None:
    plan = sql(f"{how} SELECT tool FROM actions WHERE agent_id = 'a'").stdout
    assert "agent_id='a'" in plan
    assert "…" not in plan
    assert len(plan.splitlines()) > 5


def test_a_plan_is_rows_in_json(sql: Callable[..., Ran]) -> None:
    assert '"explain_key": "physical_plan"' in sql("EXPLAIN SELECT 1", "--json").stdout


@pytest.mark.parametrize(
    "query", ["SELECT 'x\x1b]0;title\x07'::INT", "EXPLAIN SELECT * FROM actions WHERE tool = '\x1b[2J'"]
)
def test_no_text_reaches_the_terminal_as_it_is(sql: Callable[..., Ran], query: str) -> None:
    said = "".join(sql(query)[1:])
    assert "\\x1b" in said
    assert "\x1b" not in said


def test_an_error_of_several_lines_keeps_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(ValueError(f"one\ntwo \x9b31m {'x' * 500}"))
    assert capsys.readouterr().err == f"agentmon: one\ntwo \\x9b31m {'x' * 500}\n"
    monkeypatch.setenv("AGENT_LOG_LEVEL", "DEBUG")
    tell(ValueError("\x1b[2J"))
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [([b"SELECT \xff"], b"", "not UTF-8"), ([], b"SELECT \xff", "not UTF-8"), ([], None, "there is no query")],
)
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_what_is_no_text_is_named(
    home: Path, arguments: list[bytes], stdin: bytes | None, says: str, errors: str
) -> None:
    """Stdin is closed where it is None."""
    ran = subprocess.run(
        ["bash", "-c", '"$@" <&-' if stdin is None else '"$@"', "bash", *RUN, "sql", *arguments],
        env={**os.environ, "AGENTMON_HOME": str(home), "PYTHONIOENCODING": f"utf-8:{errors}"},
        input=stdin, capture_output=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (2, b"")
    [line] = ran.stderr.decode().splitlines()
    assert says in line


def test_a_table_has_so_many_rows_as_anybody_reads(sql: Callable[..., Ran]) -> None:
    """It is laid out when all of its rows are known; JSON and CSV have all of them as they come."""
    ran = sql("SELECT unnest(range(3000)) AS n")
    assert ran.stderr == "the first 1,000 rows; agentmon sql QUERY --format csv, or json, gives all\n"
    assert "999" in ran.stdout
    assert "1000" not in ran.stdout
    assert len(sql("SELECT unnest(range(3000)) AS n", "--format", "csv").stdout.splitlines()) == 3_001


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_a_terminal_that_lacks_a_letter_is_shown_its_code(home: Path, encoding: str, form: str) -> None:
    ran = subprocess.run(
        [*RUN, "sql", "SELECT '→ 日本 😀' AS said, NULL AS nothing", "--format", form],
        env={**os.environ, "AGENTMON_HOME": str(home), "PYTHONIOENCODING": encoding},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if form == "csv":  # a file has the text as it is, or fails
        assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
        assert "has no letter for '\\u2192': set PYTHONIOENCODING=utf-8" in ran.stderr
    else:
        assert (ran.returncode, ran.stderr) == (0, "")
        assert "\\u65e5" in ran.stdout
    if form == "json":
        assert json.loads(ran.stdout) == [{"said": "→ 日本 😀", "nothing": None}]


@pytest.mark.parametrize("query", ["SELECT INTERVAL 5000000 YEARS", "SELECT 'x'::INT", "SELECT nope", "COPY"])
def test_the_shell_goes_on_after_any_query(sql: Callable[..., Ran], query: str) -> None:
    ran = sql("--format", "csv", typed=f"{query};\nSELECT 41 + 1 AS n;\n".encode())
    assert ran.returncode == 0
    assert ran.stderr.count("agentmon: ") == 1
    assert "n\n42\n" in ran.stdout


def test_the_shell_goes_on_after_what_is_no_text(sql: Callable[..., Ran]) -> None:
    ran = sql(typed=b"SELECT \xff;\n")
    assert ran.returncode == 0
    assert "not UTF-8" in ran.stderr
