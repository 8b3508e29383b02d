"""`agentmon status` for a person: one screen of 80x24."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from agentmon_cli.render import console, short, shown

TRENDS = {"improving": ("↗", "bold green"), "declining": ("↘", "bold red"), "stable": ("→", "dim")}
_BAR = 20
#: Tools that are shown at the least, where there are more agents than lines.
_TOOLS = 5
#: What is left of a name, whatever else there is.
_NAME = 8
#: Lines that hold neither an agent nor a tool, the prompt's included.
_FRAME = 12


def show(status: dict[str, Any], now: datetime | None = None) -> None:
    """Print what `read_status` found: as much as a terminal has lines for, all of it into a pipe."""
    now = now or datetime.now(UTC)
    out = console()
    totals, agents, tools = status["totals"], status["agents"], status["tools"]
    out.print(_headline(totals, status, now))
    if not totals["events"]:
        out.print("\nNo events yet: publish some, or send a recording with `agentmon load FILE`.")
        return
    room = max(out.height - _FRAME, 2 * _TOOLS) if out.is_terminal else len(agents) + len(tools)
    some_agents = agents[: max(room - len(tools), room - _TOOLS)]
    out.print("", _agents(some_agents, now, out.width), sep="\n")
    _say_more(out, len(agents) - len(some_agents), "agents")
    if tools:
        some_tools = tools[: room - len(some_agents)]
        out.print("", _tools(some_tools, out.width), sep="\n")
        _say_more(out, len(tools) - len(some_tools), "tools")


def _say_more(out: Any, more: int, what: str) -> None:
    if more:
        out.print(f"and {more} more {what} (--json has all)", style="dim")


def _headline(totals: dict[str, Any], status: dict[str, Any], now: datetime) -> Any:
    from rich.text import Text

    names = {
        "actions": "actions",
        "thoughts": "thoughts",
        "learning": "learning",
        "metrics": "metrics",
        "other": "other",
    }
    parts = [f"{totals[key]:,} {name}" for key, name in names.items() if totals[key]]
    text = Text()
    text.append(f"{totals['events']:,} events", "bold")
    text.append(f"  = {' + '.join(parts)}\n" if parts else "\n", "dim")
    text.append("success ").append(percent(totals["success_rate"]), "bold")
    text.append("   avg reward ").append(number(totals["avg_reward"], 3), "bold")
    text.append("   quarantined ").append(f"{totals['quarantined']:,}", "bold red" if totals["quarantined"] else "bold")
    fresh = status["freshness"]
    text.append(
        f"\nlast event {ago(fresh['last_event_time'], now)}, stored {ago(fresh['last_commit_time'], now)}", "dim"
    )
    return text


def _agents(agents: list[dict[str, Any]], now: datetime, width: int) -> Any:
    from rich.text import Text

    table = _table("agent")
    for name in ("actions", "thoughts", "success", "reward"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("trend", justify="center", no_wrap=True)
    for name in ("runs", "p50", "p95", "seen"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = [
        (
            shown(agent["agent_id"], 60),
            f"{agent['actions']:,}", f"{agent['thoughts']:,}",
            percent(agent["success_rate"]), number(agent["avg_reward"], 2),
            Text(*TRENDS[agent["learning_trend"]]),
            f"{agent['sessions']:,}", duration(agent["p50_ms"]), duration(agent["p95_ms"]),
            ago(agent["last_event_time"], now).removesuffix(" ago"),
        )
        for agent in agents
    ]  # fmt: skip
    return _filled(table, rows, width)


def _tools(tools: list[dict[str, Any]], width: int) -> Any:
    table = _table("tool")
    table.add_column("used", justify="right", no_wrap=True)
    table.add_column("", style="cyan", no_wrap=True)
    for name in ("success", "reward"):
        table.add_column(name, justify="right", no_wrap=True)
    most = tools[0]["count"]
    rows = [
        (
            shown(tool["tool"], 60), f"{tool['count']:,}", "█" * max(1, round(_BAR * tool["count"] / most)),
            percent(tool["success_rate"]), number(tool["avg_reward"], 2),
        )
        for tool in tools
    ]  # fmt: skip
    return _filled(table, rows, width)


def _table(first: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0, header_style="bold")
    table.add_column(first, no_wrap=True, overflow="ellipsis")
    return table


def _filled(table: Any, rows: Iterable[tuple[Any, ...]], width: int) -> Any:
    """The table with rows of one line each, as one row of cells of many lines: a cell takes rich long, a line doesn't.

    Where all is wider than `width` the first column gives way, names that is.
    """
    from rich.cells import cell_len
    from rich.text import Text

    columns = [*zip(*rows, strict=True)]
    if not columns:
        return table
    name, *others = (
        max(cell_len(str(text)) for text in (column.header, *cells))
        for column, cells in zip(table.columns, columns, strict=True)
    )
    table.columns[0].width = max(min(name, width - sum(others) - len(others)), _NAME)
    table.add_row(
        *(Text("\n".join(cells)) if isinstance(cells[0], str) else Text("\n").join(cells) for cells in columns)
    )
    return table


def percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f}%"  # noqa: RUF001


def number(value: float | None, digits: int) -> str:
    return "–" if value is None else short(value, digits)  # noqa: RUF001


def duration(ms: float | None) -> str:
    if ms is None:
        return "–"  # noqa: RUF001
    if ms < 100_000:
        return f"{ms:.0f}ms" if ms < 1000 else f"{ms / 1000:.1f}s"
    days = ms / 86_400_000
    return f"{ms / 60_000:.0f}min" if days < 10 else f"{days:.0f}d" if days < 10_000 else ">27y"


def ago(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "never"
    seconds = (now - moment).total_seconds()
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"
