"""A task's rows as Parquet files of a Delta table, and what the table's log will say of them.

In: rows with the table's columns. Out: a row of stream/output.py's FILES for each file. What makes a file part of the
table, the commit, is deltalake's (stream/tables.py); its own writer takes more CPU than pyarrow's (docs/decisions.md).

Source: the Delta transaction log protocol, "Add File and Remove File" and "Per-file Statistics".
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileSystem, LocalFileSystem, PyFileSystem, SubTreeFileSystem

from agentmon.contracts.tables import Table
from agentmon.lake.files import is_local, local_path
from agentmon.stream.output import FILES
from agentmon.stream.repeats import count_marked

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


def place_of(lake: str, table: str) -> str:
    """Where a table lies, as deltalake wants it: a path, or a URI with s3:// for Hadoop's s3a://."""
    place = f"{lake}/{table}"
    return str(local_path(place)) if is_local(place) else place.replace("s3a://", "s3://", 1)


def files_of(lake: str, table: str) -> FileSystem:
    """The table's folder as a file system: this machine's, else deltalake's way to an object store."""
    place = place_of(lake, table)
    if is_local(lake):
        return SubTreeFileSystem(place, LocalFileSystem())
    return PyFileSystem(DeltaStorageHandler(place))


def write_files(rows: pa.Table, table: Table, files: FileSystem, batch: str) -> pa.Table:
    """Write rows, with all of the table's columns, a file for each of its days; rows of FILES.

    batch: a name that the files' names have in them. The files are no part of the table before a commit names them. Raises OSError, and leaves none of them then.
    """
    written: list[dict[str, Any]] = []
    try:
        for day, part in _by_partition(rows, table.partition):
            written.append(_write_file(part, table, day, files, batch))
    except BaseException:
        remove([file["path"] for file in written], files)
        raise
    return pa.Table.from_pylist(written, FILES)


def remove(paths: Iterable[str], files: FileSystem) -> None:
    """Delete files that no commit has named: on a full disk each attempt would leave some."""
    for path in paths:
        with contextlib.suppress(OSError):  # there is worse to report; the nightly job takes them
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


def _write_file(rows: pa.Table, table: Table, day: str, files: FileSystem, batch: str) -> dict[str, Any]:
    folder = f"{table.partition}={day}"
    path = f"{folder}/part-{batch}-{uuid.uuid4()}.zstd.parquet"
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
        remove([path], files)
        raise
    return {
        "table": table.name,
        "path": path,
        "bytes": size,
        "partition": table.partition,
        "day": day,
        "modified_ms": time.time_ns() // 1_000_000,
        "statistics": _statistics(rows, table),
        "rows": len(rows),
        "marked": count_marked(rows),
    }


def _statistics(rows: pa.Table, table: Table) -> str:
    """JSON for the log: a file's rows, and each bounded column's least and greatest value and number of nulls."""
    columns = {name: rows[name] for name in table.bounded}
    bounds = {name: pc.min_max(column).as_py() for name, column in columns.items()}
    lowest = {name: _lower_bound(found["min"]) for name, found in bounds.items()}
    highest = {name: _upper_bound(found["max"]) for name, found in bounds.items()}
    statistics = {
        "numRecords": len(rows),
        "minValues": {name: value for name, value in lowest.items() if value is not None},
        "maxValues": {name: value for name, value in highest.items() if value is not None},
        "nullCount": {name: column.null_count for name, column in columns.items()},
    }
    return orjson.dumps(statistics).decode()


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
