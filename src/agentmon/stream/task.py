"""What one Spark task does with its share of a micro-batch, on whichever executor it runs.

In: Arrow batches of Kafka messages, columns of stream/parse.py's MESSAGES. Out: rows of stream/output.py's RESULT.

    messages → rows by table (contracts' rules) → Parquet files that no commit names yet
                                                └→ partial figures, the newest rows, how many messages

A task that runs twice (a retry, speculation) does no harm: the driver commits the files that the successful attempt
reported. Files of other attempts belong to no table; the nightly job removes them.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path

import pyarrow as pa

from agentmon.contracts.message import Limits
from agentmon.contracts.tables import MESSAGE_TABLES
from agentmon.lake.files import local_path
from agentmon.lake.partials import COUNTED, Partials
from agentmon.stream.counts import action_counts, newest_metrics
from agentmon.stream.files import files_of, remove, write_files
from agentmon.stream.locks import WRITER_FILE
from agentmon.stream.memory import give_back
from agentmon.stream.output import MESSAGE_COUNTS, encode
from agentmon.stream.parse import Parser
from agentmon.stream.parsed import Parsed, joined, side_by_side
from agentmon.stream.repeats import Places, move_repeats
from agentmon.stream.updates import newest_rows

#: A task writes its rows and drops them each time that so many bytes of messages have come.
PIECE_BYTES = 48 * 1024 * 1024


@dataclass(frozen=True)
class Task:
    """Plain values, which Spark pickles: the same for all tasks of a micro-batch.

    lake: path or URI. batch: its name. writer: what the lake's WRITER_FILE says, None on an object store. newest: rows per agent, and in all, that a task reports for agent.monitor.frontend. repeats:
    messages that are known to be second copies.
    """

    lake: str
    batch: str
    writer: str | None
    limits: Limits
    topic_ids: Mapping[str, str]
    ingest_time: datetime
    window_s: float
    newest: tuple[int, int]
    repeats: Places = field(default_factory=dict)

    def run(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """For mapInArrow. Raises OSError where files can't be written, and leaves none of them then."""
        if self.writer is not None and _text_of(local_path(self.lake) / WRITER_FILE) != self.writer:
            yield encode({"without_lake": pa.table({"host": [socket.gethostname()]})})
            return
        written: list[pa.Table] = []
        try:
            for rows in self._pieces(batches):
                yield self._finish(rows, written)
        except BaseException:
            for files in written:
                table = files["table"][0].as_py()
                remove(files["path"].to_pylist(), files_of(self.lake, table))
            raise

    def _pieces(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Parsed]:
        """Rows of so many messages as are written at once."""
        parser = Parser(self.limits, self.topic_ids, self.ingest_time)
        parts: list[Parsed] = []
        size = 0
        for batch in batches:
            parts.append(parser.parse([batch]))
            size += batch.nbytes
            if size >= PIECE_BYTES:
                yield joined(parts)
                parts, size = [], 0
                give_back()
        if parts:
            yield joined(parts)

    def _finish(self, rows: Parsed, written: list[pa.Table]) -> pa.RecordBatch:
        """Write a piece's rows and count them; `written` gets the files as they are made (rows of FILES)."""
        rows = move_repeats(rows, self.repeats)
        first = len(written)
        for name, table in MESSAGE_TABLES.items():
            if rows[name].num_rows:
                written.append(write_files(rows[name], table, files_of(self.lake, name), self.batch))
        if first == len(written):
            return encode({})
        newest = newest_rows(rows, *self.newest)
        return encode({"files": pa.concat_tables(written[first:]), **figures_of(rows, self.window_s), "newest": newest})


def figures_of(rows: Parsed, window_s: float) -> dict[str, pa.Table]:
    """Additive figures of rows that have the columns COUNTED and their place in Kafka: parts of an Output."""
    counted = side_by_side(rows, COUNTED)
    places = side_by_side(rows, ("kafka_topic", "kafka_partition"))
    messages = places.group_by(["kafka_topic", "kafka_partition"]).aggregate([([], "count_all")])
    partials = _partials(window_s)
    return {
        "summaries": partials.summaries(counted),
        "sessions": partials.sessions(counted),
        "actions": action_counts(counted),
        "metrics": newest_metrics(counted),
        "messages": messages.rename_columns(MESSAGE_COUNTS.names).cast(MESSAGE_COUNTS),
    }


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


@cache
def _partials(window_s: float) -> Partials:
    """One DuckDB for as long as the worker lives: Spark uses it for many tasks, one after another."""
    return Partials(window_s)
