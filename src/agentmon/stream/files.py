"""A batch's rows as Parquet files of a Delta table, and what its log says of them.

deltalake's own writer takes more CPU than pyarrow's (docs/decisions.md says how much). What makes a file part of the table, the commit, is deltalake's.

Source: the Delta transaction log protocol, "Add File and Remove File" and "Per-file Statistics".
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction
from pyarrow.fs import FileSystem, LocalFileSystem, PyFileSystem, SubTreeFileSystem

from agentmon.contracts.tables import Table

#: Of a text, the log has so much, characters; no upper bound where it is longer, which the protocol allows.
LONGEST_BOUND = 64
#: DuckDB reads the row groups of a file side by side.
ROW_GROUP_ROWS = 122_880
_ZSTD_LEVEL = 1
_MILLISECOND, _MICROSECOND = timedelta(milliseconds=1), timedelta(microseconds=1)
#: Columns that hardly ever say the same twice: looking for a dictionary of them is for nothing.
_DISTINCT = frozenset(("payload", "raw", "thought", "context", "data"))
#: Numbers without a dictionary are kept as differences where they are whole.
_WHOLE = frozenset(("timestamp", "bigint"))


def filesystem_of(table: DeltaTable, local_path: str | None) -> FileSystem:
    """The table's folder: on this machine, else by deltalake's way to it."""
    if local_path is not None:
        return SubTreeFileSystem(local_path, LocalFileSystem())
    return PyFileSystem(DeltaStorageHandler.from_table(table._table))


def write_files(rows: pa.Table, table: Table, files: FileSystem) -> list[AddAction]:
    """Write rows, with all of the table's columns, a file for each of its partitions.

    They are no part of the table before a commit has these actions. Raises OSError, and leaves none of them then.
    """
    written: list[AddAction] = []
    try:
        for day, part in _by_partition(rows, table.partition):
            written.append(_write_file(part, table, day, files))
    except BaseException:
        remove(written, files)
        raise
    return written


def remove(written: Sequence[AddAction], files: FileSystem) -> None:
    """Files that no commit has named: on a full disk each attempt would leave some."""
    for action in written:
        _remove(action.path, files)


def _remove(path: str, files: FileSystem) -> None:
    with contextlib.suppress(OSError):  # there is worse to tell; vacuum takes it in its time
        files.delete_file(path)


def _by_partition(rows: pa.Table, partition: str) -> Iterator[tuple[str, pa.Table]]:
    """Values of a date column, and their rows without it, in their order."""
    days = rows[partition].cast(pa.int32()).to_numpy()
    rows = rows.drop_columns([partition])
    if not len(days):
        return
    if days.min() != days.max():
        order = np.argsort(days, kind="stable")
        days, rows = days[order], rows.take(pa.array(order))
    begins = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist()]
    for begin, end in zip(begins, [*begins[1:], len(days)], strict=True):
        yield str(np.datetime64(int(days[begin]), "D")), rows.slice(begin, end - begin)


def _write_file(rows: pa.Table, table: Table, day: str, files: FileSystem) -> AddAction:
    folder = f"{table.partition}={day}"
    path = f"{folder}/part-00000-{uuid.uuid4()}-c000.zstd.parquet"
    if isinstance(files, SubTreeFileSystem):  # object stores have no folders
        files.create_dir(folder)
    types = {column.name: column.type for column in table.columns if column.name != table.partition}
    differences = [name for name, type_ in types.items() if type_ in _WHOLE]
    try:
        with files.open_output_stream(path) as out:
            pq.write_table(
                rows,
                out,
                row_group_size=ROW_GROUP_ROWS,
                compression="zstd",
                compression_level=_ZSTD_LEVEL,
                use_dictionary=[n for n in types if n not in _DISTINCT and n not in differences],
                column_encoding=dict.fromkeys(differences, "DELTA_BINARY_PACKED"),
                write_statistics=list(table.bounded),
                store_schema=False,
            )
            size = out.tell()
    except BaseException:
        _remove(path, files)
        raise
    return AddAction(path, size, {table.partition: day}, time.time_ns() // 1_000_000, True, _statistics(rows, table))


def _statistics(rows: pa.Table, table: Table) -> str:
    """What the log says of a file's columns: bounds, and how many are null. (Of these, whatever somebody set for the table.)"""
    columns = {name: rows[name] for name in table.bounded}
    bounds = {name: pc.min_max(column).as_py() for name, column in columns.items()}
    lowest = {name: _lower_bound(found["min"]) for name, found in bounds.items()}
    highest = {name: _upper_bound(found["max"]) for name, found in bounds.items()}
    told = {
        "numRecords": len(rows),
        "minValues": {name: value for name, value in lowest.items() if value is not None},
        "maxValues": {name: value for name, value in highest.items() if value is not None},
        "nullCount": {name: column.null_count for name, column in columns.items()},
    }
    return orjson.dumps(told).decode()


def _lower_bound(value: Any) -> Any:
    if isinstance(value, str):
        return value[:LONGEST_BOUND]
    return _in_log(value) if isinstance(value, datetime) else value


def _upper_bound(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= LONGEST_BOUND else None
    return _in_log(value + (_MILLISECOND - _MICROSECOND)) if isinstance(value, datetime) else value


def _in_log(moment: datetime) -> str:
    """As the log has times: whole milliseconds, cut."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
