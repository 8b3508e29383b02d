"""session and compare: one run as a readable account, and two of them side by side."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from agentmon.lake.run import Run

Form = Annotated[str, typer.Option("--format", help="table, json or csv.")]
AsJson = Annotated[bool, typer.Option("--json", help="Short for --format json.")]
Agent = Annotated[str | None, typer.Option(help="Of this agent, where several have a session of that name.")]

#: A pause that the account mentions.
_GAP_S = 30.0
#: Of a step's text so much is shown; --full and JSON have all of it.
_TEXT = 600


def register(app: typer.Typer) -> None:
    """Add the commands about runs."""
    app.command(epilog="Examples: agentmon session airline-0-2; agentmon session airline-0-2 --json")(session)
    app.command(epilog="Examples: agentmon compare run-1 run-2; agentmon compare planner coder")(compare)


def session(
    session_id: Annotated[str, typer.Argument(metavar="ID", help="As `agentmon sessions` shows it.")],
    agent: Agent = None,
    full: Annotated[bool, typer.Option("--full", help="All of each text.")] = False,
    form: Form = "table",
    as_json: AsJson = False,
) -> None:
    """One run, step by step: thoughts, actions, results, rewards, and the gaps in time between them."""
    from agentmon.lake.run import read_run
    from agentmon_cli.read import chosen_format, lake

    form = chosen_format(form, as_json)
    run = read_run(lake(), session_id, agent)
    if form == "table":
        _tell(run, None if full else _TEXT)
        return
    from agentmon_cli.render import write

    write(form, run.rows.columns, run.rows)


def compare(
    first: Annotated[str, typer.Argument(help="A session, or an agent.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
    agent: Agent = None,
    form: Form = "table",
    as_json: AsJson = False,
) -> None:
    """Two sessions, or two agents, side by side."""
    from agentmon.lake.run import compare as compared
    from agentmon_cli.read import chosen_format, lake
    from agentmon_cli.render import write

    form = chosen_format(form, as_json)
    rows = compared(lake(), (first, second), agent)
    write(form, rows.columns, rows)


def _tell(run: Run, limit: int | None) -> None:
    """The account, through a pager where it is longer than the terminal."""
    from agentmon_cli.render import console

    out = console()
    lines = _account(run, limit)
    if out.is_terminal and sys.stdin.isatty() and len(lines) >= out.size.height:
        os.environ.setdefault("LESS", "-FRX")
        with out.pager(styles=not out.no_color):
            for line in lines:
                out.print(line)
    else:
        for line in lines:
            out.print(line)


def _account(run: Run, limit: int | None) -> list[Any]:
    from rich.padding import Padding
    from rich.text import Text

    from agentmon_cli.overview import duration
    from agentmon_cli.render import cell, shown

    session = run.session
    state = "in progress" if session["in_progress"] else session["outcome"] or "ended"
    head = Text(f"session {shown(session['session_id'])}", "bold")
    head.append(f"  {shown(session['agent_id'])}", "cyan").append(f"  {state}", "bold")
    took = duration(session["duration_s"] * 1000)
    counts = f"{session['actions']:,} actions, {session['thoughts']:,} thoughts, {session['errors']:,} errors"
    about = f"{cell(session['first_event_time'])} UTC, {took}, {counts}, reward {cell(session['reward'])}"
    lines: list[Any] = [head, Text(about, "dim")]
    for step in run.steps:
        if step["gap_s"] >= _GAP_S:
            lines.append(Text(f"          ··· {duration(step['gap_s'] * 1000)} of silence", "yellow"))
        lines.append(_headline(step))
        for name in ("thought", "reasoning", "context", "result", "error", "data"):
            text = step.get(name)
            if text and text != "{}":
                lines.append(Padding(_field(name, shown(text, limit or len(text) + 1)), (0, 0, 0, 10), expand=False))
    if not run.steps:
        lines.append(Text("Its rows are gone; what is above was kept.", "yellow"))
    return lines


def _headline(step: dict[str, Any]) -> Any:
    from rich.text import Text

    from agentmon_cli.overview import duration
    from agentmon_cli.render import shown

    text = Text(f"{step['at_s']:>8.1f}s ", "dim")
    if step["kind"] == "thought":
        return text.append("thought", "bold blue")
    if step["kind"] == "learning":
        reward = "" if step["reward"] is None else f" {step['reward']:g}"
        return text.append(f"reward{reward}", "bold magenta")
    good = False if step["error"] else step["success"]
    mark, style = {True: ("✓", "green"), False: ("✗", "red"), None: ("·", "dim")}[good]
    name = " ".join(shown(part, 80) for part in (step["tool"], step["action"]) if part)
    text.append(f"{mark} ", style).append(name or "?", "bold")
    if step["reward"] is not None:
        text.append(f"  reward {step['reward']:g}", "magenta")
    if step["duration_ms"] is not None:
        text.append(f"  {duration(step['duration_ms'])}", "dim")
    return text


def _field(name: str, text: str) -> Any:
    from rich.text import Text

    return Text(text) if name == "thought" else Text(f"{name}: ", "dim").append(text, "red" if name == "error" else "")
