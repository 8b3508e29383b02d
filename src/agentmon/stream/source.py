"""Reading Kafka: all agent.* topics but those that the job itself publishes to; and fetching messages into the driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from agentmon.contracts.topics import READ_PATTERN
from agentmon.stream.batch import Range, render_offsets

#: Spark's reader asks Kafka, after each poll of a partition, where that begins and ends, and throws away what the
#: consumer fetched ahead (InternalKafkaConsumer.fetch). So: many records a poll. And the question waits behind the
#: fetch ahead, which at the end of a partition is held back for fetch.max.wait.ms (500 by default): so, briefly.
_POLLING = {"kafka.max.poll.records": "2000", "kafka.fetch.max.wait.ms": "10"}
#: Two tasks wait for Kafka at the same time, however little there is; a third is worth its cost where there are so many.
_TASKS = 2
_MESSAGES_A_TASK = 25_000


def read_stream(
    spark: SparkSession, kafka: Mapping[str, str], start: Mapping[tuple[str, int], int], **options: str
) -> DataFrame:
    """An unbounded frame of key, value, topic, partition, offset, timestamp_us and headers, from `start` on.

    `start` must name every partition that exists. Topics that come later are read from their beginning.
    Loss of unread offsets stops the query: it is for the user to accept it.
    """
    rows = (
        spark.readStream.format("kafka")
        .options(**_POLLING, **kafka)
        .option("subscribePattern", READ_PATTERN)
        .option("startingOffsets", render_offsets(start))
        .option("failOnDataLoss", "true")
        .option("includeHeaders", "true")
        .options(**options)
        .load()
    )
    return needed(rows)


def read_ranges(spark: SparkSession, kafka: Mapping[str, str], ranges: Sequence[Range]) -> DataFrame:
    """The messages of exactly these ranges, with the same columns as read_stream."""
    start = {(r.topic, r.partition): r.start for r in ranges}
    end = {(r.topic, r.partition): r.end for r in ranges}
    partitions: dict[str, list[int]] = {}
    for topic, partition in sorted(start):
        partitions.setdefault(topic, []).append(partition)
    assign = "{" + ",".join(f'"{topic}":{numbers}' for topic, numbers in partitions.items()) + "}"
    rows = (
        spark.read.format("kafka")
        .options(**_POLLING, **kafka)
        .option("assign", assign)
        .option("startingOffsets", render_offsets(start))
        .option("endingOffsets", render_offsets(end))
        .option("failOnDataLoss", "true")
        .option("includeHeaders", "true")
        .load()
    )
    return needed(rows)


def fetch(rows: DataFrame, messages: int = 0) -> pa.Table:
    """The messages of such a frame as they came, here; `messages`: how many, about.

    One task a partition would cost more than what they fetch; one alone waits for Kafka a partition at a time.
    """
    return rows.coalesce(max(_TASKS, 1 + messages // _MESSAGES_A_TASK)).toArrow()


def needed(rows: DataFrame) -> DataFrame:
    """Of the columns of Spark's Kafka source those that are read."""
    # A time as a number: as a timestamp, Python would look up its time zone for every row.
    us = F.unix_micros("timestamp").alias("timestamp_us")
    return rows.select("key", "value", "topic", "partition", "offset", us, "headers")
