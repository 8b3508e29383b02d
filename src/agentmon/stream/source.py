"""Reading Kafka: all agent.* topics but those that the job itself publishes to.

Spark plans: it finds the topics, says where a micro-batch ends and what was lost. The messages themselves are
fetched (live/fetcher.py) where they are parsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from agentmon.contracts.topics import READ_PATTERN, Place
from agentmon.live.fetcher import Fetcher
from agentmon.settings import Settings
from agentmon.stream.batch import Range, render_offsets


def read_stream(spark: SparkSession, kafka: Mapping[str, str], start: Mapping[Place, int], **options: str) -> DataFrame:
    """An unbounded frame of Kafka's messages from `start` on.

    `start` must name every partition that exists. Topics that come later are read from their beginning.
    Loss of unread offsets stops the query: it is for the user to accept it.
    """
    return (
        spark.readStream.format("kafka")
        .options(**kafka)
        .option("subscribePattern", READ_PATTERN)
        .option("startingOffsets", render_offsets(start))
        .option("failOnDataLoss", "true")
        .options(**options)
        .load()
    )


def read_ranges(settings: Settings, ranges: Sequence[Range], most: int) -> Iterator[pa.Table]:
    """The messages of exactly these ranges, in pieces of some `most` messages. Raises as Fetcher does."""
    ends = {(r.topic, r.partition): r.end for r in ranges}
    fetcher = Fetcher(settings, {(r.topic, r.partition): r.start for r in ranges}, most)
    try:
        while any(fetcher.position[place] < end for place, end in ends.items()):
            messages = fetcher.read(ends, lambda: False).messages
            yield messages.filter(pa.array(_are_before(messages, ends), pa.bool_()))
    finally:
        fetcher.close()


def _are_before(messages: pa.Table, ends: Mapping[Place, int]) -> list[bool]:
    places = zip(messages["topic"].to_pylist(), messages["partition"].to_pylist(), strict=True)
    return [offset < ends[place] for place, offset in zip(places, messages["offset"].to_pylist(), strict=True)]
