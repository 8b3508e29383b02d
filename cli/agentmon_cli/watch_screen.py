"""The screen of `agentmon watch`: four panels under a header, for any size of terminal. Draws, knows nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich import box
from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agentmon.contracts.measures import RECENT_REWARDS
from agentmon_cli.chart import spark
from agentmon_cli.overview import TRENDS, ago, duration, number, percent
from agentmon_cli.render import short, shown
from agentmon_cli.watch_board import AgentFigures, Board, PanelLine

#: From this width on there is room for names and details.
_WIDE = 110
PANELS = ("actions", "thoughts")
#: Fits into 40x10.
_HELP = {
    "q": "quit",
    "p space": "pause: what arrives waits",
    "a A": "next agent, the one before; all after the last",
    "f /": "filter by a word; Enter keeps it, Esc drops it",
    "↑ ↓ k j": "scroll; g to the newest",
    "?": "this help; any key closes it",
}


@dataclass
class View:
    """What the person at the screen asked for, and what is known of the rest of the system.

    `still` is what was there when the screen was paused; `tops` the row that a panel was scrolled to, which stays
    where it is whatever arrives.
    """

    agent: str | None = None
    words: str = ""
    typing: bool = False
    still: Board | None = None
    tops: dict[str, PanelLine] = field(default_factory=dict)
    help: bool = False
    waiting: int = 0
    kafka: str | None = "connecting to Kafka"
    job: str = ""
    lag: str = ""
    stored: datetime | None = None
    notes: list[str] = field(default_factory=list)
    debug: bool = False

    @property
    def paused(self) -> bool:
        return self.still is not None


def draw(board: Board, view: View, width: int, height: int, now: datetime) -> RenderableType:
    """The whole screen, `height` lines of `width` columns."""
    if view.help:
        return _help()
    board = view.still or board
    layout = Layout()
    footer = _footer(board, view, now, width)
    room = max(height - 1 - len(footer), 2)
    upper = (room + 1) // 2
    layout.split_column(
        Layout(_header(board, view, width), size=1),
        Layout(name="upper", size=upper),
        Layout(name="lower", size=room - upper),
        Layout(Group(*footer), size=len(footer)),
    )
    left, right = width - width // 2, width // 2
    layout["upper"].split_row(
        Layout(_panel("Recent Actions", _actions(board, view, left - 4, upper - 2)), size=left),
        Layout(_panel("Agent Thoughts", _thoughts(board, view, right - 4, upper - 2)), size=right),
    )
    layout["lower"].split_row(
        Layout(_panel("Learning Stats", _stats(board, view, left - 4, room - upper - 2)), size=left),
        Layout(_panel("Learning Progress", _progress(board, view, right - 4, room - upper - 2)), size=right),
    )
    return layout


def chosen(board: Board, view: View) -> list[tuple[str, AgentFigures]]:
    """The agents that the view is about, in order of name."""
    if view.agent is not None:
        return [(view.agent, board.agents.get(view.agent, AgentFigures()))]
    return sorted(board.agents.items())


def is_chosen(line: PanelLine, view: View) -> bool:
    """Whether the view is about this row."""
    if view.agent is not None and line.agent != view.agent:
        return False
    word = view.words.lower()
    return not word or any(word in text.lower() for text in (line.kind, line.text, line.agent))


def rows_of(board: Board, view: View, panel: str) -> tuple[list[PanelLine], int]:
    """The rows of one of PANELS, newest first, and the index of the one that it was scrolled to.

    Where that one is no longer kept, the oldest that is.
    """
    lines = board.actions if panel == "actions" else board.thoughts
    rows = [line for line in reversed(lines) if is_chosen(line, view)]
    top = view.tops.get(panel)
    if top is None or not rows:
        return rows, 0
    return rows, next((at for at, line in enumerate(rows) if line is top), len(rows) - 1)


def _help() -> Panel:
    keys = Table.grid(padding=(0, 1, 0, 0))
    for key, meaning in _HELP.items():
        keys.add_row(key, meaning)
    return _panel("Keys", [keys])


def _panel(title: str, lines: Iterable[RenderableType]) -> Panel:
    return Panel(Group(*lines), title=title, box=box.ROUNDED, padding=(0, 1), title_align="left", border_style="dim")


def _header(board: Board, view: View, width: int) -> Text:
    agents = [agent for _, agent in chosen(board, view)]
    known, successes = sum(a.known for a in agents), sum(a.successes for a in agents)
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append("agentmon  ", "bold cyan")
    head.append(f"{sum(a.events for a in agents):,} events", "bold")
    head.append("  success ").append(percent(successes / known if known else None), "bold")
    head.append("  reward ").append(number(_reward(agents), 3), "bold")
    who = shown(view.agent, 40) if view.agent is not None else f"{len(agents)} agents"
    head.append(f"  {who}", "cyan")
    if view.words or view.typing:
        head.append(f"  /{shown(view.words, 30)}{'▏' if view.typing else ''}", "yellow")
    if view.paused:
        head.append(f"  PAUSED, {view.waiting:,} waiting", "bold yellow")
    head.truncate(width, overflow="ellipsis")
    return head


def _reward(agents: Sequence[AgentFigures]) -> float | None:
    """Over learning rewards where there are any, else over actions."""
    counted = [a for a in agents if a.learns] or list(agents)
    count = sum(a.reward_count for a in counted)
    return sum(a.reward_sum for a in counted) / count if count else None


def _actions(board: Board, view: View, width: int, height: int) -> list[RenderableType]:
    rows, top = rows_of(board, view, "actions")
    if not rows:
        return [Text("No actions yet." if not view.words else "No action has that word.", "dim")]
    several = view.agent is None and len(board.agents) > 1
    lines: list[RenderableType] = []
    for line in rows[top : top + height]:
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{line.at.astimezone(UTC):%H:%M:%S} ", "dim")
        mark, style = {True: ("✓", "green"), False: ("✗", "red"), None: ("·", "dim")}[line.good]
        text.append(f"{mark} ", style)
        if several:
            text.append(f"{_short(line.agent, 24 if width >= _WIDE // 2 else 9)} ", "cyan")
        text.append(shown(line.kind, 60), "bold" if line.good is not False else "bold red")
        if line.reward is not None and width >= _WIDE // 2:
            text.append(f" {number(line.reward, 2)}", "magenta")
        if line.text:
            text.append(f"  {shown(line.text[:width], width)}", "dim")
        lines.append(text)
    return lines


def _thoughts(board: Board, view: View, width: int, height: int) -> list[RenderableType]:
    several = view.agent is None and len(board.agents) > 1
    measure = Console(width=max(width, 10), file=None, force_terminal=False)
    lines: list[RenderableType] = []
    rows, top = rows_of(board, view, "thoughts")
    for line in rows[top : top + height]:
        head = f"{line.at.astimezone(UTC):%H:%M:%S} "
        text = Text(head, "dim")
        if several:
            text.append(f"{_short(line.agent, 24 if width >= _WIDE // 2 else 12)} ", "cyan")
        text.append(shown(line.text[: 3 * width + 1], 3 * width), "default")
        wrapped = text.wrap(measure, max(width, 10))
        lines.extend(wrapped[:3])
    return lines[:height] or [Text("No thoughts yet." if not view.words else "No thought has that word.", "dim")]


def _stats(board: Board, view: View, width: int, height: int) -> list[RenderableType]:
    found = chosen(board, view)
    agents = [agent for _, agent in found]
    actions, errors = sum(a.actions for a in agents), sum(a.errors for a in agents)
    lines: list[RenderableType] = [
        Text(f"actions {actions:,}  errors {percent(errors / actions if actions else None)}", no_wrap=True)
    ]
    if len(found) == 1:
        one = agents[0]
        lines.append(Text(f"p50 {duration(one.p50_ms)}  p95 {duration(one.p95_ms)}  {_machine(one)}", no_wrap=True))
    tools: Counter[str] = Counter()
    for agent in agents:
        tools.update(agent.tools)
    most = tools.most_common(max(height - len(lines), 0))
    name_width = max(min(max((len(shown(n, 60)) for n, _ in most), default=0), width - 12), 8)
    for name, count in most:
        bar = "█" * max(1, round((width - name_width - 8) * count / most[0][1]))
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{_fit(shown(name, 60), name_width)} ")
        text.append(f"{_compact(count):>5} ", "bold").append(bar, "cyan")
        lines.append(text)
    return lines


def _progress(board: Board, view: View, width: int, height: int) -> list[RenderableType]:
    found = chosen(board, view)
    newest = sorted(found, key=lambda pair: pair[1].last or datetime.min.replace(tzinfo=UTC), reverse=True)
    sparks = RECENT_REWARDS if width >= _WIDE // 2 else RECENT_REWARDS // 2
    name_width = max(width - sparks - 12 - (20 if width >= _WIDE // 2 else 0), 8)
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=name_width)
    for _ in range(4):
        table.add_column(no_wrap=True, justify="right")
    rows = newest if len(newest) <= height else newest[: max(height - 1, 1)]
    for name, agent in sorted(rows):
        arrow, style = TRENDS[agent.trend]
        spare = (Text(_machine(agent), "dim"),) if width >= _WIDE // 2 else ()
        table.add_row(
            Text(_short(name, name_width)), Text(spark(list(agent.rewards)[-sparks:]), "green"), Text(arrow, style),
            number(agent.avg_reward, 2), *spare,
        )  # fmt: skip
    if not rows:
        return [Text("No rewards yet.", "dim")]
    more = len(newest) - len(rows)
    return [table, *([Text(f"and {more} more agents: a shows one", "dim")] if more else [])]


def _footer(board: Board, view: View, now: datetime, width: int) -> list[RenderableType]:
    state = Text(no_wrap=True, overflow="ellipsis")
    if view.kafka:
        state.append(shown(view.kafka, 300), "bold red")
    else:
        state.append("live", "green")
    for part in (view.job, view.lag, f"last event {ago(board.last_event, now)}", _stored(view, now)):
        if part:
            state.append(f" · {shown(part, 300)}", "yellow" if part == view.job and "running" not in part else "dim")
    if board.skipped:
        state.append(f" · skipped {board.skipped:,}", "yellow")
    lines: list[RenderableType] = []
    if firing := board.alerts.firing(now):
        lines.append(Text(f"ALERT {shown(' | '.join(firing), width)}", "bold red", no_wrap=True))
    lines += [Text(shown(note, width), "yellow", no_wrap=True, overflow="ellipsis") for note in view.notes[:1]]
    if view.debug:
        lines.append(Text(f"received {board.received:,}  shown {board.shown:,}  dropped {board.dropped:,}", "dim"))
    keys = "q quit  p pause  a agent  f filter  ↑↓ scroll  ? help"
    return [*lines, state, Text(keys, "dim", no_wrap=True, overflow="ellipsis")]


def _stored(view: View, now: datetime) -> str:
    return f"stored {ago(view.stored, now)}" if view.stored else ""


def _machine(agent: AgentFigures) -> str:
    parts = []
    if agent.memory_bytes is not None:
        parts.append(f"{short(agent.memory_bytes / 2**20, 0)} MiB")
    if agent.cpu_percent is not None:
        parts.append(f"{short(agent.cpu_percent, 0)}% CPU")
    return "  ".join(parts)


def _short(name: str, width: int) -> str:
    """A name that is too long keeps its end, which tells agents apart.

    >>> _short("gpt-4o-airline-2", 9)
    '…irline-2'
    """
    text = shown(name, 200)
    return text if len(text) <= width else "…" + text[-(width - 1) :]


def _fit(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else text[: width - 1] + "…"


def _compact(count: int) -> str:
    return f"{count:,}" if count < 10_000 else f"{count / 1000:.0f}k" if count < 1_000_000 else f"{count / 1e6:.1f}M"
