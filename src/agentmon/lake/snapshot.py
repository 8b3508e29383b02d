"""A table's files at one version, from Delta's log alone: what `status` reads a thousand small files with.

deltalake reads the log in some 30 ms, without opening a file, and DuckDB then reads the files as the Parquet that they
are. Its own Delta reader takes a quarter more CPU for it where files are many (docs/decisions.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentmon.errors import AgentmonError
from agentmon.lake.files import local_path

#: Delta's reader version whose tables are Parquet files and nothing else.
_PLAIN = 1
#: What is asked of the ledger's files.
_STATS = ("min.query_id", "max.query_id", "min.kind", "max.kind", "max.batch_id")


@dataclass(frozen=True)
class File:
    """One file: when it was written (milliseconds since 1970), and what the log knows of its columns.

    stats: {"min.batch_id": 7, …}; null where it knows nothing.
    """

    path: str
    written_ms: int
    stats: dict[str, Any]


class NotPlainError(AgentmonError):
    """Raised when a table's files aren't all there is to it: somebody gave it a feature that its readers must know."""


def read_snapshot(lake: str, table: str) -> list[File] | None:
    """The files of a table's newest version; None where there is no such table yet. The lake is a folder here.

    Raises NotPlainError (deletion vectors, column mapping), AgentmonError where the log can't be read.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    place = local_path(f"{lake}/{table}")
    if not Path(place, "_delta_log").is_dir():
        return None
    try:
        there = DeltaTable(str(place))
        added = there.get_add_actions(flatten=True)
    except (DeltaError, OSError) as error:
        raise AgentmonError(f"can't read {place}: {' '.join(str(error).split())[:300]}") from error
    if there.protocol().min_reader_version > _PLAIN:
        raise NotPlainError(f"{place} has features that need Delta's own reader")
    known = [name for name in added.column_names if name in _STATS]
    columns = {name: added.column(name).to_pylist() for name in ("path", "modification_time", *known)}
    return [
        File(str(place / path), written, {name: columns[name][at] for name in known})
        for at, (path, written) in enumerate(zip(columns["path"], columns["modification_time"], strict=True))
    ]


def newest_of_each_run(files: Iterable[File]) -> list[File]:
    """Files of the ledger that can hold the newest batch of a run of the job.

    A file that only has seals of one run can't, where another such file of that run has a newer one.
    """
    kept: list[File] = []
    newest: dict[str, File] = {}
    for file in files:
        stats = file.stats
        run, batch = stats.get("min.query_id"), stats.get("max.batch_id")
        plain = run == stats.get("max.query_id") and stats.get("min.kind") == stats.get("max.kind") == "stored"
        if not plain or run is None or batch is None:
            kept.append(file)
        elif run not in newest or batch > newest[run].stats["max.batch_id"]:
            newest[run] = file
    return [*kept, *newest.values()]
