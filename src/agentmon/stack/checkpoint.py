"""How far Spark's own checkpoint of the running job is: which micro-batch began, and whether it ended.

Source: org.apache.spark.sql.execution.streaming: offsets/N is written before batch N runs, commits/N after it.
Where the job goes on after a stop is not read from here but from the ledger.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Checkpoint:
    """The newest batch; `running_s` is how long it has been running, None where it has ended."""

    batch_id: int
    running_s: float | None


def read_checkpoint(folder: Path, now: float | None = None) -> Checkpoint | None:
    """Of a query's checkpoint folder; None where no batch has begun there. now: seconds since 1970."""
    begun = _newest(folder / "offsets")
    if begun is None:
        return None
    ended = _newest(folder / "commits")
    if ended is not None and ended >= begun:
        return Checkpoint(begun, None)
    try:
        since = (folder / "offsets" / str(begun)).stat().st_mtime
    except FileNotFoundError:  # it has ended, and was cleaned away
        return Checkpoint(begun, None)
    return Checkpoint(begun, (time.time() if now is None else now) - since)


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or the folder itself where it is not there yet."""
    place = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    return os.access(place, os.W_OK)


def _newest(folder: Path) -> int | None:
    try:
        return max((int(path.name) for path in folder.iterdir() if path.name.isdigit()), default=None)
    except FileNotFoundError:
        return None
