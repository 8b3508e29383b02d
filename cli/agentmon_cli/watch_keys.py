"""What each key of `agentmon watch` does to the view."""

from __future__ import annotations

from agentmon_cli.watch_board import Board
from agentmon_cli.watch_screen import View

_PAGE = 10


def press(key: str, view: View, board: Board) -> bool:
    """Change the view as the key says; False where it ends the watching."""
    if view.typing:
        _typed(key, view)
    elif view.help:
        view.help = False
    elif key == "q":
        return False
    elif key in ("p", " "):
        view.paused = not view.paused
        view.waiting = 0
    elif key in ("a", "A", "tab"):
        view.agent = _next(view.agent, sorted(board.agents), -1 if key == "A" else 1)
        view.scroll = 0
    elif key in ("f", "/"):
        view.typing, view.words, view.scroll = True, "", 0
    elif key == "?":
        view.help = True
    else:
        _scroll(key, view, max(len(board.actions), len(board.thoughts)))
    return True


def _typed(key: str, view: View) -> None:
    if key == "enter":
        view.typing = False
    elif key == "esc":
        view.typing, view.words = False, ""
    elif key == "backspace":
        view.words = view.words[:-1]
    elif len(key) == 1:
        view.words += key


def _scroll(key: str, view: View, rows: int) -> None:
    steps = {"down": 1, "j": 1, "up": -1, "k": -1, "pagedown": _PAGE, "pageup": -_PAGE}
    if key in ("g", "esc"):
        view.scroll = 0
        view.words = "" if key == "esc" else view.words
    elif key in steps:
        view.scroll = min(max(view.scroll + steps[key], 0), max(rows - 1, 0))


def _next(agent: str | None, names: list[str], step: int) -> str | None:
    """The agent after this one; None, all of them, comes after the last.

    >>> _next(None, ["a", "b"], 1), _next("b", ["a", "b"], 1), _next("a", ["a", "b"], -1)
    ('a', None, None)
    """
    ring: list[str | None] = [None, *names]
    at = ring.index(agent) if agent in ring else 0
    return ring[(at + step) % len(ring)]
