"""Rows of Spark's Kafka source → parsed rows, by contracts/'s reader: on the executors, or in the driver.

A backlog is read by Spark's Python workers, a batch of Arrow at a time, on as many cores as there are. A micro-batch
of some hundred rows is read in the driver, where it costs no task of a worker. Both call the one function that says
what a message means.

Tried first and left: the same rules as some 300 Spark columns. A plan as wide takes the JVM minutes to compile, and the
rows had to be turned into Arrow after it (docs/decisions.md has the figures).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from agentmon.contracts.message import Limits, read
from agentmon.contracts.tables import MESSAGE_TABLES

_TYPES = {
    "string": pa.string(),
    "binary": pa.binary(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "map<string,double>": pa.map_(pa.string(), pa.float64()),
}
_COLUMNS = {c.name: c.type for table in MESSAGE_TABLES.values() for c in table.columns}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Parsed rows: `table`, and every column of every table of messages (null where a row's table has none).
PARSED = pa.schema({"table": pa.string()} | {name: _TYPES[type_] for name, type_ in _COLUMNS.items()})


class Reader:
    """Reads batches of Spark's Kafka rows; what it says depends on these constants and the rows alone."""

    def __init__(self, limits: Limits, topic_ids: Mapping[str, str], ingest_time: datetime) -> None:
        self._limits = limits
        self._topic_ids = dict(topic_ids)
        self._ingest_time = ingest_time

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """For Spark's mapInArrow: of each batch one row, whose one column holds the parsed batch as Arrow IPC.

        Spark then carries bytes; as columns it would turn all of them into rows of its own and back.
        """
        for batch in batches:
            parsed = self.read(batch)
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, PARSED) as stream:
                stream.write_batch(parsed)
            yield pa.RecordBatch.from_arrays([pa.array([sink.getvalue().to_pybytes()], pa.binary())], names=["parsed"])

    def read(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """key, value, topic, partition, offset, timestamp_us and headers → PARSED, row by row."""
        columns: dict[str, list[Any]] = {name: [] for name in PARSED.names}
        appends = [(name, values.append) for name, values in columns.items()]
        names = ("key", "value", "topic", "partition", "offset", "timestamp_us", "headers")
        for key, value, topic, partition, offset, us, headers in zip(
            *(batch.column(name).to_pylist() for name in names), strict=True
        ):
            row = read(
                value,
                topic=topic,
                partition=partition,
                offset=offset,
                kafka_timestamp=None if us is None else _EPOCH + timedelta(microseconds=us),
                key=key,
                headers=[(h["key"], h["value"]) for h in headers] if headers else (),
                topic_id=self._topic_ids.get(topic),
                ingest_time=self._ingest_time,
                limits=self._limits,
            )
            for name, append in appends:
                append(row[name])
        return pa.RecordBatch.from_arrays([pa.array(columns[f.name], f.type) for f in PARSED], schema=PARSED)


def parse_there(rows: DataFrame, *, limits: Limits, topic_ids: Mapping[str, str], ingest_time: datetime) -> pa.Table:
    """Parsed rows, read by Spark's workers and brought here."""
    told = _raw(rows).mapInArrow(Reader(limits, topic_ids, ingest_time), "parsed binary").toArrow()
    streams = (pa.ipc.open_stream(parsed.as_buffer()) for parsed in told["parsed"])
    return pa.Table.from_batches([batch for stream in streams for batch in stream], PARSED)


def parse_here(rows: DataFrame, *, limits: Limits, topic_ids: Mapping[str, str], ingest_time: datetime) -> pa.Table:
    """Parsed rows, read in this process; one task fetches them, as one a partition costs more than the rows do."""
    reader = Reader(limits, topic_ids, ingest_time)
    return pa.Table.from_batches(map(reader.read, _raw(rows.coalesce(1)).toArrow().to_batches()), PARSED)


def _raw(rows: DataFrame) -> DataFrame:
    # A time as a number: as a timestamp, Python would look up its time zone for every row.
    us = F.unix_micros("timestamp").alias("timestamp_us")
    return rows.select("key", "value", "topic", "partition", "offset", us, "headers")
