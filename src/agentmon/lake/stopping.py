"""Ctrl-C while DuckDB works.

DuckDB's Python client looks for signals between its tasks only, and one task of a join can take for hours.
So a thread waits for Ctrl-C beside it: Python writes a signal's number into a pipe as it arrives.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from select import select

from agentmon.errors import INTERRUPTED
from agentmon.lake.connection import Connection, remove_spilled

#: DuckDB forgets what it was told before a query began: it is told again.
_AGAIN_S = 0.1


@contextmanager
def stoppable(con: Connection) -> Iterator[None]:
    """Ctrl-C stops what the connection does in this block, and is a KeyboardInterrupt at its end.

    A second one, while it still works, ends the process with exit code 130. In a thread other than the main one,
    and where somebody else handles Ctrl-C, this changes nothing.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    pressed: list[int] = []
    heard, told = os.pipe()
    os.set_blocking(told, False)  # as set_wakeup_fd wants it
    waiting = threading.Thread(target=_wait, args=(heard, con), daemon=True)
    waiting.start()
    before = -1
    try:
        before = signal.set_wakeup_fd(told)
        # No KeyboardInterrupt until all is again as it was.
        signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(told)
        waiting.join()
        os.close(heard)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if pressed:
            raise KeyboardInterrupt


def _wait(heard: int, con: Connection) -> None:
    """Until the pipe ends: the first Ctrl-C stops what the connection does, the second the process."""
    pressed = False
    while True:
        if pressed:
            con.interrupt()
        if select([heard], [], [], _AGAIN_S if pressed else None)[0]:
            number = os.read(heard, 1)
            if not number:
                return
            if number[0] == signal.SIGINT:
                if pressed:
                    remove_spilled()
                    os._exit(INTERRUPTED)
                pressed = True
