"""Single key presses from a terminal, and the terminal as it was afterwards."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

_NAMES = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1b[5~": "pageup",
    "\x1b[6~": "pagedown",
}
_SINGLE = {"\x1b": "esc", "\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace", "\t": "tab"}


@contextmanager
def single_keys() -> Iterator[bool]:
    """Keys come one by one, unseen, while this is open; False where stdin is no terminal."""
    if not sys.stdin.isatty():
        yield False
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield True
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def pressed(text: str) -> list[str]:
    """The keys in what a terminal sent: letters as they are, others by name.

    >>> pressed("p\\x1b[Aq"), pressed("\\x1b")
    (['p', 'up', 'q'], ['esc'])
    """
    keys = []
    while text:
        name = next((code for code in _NAMES if text.startswith(code)), None)
        if name is not None:
            keys.append(_NAMES[name])
            text = text[len(name) :]
            continue
        if text[0] >= " " or text[0] in _SINGLE:
            keys.append(_SINGLE.get(text[0], text[0]))
        text = text[1:]
    return keys


def wait(wake: int, seconds: float, *, keys: bool) -> list[str]:
    """Wait for a key or a byte at the file `wake`, at most so long; the keys. Raises EOFError where stdin has ended."""
    files = [wake, *([sys.stdin.fileno()] if keys else [])]
    ready, _, _ = select.select(files, [], [], seconds)
    if wake in ready:
        os.read(wake, 65_536)
    if len(files) == 2 and files[1] in ready:
        data = os.read(files[1], 1024)
        if not data:
            raise EOFError
        return pressed(data.decode(errors="ignore"))
    return []
