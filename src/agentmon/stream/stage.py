"""A thread that does one thing after another, so that who hands these over need not wait for them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_LOOK_S = 0.2


class Stage(threading.Thread, Generic[T]):
    """Calls `work` with each item, in order; one more may wait.

    A failure ends the thread; `put` and `check` raise it.
    """

    def __init__(self, name: str, work: Callable[[T], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._items: queue.Queue[T | None] = queue.Queue(maxsize=1)
        self._error: BaseException | None = None

    def put(self, item: T) -> None:
        """Hand over an item; waits while another one is waiting."""
        self._put(item)
        self.check()

    def close(self) -> None:
        """Let what was handed over be done, and end. Says nothing of a failure: who asks for that calls `check`."""
        self._put(None)
        if self.is_alive():
            self.join()

    def check(self) -> None:
        """Raises what the thread failed with."""
        if self._error is not None:
            raise self._error

    def run(self) -> None:
        """Until closed, or until an item can't be worked on."""
        try:
            while (item := self._items.get()) is not None:
                self._work(item)
        except BaseException as error:  # noqa: BLE001 - raised again by check() in the threads that run the job
            self._error = error

    def _put(self, item: T | None) -> None:
        while self._error is None:
            try:
                self._items.put(item, timeout=_LOOK_S)
            except queue.Full:
                continue
            return
