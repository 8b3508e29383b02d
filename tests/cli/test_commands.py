"""Every command on a lake, on an empty one and on none; and the manners that all of them share."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest
from bench.lake import make
from typer.main import get_command

from agentmon import settings as agentmon_settings
from agentmon.contracts.measures import HISTOGRAM_ACCURACY
from agentmon.lake.connection import connect
from agentmon_cli.app import build
from agentmon_cli.main import main

AGENTMON = Path(sys.executable).with_name("agentmon")
DAY = date(2026, 11, 20)
SESSION = "2026-11-20-7-0"
GOLDEN = Path(__file__).parents[1] / "unit" / "golden"
ERROR = HISTOGRAM_ACCURACY * 1.001  # and what floats add to it


class Ran(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two days of actions."""
    home = tmp_path_factory.mktemp("home")
    make(home / "lake", 2_400, days=2, commits=12, today=DAY)  # a closed day, and an open one in many files
    return home


@pytest.fixture(scope="module")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose tables have no rows."""
    home = tmp_path_factory.mktemp("empty")
    make(home / "lake", 0, days=1, commits=0, today=DAY)
    return home


@pytest.fixture
def agentmon(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs a command here: agentmon(home, "status")."""

    def run(home: Path, *arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setenv("AGENTMON_HOME", str(home))
        monkeypatch.setattr(sys, "argv", ["agentmon", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = main()
        return Ran(code, *capsys.readouterr())

    return run


READING = [
    ["status"], ["actions"], ["thoughts"], ["learning"], ["metrics"], ["sessions"], ["tools"], ["history"],
    ["sql", "SELECT count(*) AS n FROM actions"], ["session", SESSION], ["compare", "agent-01", "agent-02"],
]  # fmt: skip
TYPED: Any = get_command(build())
COMMANDS = [*dict.fromkeys(command[0] for command in READING), "tables", "watch", "doctor", "config", "audit", "lag",
            "topics", "up", "down", "load"]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_it_does(agentmon: Callable[..., Ran], tmp_path: Path, command: str) -> None:
    ran = agentmon(tmp_path, command, "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"agentmon {command}" in ran.stdout


def test_the_version(agentmon: Callable[..., Ran], tmp_path: Path) -> None:
    assert agentmon(tmp_path, "--version") == (0, f"agentmon {version('agentmon-stream')}\n", "")


@pytest.mark.parametrize("name", [name for name, command in TYPED.commands.items() if not command.hidden])
def test_help_has_examples_that_can_be_typed(name: str) -> None:
    """Each is parsed, with its options, as the command line would; a shell's pipes and remarks are left out."""
    _, is_there, examples = (TYPED.commands[name].epilog or "").partition("Examples: ")
    assert is_there
    for example in examples.split("; "):
        words = shlex.split(example.split("|")[-1 if "| agentmon" in example else 0].split("<")[0].split(" (")[0])
        assert words[0] == "agentmon"
        words = words[3:] if words[1] == "--set" else words[1:]
        assert words[0] == name
        TYPED.commands[name].make_context(name, words[1:])


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_wrong_usage(agentmon: Callable[..., Ran], tmp_path: Path, command: str) -> None:
    ran = agentmon(tmp_path, command, "--nonsense")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "--nonsense" in ran.stderr


@pytest.mark.parametrize(
    "arguments",
    [["tools", "--limit", "8"], ["sessions", "--limit", "5"], ["history", "--bucket", "1d"],
     ["compare", "agent-01", "agent-02"], ["actions", "--limit", "5"]],
)  # fmt: skip
def test_tables_look_as_the_golden_file(agentmon: Callable[..., Ran], home: Path, arguments: list[str]) -> None:
    assert agentmon(home, *arguments).stdout == (GOLDEN / f"{arguments[0]}.txt").read_text()


@pytest.mark.parametrize("arguments", READING)
def test_each_format_is_data_on_stdout(agentmon: Callable[..., Ran], home: Path, arguments: list[str]) -> None:
    found = agentmon(home, *arguments, "--json")
    assert found.returncode == 0
    rows = json.loads(found.stdout)
    assert rows or arguments[0] in ("thoughts", "learning", "metrics")
    lines = list(csv.reader(io.StringIO(agentmon(home, *arguments, "--format", "csv").stdout)))
    assert len({len(line) for line in lines}) == 1
    if arguments[0] != "status":
        assert len(lines) == len(rows) + 1
    assert agentmon(home, *arguments).returncode == 0


@pytest.mark.parametrize("arguments", READING[:9])
def test_an_empty_lake_is_no_error(agentmon: Callable[..., Ran], empty_home: Path, arguments: list[str]) -> None:
    for form in ("table", "json", "csv"):
        assert agentmon(empty_home, *arguments, "--format", form).returncode == 0


@pytest.mark.parametrize("arguments", READING)
def test_no_lake_is_exit_code_4(agentmon: Callable[..., Ran], tmp_path: Path, arguments: list[str]) -> None:
    ran = agentmon(tmp_path, *arguments)
    assert (ran.returncode, ran.stdout) == (4, "")
    assert "agentmon up" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["statsu"], "status"),
        (["session", "2026-11-20-7-00"], SESSION),
        (["tables", "action"], "actions"),
        (["--set", "AGENTMON_WINDO=3", "status"], "AGENTMON_WINDOW"),
        (["status", "--fromat", "json"], "--format"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(
    agentmon: Callable[..., Ran], home: Path, arguments: list[str], nearest: str
) -> None:
    ran = agentmon(home, *arguments)
    assert ran.returncode in (1, 2)
    assert nearest in ran.stderr


def test_a_session_is_told_step_by_step(agentmon: Callable[..., Ran], home: Path) -> None:
    text = agentmon(home, "session", SESSION).stdout
    assert text.startswith(f"session {SESSION}  agent-07")
    assert text.count("result: ok") + text.count("error: timeout") == 20
    steps = json.loads(agentmon(home, "session", SESSION, "--json").stdout)
    assert [step["step"] for step in steps] == list(range(1, len(steps) + 1))
    assert steps[0]["at_s"] == 0
    assert all(step["gap_s"] >= 0 for step in steps)


def test_two_sessions_side_by_side(agentmon: Callable[..., Ran], home: Path) -> None:
    rows = json.loads(agentmon(home, "compare", SESSION, "2026-11-20-8-0", "--json").stdout)
    found = {row["measure"]: row for row in rows}
    assert found["agent_id"] == {"measure": "agent_id", SESSION: "agent-07", "2026-11-20-8-0": "agent-08"}
    assert found["actions"][SESSION] == 20


def test_sql_from_a_file_and_from_stdin(agentmon: Callable[..., Ran], home: Path, tmp_path: Path) -> None:
    query = "SELECT count(*) AS n FROM actions"
    (tmp_path / "q.sql").write_text(query)
    for arguments, stdin in ((["--file", str(tmp_path / "q.sql")], ""), ([], query), (["-"], query)):
        assert json.loads(agentmon(home, "sql", *arguments, "--json", stdin=stdin).stdout) == [{"n": 2400}]


@pytest.mark.parametrize("arguments", [["sql"], ["sql", "--file", "nowhere.sql"], ["sql", "SELECT 1", "-f", "x"]])
def test_sql_without_a_query_is_wrong_usage(agentmon: Callable[..., Ran], home: Path, arguments: list[str]) -> None:
    assert agentmon(home, *arguments).returncode == 2


def test_a_limited_listing_says_so_on_stderr(agentmon: Callable[..., Ran], home: Path) -> None:
    ran = agentmon(home, "actions", "--limit", "3", "--json")
    assert len(json.loads(ran.stdout)) == 3
    assert "--limit" in ran.stderr


def test_a_setting_comes_from_flag_then_environment_then_file(
    agentmon: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "agentmon.toml"
    file.write_text('agentmon_window = 5\nkafka_debug = true\nkafka_sasl_password = "sesame"\nagentmon_watermark = 7')
    monkeypatch.setattr(agentmon_settings, "config_file", lambda: file)
    monkeypatch.setenv("AGENTMON_WATERMARK", "8")
    for name in ("AGENTMON_WINDOW", "KAFKA_GROUP_ID"):
        monkeypatch.setenv(name, "")
    ran = agentmon(tmp_path, "--set", "AGENTMON_WINDOW=9", "--set", "KAFKA_GROUP_ID=mine", "config", "--json")
    found = {row["setting"]: (row["value"], row["from"]) for row in json.loads(ran.stdout)}
    assert found["AGENTMON_WINDOW"] == (9.0, "flag")
    assert found["AGENTMON_WATERMARK"] == (8.0, "environment")
    assert found["KAFKA_DEBUG"] == (True, "agentmon.toml")
    assert found["KAFKA_SASL_PASSWORD"] == ("***", "agentmon.toml")
    assert found["AGENTMON_MAX_AHEAD"] == (300.0, "default")
    file.write_text("agentmon_windo = 5")
    ran = agentmon(tmp_path, "status")
    assert ran.returncode == 2
    assert "AGENTMON_WINDOW" in ran.stderr


def test_doctor_names_what_is_broken_and_the_command_that_mends_it(
    agentmon: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "localhost:1")
    monkeypatch.setenv("AGENTMON_WINDWO", "3")
    ran = agentmon(tmp_path, "doctor", "--json")
    assert ran.returncode == 3
    found = json.loads(ran.stdout)
    broken = {row["what"].split()[0]: row["mend"] for row in found if row["level"] == "broken"}
    assert broken == {"Kafka": "agentmon up", "the": "agentmon up", "there": "agentmon up"}
    [unknown] = [row for row in found if "AGENTMON_WINDWO" in row["what"]]
    assert "AGENTMON_WINDOW" in unknown["mend"]
    assert "why:" in agentmon(tmp_path, "doctor").stdout


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "zeroed": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:-20]),
    "emptied": lambda file: file.write_bytes(b""),
    "deleted": lambda file: file.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("command", "table"), [("status", "summaries"), ("actions", "actions"), ("audit", "ledger")])
def test_a_damaged_file_is_named_and_doctor_says_the_rest_too(
    agentmon: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, table: str, damage: str
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "localhost:1")
    make(tmp_path / "lake", 200, days=1, commits=3, today=DAY)
    file = max((tmp_path / "lake" / table).rglob("*.parquet"))
    DAMAGES[damage](file)
    ran = agentmon(tmp_path, command)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
    assert f"a file of the table {table} is damaged or gone" in ran.stderr
    assert file.name in ran.stderr
    ran = agentmon(tmp_path, "doctor", "--json")
    assert ran.returncode == 3
    found = {row["what"].split()[0]: row for row in json.loads(ran.stdout)}
    assert (found[str(file)]["level"], found[str(file)]["mend"]) == ("broken", "put it back from a backup")
    assert {"Java:", "settings:", "disk:", "Kafka"} <= set(found)


@pytest.mark.parametrize(
    "said",
    ["Cannot open file '/lake/mine/x.parquet': No such file", "Cannot open file '/lake/actions/x.parquet': Too many open files",
     "Connection error for '/lake/actions/x.parquet'"],
)  # fmt: skip
def test_what_is_no_damage_of_the_lake_is_not_called_so(said: str) -> None:
    with pytest.raises(duckdb.IOException, match="parquet"), connect(delta=False):
        raise duckdb.IOException(said)


def test_of_a_bad_entry_in_a_log_one_line_is_said(agentmon: Callable[..., Ran], tmp_path: Path) -> None:
    make(tmp_path / "lake", 20, days=1, commits=1, today=DAY)
    max((tmp_path / "lake" / "actions" / "_delta_log").glob("*.json")).write_text('{"add": nonsense\n')
    ran = agentmon(tmp_path, "actions")
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert "Json error" in ran.stderr
    assert "backtrace" not in ran.stderr


def test_a_broken_pipe_is_quiet(home: Path) -> None:
    command = f"{AGENTMON} actions --limit 0 --format csv | head -1"
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], env={**os.environ, "AGENTMON_HOME": str(home)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("event_time,")


def test_status_equals_the_same_figures_from_raw_rows(agentmon: Callable[..., Ran], home: Path) -> None:
    status = json.loads(agentmon(home, "status", "--json").stdout)
    raw = json.loads(agentmon(home, "sql", (
        "SELECT agent_id, count(*) AS actions, count(*) FILTER (success) / count(success) AS success_rate,"
        " avg(reward) AS avg_reward, count(DISTINCT session_id) AS sessions,"
        " count(error) / count(*) AS error_rate, list_sort(list(duration_ms)) AS durations"
        " FROM actions GROUP BY agent_id ORDER BY agent_id"
    ), "--json").stdout)  # fmt: skip
    assert len(status["agents"]) == len(raw) == 50
    for shown, wanted in zip(status["agents"], raw, strict=True):
        durations = wanted["durations"]
        p50, p95 = (durations[math.ceil(q * len(durations)) - 1] for q in (0.5, 0.95))
        assert {name: shown[name] for name in ("agent_id", "actions", "sessions")} == {
            name: wanted[name] for name in ("agent_id", "actions", "sessions")
        }
        for name in ("success_rate", "avg_reward", "error_rate"):
            assert shown[name] == pytest.approx(wanted[name], rel=1e-9)
        assert (shown["p50_ms"], shown["p95_ms"]) == (pytest.approx(p50, rel=ERROR), pytest.approx(p95, rel=ERROR))
