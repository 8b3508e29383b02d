"""Reading Kafka: all agent.* topics but those that the job itself publishes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame, SparkSession

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
