"""What the tasks of one micro-batch return to the driver: small Arrow tables, no message.

A task yields rows of RESULT: the name of a part, and some of its rows as an Arrow stream (zstd). A part's schema does not
depend on the messages, so the driver puts the rows of all tasks together as they are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from deltalake.transaction import AddAction

from agentmon.contracts.topics import Place

#: Spark's schema of what a task returns.
RESULT = "part string, data binary"
_RESULT = pa.schema({"part": pa.string(), "data": pa.binary()})

#: Files that were written and that no commit names yet. `marked`: rows that may be second copies (stream/repeats.py).
FILES = pa.schema(
    {
        "table": pa.string(),
        "path": pa.string(),
        "bytes": pa.int64(),
        "partition": pa.string(),
        "day": pa.string(),
        "modified_ms": pa.int64(),
        "statistics": pa.string(),
        "rows": pa.int64(),
        "marked": pa.int64(),
    }
)
#: How many messages each partition of Kafka had.
MESSAGE_COUNTS = pa.schema({"kafka_topic": pa.string(), "kafka_partition": pa.int32(), "messages": pa.int64()})

_OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd")
#: Rows in one cell of RESULT: Spark's driver holds a cell as one array of bytes.
_ROWS_A_CELL = 20_000


def encode(parts: Mapping[str, pa.Table]) -> pa.RecordBatch:
    """Parts as rows of RESULT; those without rows are left out."""
    cells = [(name, _bytes(piece)) for name, table in parts.items() for piece in _pieces(table)]
    names, streams = zip(*cells, strict=True) if cells else ((), ())
    return pa.RecordBatch.from_arrays([pa.array(names, pa.string()), pa.array(streams, pa.binary())], schema=_RESULT)


@dataclass(frozen=True)
class Output:
    """The parts of all tasks of a micro-batch, by name; a part that no task had rows of is missing."""

    parts: Mapping[str, pa.Table] = field(default_factory=dict)

    @classmethod
    def decode(cls, result: pa.Table) -> Output:
        """From rows of RESULT."""
        tables: dict[str, list[pa.Table]] = defaultdict(list)
        for name, data in zip(result["part"].to_pylist(), result["data"], strict=True):
            with pa.ipc.open_stream(data.as_buffer()) as stream:
                tables[name].append(stream.read_all())
        return cls({name: pa.concat_tables(pieces) for name, pieces in tables.items()})

    def __add__(self, other: Output) -> Output:
        """The rows of both."""
        names = dict.fromkeys([*self.parts, *other.parts])
        return Output({n: pa.concat_tables(o.parts[n] for o in (self, other) if n in o.parts) for n in names})

    def files(self) -> dict[str, list[AddAction]]:
        """By table, what a commit says to make the files part of it."""
        actions: dict[str, list[AddAction]] = defaultdict(list)
        for f in self._rows("files"):
            day = {f["partition"]: f["day"]}
            actions[f["table"]].append(AddAction(f["path"], f["bytes"], day, f["modified_ms"], True, f["statistics"]))
        return dict(actions)

    def marked_tables(self) -> set[str]:
        """Tables with rows that may be second copies."""
        return {f["table"] for f in self._rows("files") if f["marked"]}

    def hosts_without_lake(self) -> list[str]:
        """Executors' machines that do not have the driver's lake in its folder."""
        return sorted({row["host"] for row in self._rows("without_lake")})

    def rows_by_table(self) -> dict[str, int]:
        """How many rows each table gets."""
        rows: Counter[str] = Counter()
        for f in self._rows("files"):
            rows[f["table"]] += f["rows"]
        return dict(rows)

    def messages(self) -> dict[Place, int]:
        """How many messages each partition had: fewer than offsets where markers of transactions or compaction left none."""
        counts: Counter[Place] = Counter()
        for row in self._rows("messages"):
            counts[row["kafka_topic"], row["kafka_partition"]] += row["messages"]
        return dict(counts)

    def _rows(self, name: str) -> list[dict[str, Any]]:
        return self.parts[name].to_pylist() if name in self.parts else []


def _pieces(table: pa.Table) -> Iterator[pa.Table]:
    return (table.slice(first, _ROWS_A_CELL) for first in range(0, len(table), _ROWS_A_CELL))


def _bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue().to_pybytes())
