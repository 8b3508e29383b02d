"""Keep the files of the lake few and its disk bounded, while the job runs.

Every batch adds a file a table and day. Beside the batches one table after another is looked at, and where
a day has many small files these are merged into larger ones: the same rows, so no reader and no other
writer is disturbed (an append and a merge never conflict in Delta). What was merged is removed once nobody can
read it any more (the table's own delta.deletedFileRetentionDuration).

Each commit is under the lock that all processes take (locks.py). Merging a day's last minutes takes some tenths of a
second; larger files are left to the nightly job, which works on closed days.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

import pyarrow as pa
from deltalake import DeltaTable, PostCommitHookProperties
from deltalake.exceptions import DeltaError

from agentmon.contracts.tables import TABLES
from agentmon.lake.files import is_local
from agentmon.settings import Settings
from agentmon.stream.files import place_of
from agentmon.stream.memory import give_back
from agentmon.stream.tables import PARQUET

log = logging.getLogger(__name__)

#: Merged files are at most about as large, bytes: it is what one merge rewrites at the most, over and over.
TARGET_BYTES = 16 * 1024 * 1024
#: Days of one table that are merged in one go.
_DAYS = 2
#: Between two looks, seconds: merging takes a core from the batches.
_PAUSE_S = 2.0
#: How often a table is looked through for files that nobody can read any more, seconds.
_CLEAN_EVERY_S = 3600.0
#: The next batch's append sees to the log.
_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


class Compactor(threading.Thread):
    """Looks after one lake, a table at a time, whenever it is woken; `commit_lock` as in `Store`.

    Does nothing on an object store, which has no such lock. What goes wrong is logged: the rows are safe, and it is tried
    again.
    """

    def __init__(self, settings: Settings, commit_lock: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__(name="compactor", daemon=True)
        self._settings = settings
        self._commit_lock = commit_lock
        self._woken = threading.Event()
        self._ending = threading.Event()
        self._cleaned = dict.fromkeys(TABLES, time.monotonic())
        if is_local(settings.lake):
            self.start()

    def wake(self) -> None:
        """There are new files; from any thread."""
        self._woken.set()

    def close(self) -> None:
        """Let what is being merged be done, and end."""
        self._ending.set()
        self._woken.set()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        """Until closed."""
        for table in itertools.cycle(TABLES):
            self._woken.wait()
            self._woken.clear()
            if self._ending.wait(_PAUSE_S):
                return
            self.look_after(table)

    def look_after(self, table: str) -> None:
        """Merge a table's small files, and now and then remove those that nobody can read any more."""
        place = place_of(self._settings.lake, table)
        try:
            with self._commit_lock():
                merged = compact(place, self._settings.compact_files)
                if time.monotonic() - self._cleaned[table] > _CLEAN_EVERY_S:
                    self._cleaned[table] = time.monotonic()
                    clean(place)
        except (DeltaError, OSError) as error:
            log.warning("small files of %s were not merged: %s", table, str(error).splitlines()[0])
        else:
            if merged:
                give_back()  # a merge takes a hundred megabytes for a moment
                log.debug("merged %d small files of %s", merged, table)


def compact(place: str, small_files: int) -> int:
    """Merge the small files of each day that has `small_files` of them or more; how many were merged.

    To be called with the commit lock held. Raises DeltaError where a commit of another kind came between.
    """
    table = DeltaTable(place)
    merged = 0
    for day, count in _small_files(table).most_common(_DAYS):
        if count < small_files:
            break
        metrics = table.optimize.compact(
            [("event_date", "=", day)],
            target_size=TARGET_BYTES,
            writer_properties=PARQUET,
            post_commithook_properties=_NO_HOOKS,
        )
        merged += int(metrics["numFilesRemoved"])
    return merged


def clean(place: str) -> int:
    """Delete files that a commit has removed and no version within the table's retention has; how many.

    Files that no commit names are left to the nightly job: a running batch's are among them. With the commit lock held.
    """
    return len(DeltaTable(place).vacuum(dry_run=False, post_commithook_properties=_NO_HOOKS))


def _small_files(table: DeltaTable) -> Counter[str]:
    """Files below a quarter of the target per day: what a backlog's tasks write is larger, and not worth a rewrite."""
    files = pa.table(table.get_add_actions(flatten=True))
    days, sizes = files["partition.event_date"].to_pylist(), files["size_bytes"].to_pylist()
    return Counter(str(day) for day, size in zip(days, sizes, strict=True) if size < TARGET_BYTES // 4)
