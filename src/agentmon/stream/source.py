"""Reading Kafka with Spark: all agent.* topics but those that the job itself publishes to.

Out: frames with the columns of stream/parse.py's MESSAGES. Committed messages alone: what a transaction aborted was
never said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from agentmon.contracts.topics import READ_PATTERN, Offsets, Place
from agentmon.lake.files import is_local, local_path
from agentmon.stream.batch import Range, parse_offsets, render_offsets
from agentmon.stream.parse import MESSAGES

_OPTIONS = {
    "includeHeaders": "true",
    "failOnDataLoss": "true",  # it is for the user to accept a loss
    "kafka.isolation.level": "read_committed",
    # At the end of a partition a task waits for so long, partition after partition.
    "kafka.fetch.max.wait.ms": "10",
    "kafka.max.poll.records": "10000",
}
#: Of the files that Spark writes before each micro-batch: the only layout that `batch_end` knows.
_OFFSETS_VERSION = "v1"


def read_stream(
    spark: SparkSession, kafka: Mapping[str, str], start: Mapping[Place, int], *, most: int, most_of_partition: int
) -> DataFrame:
    """An unbounded frame of Kafka's messages from `start` on.

    `start` must name every partition that exists. Topics that come later are read from their beginning. A micro-batch has
    `most` offsets at the most; a task reads a partition in pieces of `most_of_partition`.
    """
    return _columns(
        spark.readStream.format("kafka")
        .options(**kafka, **_OPTIONS)
        .option("subscribePattern", READ_PATTERN)
        .option("startingOffsets", render_offsets(start))
        .option("maxOffsetsPerTrigger", str(most))
        .option("maxRecordsPerPartition", str(most_of_partition))
        .load()
    )


def read_ranges(spark: SparkSession, kafka: Mapping[str, str], ranges: Sequence[Range]) -> DataFrame:
    """The messages of exactly these ranges, of which there is one at least. Raises nothing before it is run."""
    partitions: dict[str, list[int]] = {}
    for r in ranges:
        partitions.setdefault(r.topic, []).append(r.partition)
    return _columns(
        spark.read.format("kafka")
        .options(**kafka, **_OPTIONS)
        .option("assign", json.dumps(partitions))
        .option("startingOffsets", render_offsets({(r.topic, r.partition): r.start for r in ranges}))
        .option("endingOffsets", render_offsets({(r.topic, r.partition): r.end for r in ranges}))
        .load()
    )


def batch_end(spark: SparkSession, checkpoint: str, number: int) -> Offsets:
    """Where a micro-batch of a query ends: the next offset of each partition.

    Spark writes it into the query's checkpoint before the micro-batch runs. The messages alone don't say it: markers and
    aborted messages of transactions take offsets too. Raises RuntimeError for a layout that is not known.
    """
    uri = f"{checkpoint}/offsets/{number}"
    if is_local(uri):
        lines = local_path(uri).read_text().splitlines()
    else:
        lines = [row.value for row in spark.read.text(uri).collect()]
    if len(lines) != 3 or lines[0] != _OFFSETS_VERSION:
        raise RuntimeError(f"{uri} is not as this version of Spark writes it ({lines[:1]}): use the pinned pyspark")
    return parse_offsets(lines[2])


def _columns(frame: DataFrame) -> DataFrame:
    columns = {name: F.to_json("headers") if name == "headers" else F.col(name) for name in MESSAGES.names}
    return frame.select(*(column.alias(name) for name, column in columns.items()))
