"""Memory that was needed for a moment, and is not needed any more."""

from __future__ import annotations

import ctypes

import pyarrow as pa


def give_back() -> None:
    """Hand what allocators keep for later to the system: after a backlog, half a gigabyte in some 50 ms.

    glibc keeps freed pages below any that is in use, in an arena for each few threads; other systems' C libraries are
    not asked.
    """
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
