"""What each key of `agentmon watch` does to the view."""

from __future__ import annotations

from copy import deepcopy

from agentmon.contracts.running import OTHER
from agentmon_cli.watch_board import Board
from agentmon_cli.watch_screen import PANELS, View, rows_of

_PAGE = 10
_STEPS = {"down": 1, "j": 1, "up": -1, "k": -1, "pagedown": _PAGE, "pageup": -_PAGE}


def press(key: str, view: View, board: Board) -> bool:
    """Change the view as the key says; False where it ends the watching."""
    board = view.still or board
    if view.typing:
        _typed(key, view)
    elif view.help:
        view.help = False
    elif key == "q":
        return False
    elif key in ("p", " "):
        view.still, view.waiting = None if view.paused else deepcopy(board), 0
    elif key in ("a", "A", "tab"):
        view.agent = _next(view.agent, sorted({*board.agents} - {OTHER}), -1 if key == "A" else 1)
        view.tops.clear()
    elif key in ("f", "/"):
        view.typing, view.words = True, ""
        view.tops.clear()
    elif key == "?":
        view.help = True
    else:
        _scroll(key, view, board)
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


def _scroll(key: str, view: View, board: Board) -> None:
    if key in ("g", "esc"):
        view.tops.clear()
        view.words = "" if key == "esc" else view.words
    for panel in PANELS if key in _STEPS else ():
        rows, top = rows_of(board, view, panel)
        top = min(top + _STEPS[key], len(rows) - 1)
        if top > 0:
            view.tops[panel] = rows[top]
        else:
            view.tops.pop(panel, None)


def _next(agent: str | None, names: list[str], step: int) -> str | None:
    """The agent after this one; None, all of them, comes after the last.

    >>> _next(None, ["a", "b"], 1), _next("b", ["a", "b"], 1), _next("a", ["a", "b"], -1)
    ('a', None, None)
    """
    ring: list[str | None] = [None, *names]
    at = ring.index(agent) if agent in ring else 0
    return ring[(at + step) % len(ring)]
