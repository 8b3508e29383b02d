"""doctor: what is wrong, why it matters, and the command that mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from agentmon_cli.read import AsJson, Form, chosen_format

if TYPE_CHECKING:
    from agentmon_cli.checks import Finding


def register(app: typer.Typer) -> None:
    """Add doctor."""
    app.command(epilog="Examples: agentmon doctor; agentmon doctor --json")(doctor)


def doctor(form: Form = "table", as_json: AsJson = False) -> None:
    """What is wrong and what to do about it; exit 3 when something is broken."""
    form = chosen_format(form, as_json)
    from agentmon.errors import Exit
    from agentmon.settings import Settings
    from agentmon_cli.checks import BROKEN, CHECKS, made
    from agentmon_cli.render import write

    settings = Settings.from_env()
    found = [finding for check in CHECKS for finding in made(check, settings)]
    if form == "table":
        _show(found)
    else:
        rows = ((one.level, one.what, one.why, one.mend) for one in found)
        write(form, ["level", "what", "why", "mend"], rows)
    if any(one.level == BROKEN for one in found):
        raise typer.Exit(int(Exit.CHECK_FAILED))


def _show(found: list[Finding]) -> None:
    from rich.text import Text

    from agentmon_cli.checks import BROKEN, OK, WARNING
    from agentmon_cli.render import console, shown

    marks = {OK: ("✓", "green"), WARNING: ("!", "yellow"), BROKEN: ("✗", "bold red")}
    out = console()
    for one in found:
        mark, style = marks[one.level]
        out.print(Text(f"{mark} ", style).append(shown(one.what, 400), "" if one.level == OK else "default"))
        if one.level != OK:
            out.print(Text(f"    why: {one.why}\n   mend: ").append(one.mend, "bold"))
    broken = sum(one.level == BROKEN for one in found)
    warnings = sum(one.level == WARNING for one in found)
    out.print(Text(f"{broken} broken, {warnings} to look at", "bold" if broken else "dim"))
