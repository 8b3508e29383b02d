"""Reading Kafka: all agent.* topics but those that the job itself publishes to; and fetching messages into the driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from agentmon.contracts.topics import READ_PATTERN
from agentmon.stream.batch import Range, render_offsets


def read_stream(
    spark: SparkSession, kafka: Mapping[str, str], start: Mapping[tuple[str, int], int], **options: str
) -> DataFrame:
    """An unbounded frame of key, value, topic, partition, offset, timestamp, headers, from `start` on.

    `start` must name every partition that exists. Topics that come later are read from their beginning.
    Loss of unread offsets stops the query: it is for the user to accept it.
    """
    return (
        spark.readStream.format("kafka")
        .options(**kafka)
        .option("subscribePattern", READ_PATTERN)
        .option("startingOffsets", render_offsets(start))
        .option("failOnDataLoss", "true")
        .option("includeHeaders", "true")
        .options(**options)
        .load()
    )


def read_ranges(spark: SparkSession, kafka: Mapping[str, str], ranges: Sequence[Range]) -> DataFrame:
    """The messages of exactly these ranges, with the same columns as read_stream."""
    start = {(r.topic, r.partition): r.start for r in ranges}
    end = {(r.topic, r.partition): r.end for r in ranges}
    partitions: dict[str, list[int]] = {}
    for topic, partition in sorted(start):
        partitions.setdefault(topic, []).append(partition)
    assign = "{" + ",".join(f'"{topic}":{numbers}' for topic, numbers in partitions.items()) + "}"
    return (
        spark.read.format("kafka")
        .options(**kafka)
        .option("assign", assign)
        .option("startingOffsets", render_offsets(start))
        .option("endingOffsets", render_offsets(end))
        .option("failOnDataLoss", "true")
        .option("includeHeaders", "true")
        .load()
    )


def fetch(rows: DataFrame) -> pa.Table:
    """Messages of Spark's Kafka source as they came, here: key, value, topic, partition, offset, timestamp_us, headers.

    One task fetches them: one a partition costs more than a micro-batch's rows do.
    """
    # A time as a number: as a timestamp, Python would look up its time zone for every row.
    us = F.unix_micros("timestamp").alias("timestamp_us")
    return rows.coalesce(1).select("key", "value", "topic", "partition", "offset", us, "headers").toArrow()
