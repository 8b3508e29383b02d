"""Results as table, JSON and CSV: one golden file a format, and data that tries to be more than data."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agentmon_cli import overview, render

STYLE = re.compile(r"\x1b\[[0-9;]*m")
GOLDEN = Path(__file__).parent / "golden"
T0 = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)

FIRST = datetime.min  # noqa: DTZ901 - what SQL says without a zone

COLUMNS = ["event_time", "agent_id", "tool", "success", "reward", "duration_ms", "error", "context", "nothing"]
ROWS: list[tuple[Any, ...]] = [
    (
        T0 + timedelta(seconds=1.5),
        "planner",
        "search",
        True,
        1.0,
        1234.5678,
        None,
        {"query": "[bold]flights[/bold]"},
        None,
    ),
    (T0, "planner", 'say "hi", twice', False, -0.25, None, "timeout\nafter 3 s", None, None),
    (T0 - timedelta(days=1), "évaluateur 日本", None, None, None, 1e7, "", {}, None),
]


def rendered(form: str, columns: list[str] = COLUMNS, rows: list[tuple[Any, ...]] = ROWS) -> str:
    out = io.StringIO()
    render.write(form, columns, rows, out)
    return out.getvalue()


@pytest.mark.parametrize(("form", "file"), [("table", "rows.txt"), ("json", "rows.json"), ("csv", "rows.csv")])
def test_rows_look_as_the_golden_file(form: str, file: str) -> None:
    assert rendered(form) == (GOLDEN / file).read_text()


def test_no_rows_are_an_empty_list_and_a_header() -> None:
    assert json.loads(rendered("json", ["a"], [])) == []
    assert rendered("csv", ["a", "b"], []) == "a,b\n"
    assert "a" in rendered("table", ["a"], [])


HOSTILE = [
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m",
    "\r\x08\x7f",
    "\u202eright to left\u2066",
    "\u200b\ufeff\u2028",
    "\ud800",
    "[red]rich[/red] [link=http://x]y[/link] :boom:",
    "x" * 1_000_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_only_shown(text: str) -> None:
    table = rendered("table", ["text", text], [(text, "b")])
    assert not any(ord(c) in range(0x7F, 0xA0) or (c < " " and c != "\n") for c in table)
    assert not any(c in table for c in "\u202e\u2066\u200b\ufeff\u2028\ud800")
    assert max(map(len, table.splitlines())) <= 160
    table.encode()
    rendered("csv", ["text"], [(text,)]).encode()
    found = rendered("json", ["text"], [(text,)])
    assert "\x1b" not in found
    assert json.loads(found.encode()) == [{"text": text}]


def test_markup_is_shown_as_it_is() -> None:
    assert "[bold]x[/bold]" in rendered("table", ["text"], [("[bold]x[/bold]",)])


def test_json_has_no_nan_and_says_what_it_can_of_every_type() -> None:
    values = [
        float("nan"),
        float("inf"),
        Decimal("1.50"),
        Decimal(10**20),
        b"\x00\xff",
        date(2026, 11, 1),
        timedelta(minutes=1),
        {1: [T0]},
    ]
    found = json.loads(rendered("json", ["v"], [(v,) for v in values]), parse_constant=pytest.fail)
    assert [row["v"] for row in found] == [
        None,
        None,
        1.5,
        1e20,
        "AP8=",
        "2026-11-01",
        60.0,
        {"1": ["2026-11-01T12:00:00Z"]},
    ]


def test_a_number_is_exact_or_a_text() -> None:
    values = [
        Decimal(2**53 + 1),
        Decimal("12345678901234567890123456789012345678"),
        Decimal("0.1"),
        Decimal("12345678901234567890.123456789"),
    ]
    found = json.loads(rendered("json", ["v"], [(v,) for v in values]))
    assert [row["v"] for row in found] == [2**53 + 1, int(values[1]), 0.1, "12345678901234567890.123456789"]
    assert rendered("csv", ["v"], [(values[3],)]) == "v\n12345678901234567890.123456789\n"


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_a_time_without_a_zone_is_utc_wherever_the_reader_is(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        found = [rendered(form, ["t"], [(T0.replace(tzinfo=None),), (FIRST,)]) for form in ("table", "json")]
    finally:
        monkeypatch.undo()
        time.tzset()
    assert "2026-11-01 12:00:00" in found[0]
    assert "2026-11-01T12:00:00Z" in found[1]


def test_a_table_has_all_columns_or_those_with_a_value() -> None:
    for all_columns in (True, False):
        out = io.StringIO()
        render.write_table(["a", "b"], [(1, None)], out, all_columns=all_columns)
        assert ("b" in out.getvalue()) == all_columns


class Terminal(io.StringIO):
    """A terminal as wide as COLUMNS says."""

    def isatty(self) -> bool:
        return True


def test_what_has_no_room_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    columns = ["session", "agent", "thought", "reward", *(f"more_{n}" for n in range(9))]
    row = ["airline-task07-trial3", "an-agent-with-a-name", "x" * 90, 0.5, *range(9)]
    out = Terminal()
    render.write_table(columns, [row], out)
    lines = STYLE.sub("", out.getvalue()).splitlines()
    assert max(map(len, lines)) <= 60
    assert re.search("airline-task07-trial3 +an-agent-with-a-na… +xxxxxxxxx", out.getvalue()) is None
    assert "airline-task07-trial3" in out.getvalue()
    assert "reward" not in out.getvalue()
    assert capsys.readouterr().err.startswith(
        "no room for thought, reward, more_0, more_1, more_2, more_3 and 5 more: "
    )


def test_a_terminal_is_shown_what_it_would_obey(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\x1b]2;title\x07\x9b31m\u202e\x7f é"
    for form in ("csv", "json"):
        out = Terminal()
        render.write(form, [text], [(text,)], out)
        assert not any(char in out.getvalue() for char in "\x1b\x07\x9b\u202e\x7f")
        assert "é" in out.getvalue()
    assert json.loads(out.getvalue()) == [{text: text}]


@pytest.mark.parametrize("value", [1e300, -1e40, 1e14, 1e-300])
def test_a_number_of_any_size_leaves_room_for_the_others(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    found = status()
    found["agents"] = [agent(n, avg_reward=value, p50_ms=abs(value), p95_ms=abs(value)) for n in range(4)]
    text = shown(found, monkeypatch)
    assert "…" not in text
    assert "gpt-4o-airline-3" in text
    assert len(render.cell(value)) < 20


def test_rows_stream() -> None:
    """A row is written before the next is asked for."""
    for form in ("json", "csv"):
        out = io.StringIO()

        def rows(out: io.StringIO = out) -> Any:
            for number in range(3):
                assert number == 0 or f"row {number - 1}" in out.getvalue()
                yield (f"row {number}",)

        render.write(form, ["text"], rows(), out)


def test_json_and_csv_need_no_rich() -> None:
    code = (
        "import sys; from agentmon_cli.render import write; write('json', ['a'], [(1,)]); write('csv', ['a'], [(1,)]);"
        "sys.exit('rich' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def agent(number: int, **fields: Any) -> dict[str, Any]:
    values = {
        "agent_id": f"gpt-4o-airline-{number}", "actions": 268, "thoughts": 368, "success_rate": 0.932,
        "avg_reward": 0.42,
        "learning_trend": ("improving", "stable", "declining")[number % 3], "sessions": 50, "last_event_time": T0,
        "error_rate": 0.07, "p50_ms": 812.3, "p95_ms": 4321.0, "memory_bytes": None, "cpu_percent": None,
    }  # fmt: skip
    return values | fields


def status(agents: int = 4, tools: int = 8) -> dict[str, Any]:
    totals = {
        "events": 2744, "actions": 1072, "thoughts": 1472, "learning": 200, "metrics": 0, "other": 0, "quarantined": 0,
        "success_rate": 999 / 1072, "avg_reward": 0.42,
    }  # fmt: skip
    used = [
        {"tool": f"tool_number_{n}", "count": 400 // (n + 1), "success_rate": 0.9, "avg_reward": None}
        for n in range(tools)
    ]
    fresh = {"last_event_time": T0, "last_commit_time": T0}
    return {
        "as_of": T0, "totals": totals, "agents": [agent(n) for n in range(agents)], "tools": used, "freshness": fresh,
        "alerts_firing": [],
    }  # fmt: skip


def shown(found: dict[str, Any], monkeypatch: pytest.MonkeyPatch, *, terminal: bool = False) -> str:
    """What 80 columns show; on a terminal of 24 lines, or all of it in a pipe."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(
        file=out, width=80, height=24, force_terminal=terminal, highlight=False, markup=False, emoji=False
    )
    monkeypatch.setattr(overview, "console", lambda: console)
    overview.show(found, T0 + timedelta(seconds=3))
    return out.getvalue()


def test_status_looks_as_the_golden_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(status(), monkeypatch) == (GOLDEN / "status.txt").read_text()


def test_status_fits_a_terminal_of_80_by_24(monkeypatch: pytest.MonkeyPatch) -> None:
    text = STYLE.sub("", shown(status(agents=100, tools=100), monkeypatch, terminal=True))
    lines = text.splitlines()
    assert len(lines) < 24
    assert max(map(len, lines)) <= 80
    assert "…" not in text
    assert "↘" in text
    assert "more agents" in text
    assert "more tools" in text


def test_status_in_a_pipe_leaves_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(status(agents=100, tools=100), monkeypatch)
    assert "gpt-4o-airline-99" in text
    assert "tool_number_99" in text


def test_status_of_an_agent_with_a_hostile_name(monkeypatch: pytest.MonkeyPatch) -> None:
    found = status(agents=0)
    found["agents"] = [agent(0, agent_id="\x1b[2J[red]x" + "y" * 500, p50_ms=None, success_rate=None)]
    text = shown(found, monkeypatch)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("…") == 1, "the name alone gives way"


def test_status_where_all_is_in_quarantine(monkeypatch: pytest.MonkeyPatch) -> None:
    found = status(0, 0)
    found["totals"] |= {"events": 3, "actions": 0, "thoughts": 0, "learning": 0, "quarantined": 3}
    assert "3 events" in shown(found, monkeypatch)


def test_status_of_an_empty_lake_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    found = status(0, 0)
    found["totals"] = dict.fromkeys(found["totals"], 0) | {"success_rate": None, "avg_reward": None}
    found["freshness"] = {"last_event_time": None, "last_commit_time": None}
    assert "agentmon load" in shown(found, monkeypatch)
