"""agentmon watch: what agents do and think, as it happens."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from agentmon.live.rows import Received
    from agentmon.settings import Settings
    from agentmon_cli.watch_board import Board, PanelLine
    from agentmon_cli.watch_screen import View

#: At most so many pictures a second.
_FRAME_S = 0.05
#: The clock in the footer moves at least so often.
_IDLE_S = 1.0
_HEALTH_S = 2.0
#: What --once waits for Kafka to say what is new since the lake's last commit.
_ONCE_S = 3.0
#: And where there is no lake, so that nothing else can be shown.
_ONCE_WITHOUT_LAKE_S = 15.0
#: Batches from Kafka that wait for the screen; the reader waits while there are more.
_INBOX = 10


def register(app: typer.Typer) -> None:
    """Add the live view."""
    app.command(
        epilog="Examples: agentmon watch; agentmon watch --agent planner; agentmon watch --once; agentmon watch | grep ✗"
    )(watch)


def watch(
    agent: Annotated[str | None, typer.Option(help="Of this agent only.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Show one screen and end.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Say what is received and what is left out.")] = False,
) -> None:
    """What agents do and think, live: four panels on a terminal, plain lines elsewhere. q quits, ? lists the keys."""
    from agentmon.settings import Settings

    watching = Watching(Settings.from_env(), agent, debug)
    if once:
        watching.once()
    elif sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        watching.screen()
    else:
        watching.lines()


class Watching:
    """One run of the command."""

    def __init__(self, settings: Settings, agent: str | None, debug: bool) -> None:
        from agentmon.live.client import client_config
        from agentmon_cli.watch_board import Board, kept
        from agentmon_cli.watch_screen import View

        client_config(settings)  # what can never reach Kafka is said at once
        self._settings = settings
        self._asked = agent
        self._view: View = View(agent=agent and kept(agent), debug=debug)
        self._board: Board = Board(self._view.agent)
        self._inbox: deque[Received] = deque()
        self._ending = threading.Event()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._health_at = 0.0
        self._has_lake = self._begin()

    def screen(self) -> None:
        """Four panels until q."""
        from rich.live import Live

        from agentmon_cli.keys import single_keys, wait
        from agentmon_cli.render import console
        from agentmon_cli.watch_keys import press
        from agentmon_cli.watch_screen import draw

        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        out = console()
        try:
            with self._reading(), single_keys() as keys, Live(console=out, screen=True, auto_refresh=False) as live:
                size, drawn = None, 0.0
                while True:
                    told = wait(self._wake_read, _FRAME_S if self._inbox else 0.25, keys=keys)
                    if not all(press(key, self._view, self._board) for key in told):
                        return
                    changed = bool(told) | self._take_in()
                    now = time.monotonic()
                    self._look_around(now)
                    there = os.get_terminal_size(sys.stdout.fileno())  # not COLUMNS, which stays as it was
                    changed |= there != size or now - drawn >= _IDLE_S
                    if changed:
                        rest = drawn + _FRAME_S - now
                        if rest > 0:
                            time.sleep(rest)
                            self._take_in()
                        out.size = size = there
                        drawn = time.monotonic()
                        live.update(draw(self._board, self._view, *there, datetime.now(UTC)), refresh=True)
        except EOFError:
            return

    def once(self) -> None:
        """One screen of what there is now."""
        from agentmon_cli.render import console
        from agentmon_cli.watch_screen import draw

        end = time.monotonic() + (_ONCE_S if self._has_lake else _ONCE_WITHOUT_LAKE_S)
        with self._reading():
            while time.monotonic() < end and self._view.kafka == "connecting to Kafka":
                self._take_in()
                time.sleep(0.05)
            if not self._view.kafka:
                time.sleep(0.3)
            self._take_in()
        if self._view.kafka and not self._has_lake:
            from agentmon.errors import NoLakeError

            raise NoLakeError(f"nothing to show: no lake yet, and {self._view.kafka}")
        self._look_around(time.monotonic())
        out = console()
        width, height = (out.size.width, max(out.size.height - 1, 10)) if out.is_terminal else (100, 30)
        out.print(draw(self._board, self._view, width, height, datetime.now(UTC)), height=height, width=width)

    def lines(self) -> None:
        """A line per action and thought, as they come; what is said about them goes to stderr."""
        from agentmon_cli.keys import wait
        from agentmon_cli.render import note, shown
        from agentmon_cli.watch_screen import is_chosen

        printed: Any = object()
        for one in sorted([*self._board.actions, *self._board.thoughts], key=lambda line: line.at)[-20:]:
            self._print(one)
        with self._reading():
            while True:
                wait(self._wake_read, 0.5, keys=False)
                while self._inbox:
                    got = self._inbox.popleft()
                    for line in self._apply(got):
                        if is_chosen(line, self._view):
                            self._print(line)
                    if got.skipped:
                        note(f"agentmon: skipped {got.skipped:,} messages, to go on with the newest")
                    if self._view.debug and (got.rows or got.figures):
                        note(f"debug: {len(got.rows)} rows and {len(got.figures)} figures, {got.dropped} left out")
                if self._view.kafka != printed:
                    printed = self._view.kafka
                    said = shown(printed or f"live from {self._settings.bootstrap}", 300)
                    note(f"agentmon: {said}")

    def _print(self, line: PanelLine) -> None:
        from agentmon_cli.render import shown

        mark = {True: "✓", False: "✗", None: "·"}[line.good]
        at = f"{line.at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
        typer.echo(f"{at} {shown(line.agent, 60)} {mark} {shown(line.kind, 60)} {shown(line.text, 400)}".rstrip())

    def _begin(self) -> bool:
        """Fill the board from the lake; whether there is one."""
        from agentmon.errors import NoLakeError
        from agentmon.lake.opening import read_opening

        try:
            opening = read_opening(self._settings.lake, self._asked)
        except NoLakeError:
            self._positions: dict[tuple[str, int], int] = {}
            self._view.notes = ["no lake yet: what is shown begins now"]
            return False
        self._positions = opening.positions
        self._board.begin(opening.agents, opening.tools, opening.rows, opening.positions, opening.status["as_of"])
        self._view.stored = opening.status["freshness"]["last_commit_time"]
        return True

    @contextmanager
    def _reading(self) -> Iterator[None]:
        from agentmon.live.rows import LiveReader

        reader = LiveReader(self._settings, self._deliver, self._positions)
        reader.start()
        try:
            yield
        finally:
            self._ending.set()
            reader.stop()

    def _deliver(self, got: Received) -> None:
        while len(self._inbox) >= _INBOX and not self._ending.wait(_FRAME_S):
            pass  # nobody takes anything out: what else comes is kept by Kafka, not here
        self._inbox.append(got)
        with suppress(BlockingIOError):  # the screen has enough to wake up for
            os.write(self._wake_write, b".")

    def _take_in(self) -> bool:
        """Take what has come. Whether there is anything new to show: behind a paused screen figures only go on."""
        found = bool(self._inbox) and not self._view.paused
        while self._inbox:
            self._apply(self._inbox.popleft())
        return found

    def _apply(self, got: Received) -> list[PanelLine]:
        """Bring the board forward; the rows that panels have of it, in the order in which they came."""
        self._view.kafka = got.away and f"{got.away}; waiting for it"
        self._board.dropped += got.dropped
        self._board.received += got.dropped
        self._board.skipped += got.skipped
        if self._view.paused:
            self._view.waiting += len(got.rows)
        lines = [line for row in got.rows if (line := self._board.add_row(row))]
        now = datetime.now(UTC)
        for figure in got.figures:
            self._board.add_figure(figure.type, figure.data, now)
        return lines

    def _look_around(self, now: float) -> None:
        if now - self._health_at < _HEALTH_S:
            return
        self._health_at = now
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        from agentmon.stack.home import read_note
        from agentmon.stack.job import JobProcess

        job = JobProcess(self._settings)
        told = job.told()
        lake = read_note(self._settings.run / "progress.json").get("queries", {}).get("monitor", {})
        if job.driver() is not None:
            state = str(told.get("state") or "starting")
            self._view.job = "job running" if state == "running" else f"job {state}: {told.get('error') or ''}"
            self._view.lag = f"lag {lake['lag_messages']:,}" if isinstance(lake.get("lag_messages"), int) else ""
            self._view.notes = []
        elif told:
            self._view.job, self._view.lag = "job down", ""
            self._view.notes = ["The job is down: rows are live, nothing is stored. agentmon up starts it."]
        elif self._board.figures_at is None:
            self._view.job = "no job here"
        self._stored()

    def _stored(self) -> None:
        from agentmon.errors import AgentmonError
        from agentmon.stack.home import read_note

        try:
            told = read_note(self._settings.run / "progress.json").get("queries", {}).get("monitor", {})
            if told.get("sealed_at") and self._view.stored is not None:
                self._view.stored = max(self._view.stored, datetime.fromtimestamp(told["sealed_at"], UTC))
        except (AgentmonError, ValueError):
            return
