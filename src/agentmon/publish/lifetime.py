"""A publisher in somebody's process: what happens at its end and when it forks."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol


class Guest(Protocol):
    """What has a thread and open files in this process."""

    @property
    def exit_wait_s(self) -> float: ...
    def close(self, timeout_s: float | None = None) -> bool: ...
    def hold(self) -> None: ...
    def let_go(self) -> None: ...
    def after_fork(self) -> Any: ...


everybody: weakref.WeakSet[Guest] = weakref.WeakSet()
#: Those whose thread runs: to be closed at the end.
running: set[Guest] = set()
_forking: list[Guest] = []
_loading = threading.Lock()
_held: list[threading.Lock] = []
#: For so long: it ends by itself, unless it waits for the very import that forks.
_LOAD_S = 5.0
#: Clients of the parent, in a forked child: never used there, and never collected, which would close connections.
_never_collected: list[Any] = []


@contextmanager
def loading() -> Iterator[None]:
    """While modules are loaded, Python's or the C library's. A fork waits for it, if not for ever.

    The lock of what is half loaded would stay with a thread that the child does not have.
    """
    is_alone = _loading.acquire(timeout=_LOAD_S)
    try:
        yield
    finally:
        if is_alone:
            with suppress(RuntimeError):  # whatever is loaded has forked, and this is the child
                _loading.release()


def be_first_at_exit() -> None:
    """Python calls the handler that was registered last first."""
    atexit.unregister(_close_all)
    atexit.register(_close_all)


def _close_all() -> None:
    # Together they have the time of one.
    begun = time.monotonic()
    for guest in list(running):
        guest.close(max(0.0, begun + guest.exit_wait_s - time.monotonic()))


def _before_fork() -> None:
    try:
        if _loading.acquire(timeout=_LOAD_S):
            _held.append(_loading)
    finally:  # it forks whatever a signal's handler raises here
        _forking[:] = everybody
        for guest in _forking:
            guest.hold()


def _after_fork_in_parent() -> None:
    for guest in _forking:
        guest.let_go()
    _forking.clear()
    while _held:
        _held.pop().release()


def _after_fork_in_child() -> None:
    _held.clear()
    if _loading.locked():
        _loading.release()
    _never_collected.extend(guest.after_fork() for guest in _forking)
    _forking.clear()


be_first_at_exit()
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
