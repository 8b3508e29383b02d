"""A table's files at one version, from Delta's log alone: what `status` reads a thousand small files with.

The log is the newest checkpoint, a Parquet file, and the commits after it, JSON: a few milliseconds, where deltalake
takes 20 to 40 and as much again to be imported, and DuckDB's own Delta reader then takes a quarter more CPU to read the
files (docs/decisions.md). What is not as plain as the job and deltalake leave it is left to that reader.
Source: https://github.com/delta-io/delta/blob/master/PROTOCOL.md, "Delta Log Entries" and "Checkpoints".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from glob import glob
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import unquote

import _duckdb as duckdb
import orjson

from agentmon.errors import AgentmonError, first_line
from agentmon.lake.connection import Connection, literal, query
from agentmon.lake.files import local_path

#: Delta's reader version whose tables are Parquet files and nothing else.
_PLAIN = 1
#: The log's times are cut to milliseconds.
_TRUNCATED = timedelta(milliseconds=1)
_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet")


class File(NamedTuple):
    """One file: when it was written (milliseconds since 1970), and what the log knows of its rows and columns.

    rows: null where it doesn't know. least, most: {"batch_id": 7, …}, nulls: {"batch_id": 0, …}; without a column of
    which it knows nothing.
    """

    path: str
    written_ms: int
    rows: int | None = None
    least: Mapping[str, Any] = MappingProxyType({})
    most: Mapping[str, Any] = MappingProxyType({})
    nulls: Mapping[str, int] = MappingProxyType({})


class NotPlainError(AgentmonError):
    """Raised when a table's files aren't all there is to it: somebody gave it a feature that its readers must know."""


def read_snapshot(con: Connection, lake: str, table: str) -> list[File] | None:
    """The files of a table's newest version; None where there is no such table yet. The lake is a folder here.

    Raises NotPlainError (deletion vectors, column mapping, a path that is a pattern too), AgentmonError where the log
    can't be read.
    """
    place = local_path(f"{lake}/{table}")
    log = place / "_delta_log"
    if not log.is_dir():
        return None
    if any(found != str(place) for found in glob(str(place), include_hidden=True)):  # noqa: PTH207 - of a whole path
        # As of run1 beside run*: DuckDB would read the files of both.
        raise NotPlainError(f"{place} is a pattern that other places match")
    try:
        return [_file(str(place), added) for added in _added(con, log)]
    except (duckdb.Error, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise AgentmonError(f"can't read {place}: {first_line(error)[:300]}") from error


def _added(con: Connection, log: Path) -> Iterable[dict[str, Any]]:
    """The `add` actions that no later commit took back."""
    names = [entry.name for entry in os.scandir(log)]
    checkpoint = max((int(found[1]) for name in names if (found := _CHECKPOINT.fullmatch(name))), default=-1)
    commits = sorted(int(found[1]) for name in names if (found := _COMMIT.fullmatch(name)))
    commits = [version for version in commits if version > checkpoint]
    if commits != [*range(checkpoint + 1, checkpoint + 1 + len(commits))] or checkpoint + len(commits) < 0:
        raise NotPlainError(f"{log} has more than commits after a checkpoint of one file")
    added: dict[str, dict[str, Any]] = {}
    if checkpoint >= 0:
        path = literal(str(log / f"{checkpoint:020}.checkpoint.parquet"))
        try:
            entries = con.execute(query("checkpoint").format(path=path)).fetchall()
        except duckdb.BinderException as error:
            # As a table's writer may be told to: delta.checkpoint.writeStatsAsJson.
            raise NotPlainError(f"the checkpoint in {log} lacks a column") from error
        for name, written, stats, reader in entries:
            _check(reader or _PLAIN, log)
            if name is not None:
                added[name] = {"path": name, "modificationTime": written, "stats": stats}
    for version in commits:
        for line in (log / f"{version:020}.json").read_bytes().splitlines():
            action = orjson.loads(line)
            if "add" in action:
                added[action["add"]["path"]] = action["add"]
            elif "remove" in action:
                added.pop(action["remove"]["path"], None)
            elif "protocol" in action:
                _check(action["protocol"]["minReaderVersion"], log)
    return added.values()


def _check(reader: int, log: Path) -> None:
    if reader > _PLAIN:
        raise NotPlainError(f"{log} has features that need Delta's own reader")


def _file(place: str, added: dict[str, Any]) -> File:
    stats = orjson.loads(added.get("stats") or "{}")
    bounds = (stats.get(name) or {} for name in ("minValues", "maxValues", "nullCount"))
    return File(f"{place}/{unquote(added['path'])}", added["modificationTime"], stats.get("numRecords"), *bounds)


def newest_of_each_run(files: Iterable[File]) -> list[File]:
    """Files of the ledger that can hold the newest batch of a run of the job.

    A file that only has seals of one run can't, where another such file of that run has a newer one.
    """
    kept: list[File] = []
    newest: dict[str, File] = {}
    for file in files:
        run, batch = file.least.get("query_id"), file.most.get("batch_id")
        plain = run == file.most.get("query_id") and file.least.get("kind") == file.most.get("kind") == "stored"
        if not plain or run is None or batch is None:
            kept.append(file)
        elif run not in newest or batch > newest[run].most["batch_id"]:
            newest[run] = file
    return [*kept, *newest.values()]


def is_sealed(file: File, sealed: Mapping[str, int]) -> bool:
    """Whether all rows of a file are known to be of whole batches.

    `sealed` has the newest whole batch of each run; rows that name no run were collapsed by the nightly job.
    """
    nameless = file.nulls.get("query_id")
    if nameless is not None and nameless == file.rows:
        return True
    run = file.least.get("query_id")
    newest = file.most.get("batch_id")
    if nameless != 0 or run is None or run != file.most.get("query_id") or newest is None:
        return False
    return run in sealed and newest <= sealed[run]


def has_nulls(file: File, column: str) -> bool:
    """Whether a file can have a null in a column, or lack it."""
    return file.nulls.get(column) != 0


def between(files: Iterable[File], spans: Iterable[tuple[datetime, datetime]]) -> list[File]:
    """Files of the summaries that can have a window within one of the spans, each (since, until), both inclusive."""
    apart: list[tuple[datetime, datetime]] = []
    for since, until in sorted(spans):
        if apart and since <= apart[-1][1]:
            apart[-1] = (apart[-1][0], max(until, apart[-1][1]))
        else:
            apart.append((since, until))
    kept = []
    for file in files:
        bounds = file.least.get("window_start"), file.most.get("window_end")
        if None not in bounds:
            first, last = (_time(str(bound)) for bound in bounds)
            if not any(first <= until and since <= last + _TRUNCATED for since, until in apart):
                continue
        kept.append(file)
    return kept


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
