"""Fetching messages into the driver, as many at once as its memory takes.

How large messages are is not known before they come: what does not fit is fetched again in smaller steps, and the sizes of
those that came decide how many are asked for next. So a backlog of huge messages costs no restart, and after it the
steps are as large as before.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from agentmon.stream.batch import Range, in_steps
from agentmon.stream.source import fetch, read_ranges

log = logging.getLogger(__name__)

#: What is fetched in one step, bytes: less than spark.driver.maxResultSize (conf/), as sizes vary.
_BYTES_AT_ONCE = 80 * 1024 * 1024
#: What Spark and the JVM say of a step that is too large for them.
_TOO_LARGE = ("spark.driver.maxResultSize", "OutOfMemoryError", "Java heap space")


class Fetcher:
    """Fetches ranges of Kafka's messages, at most `most` messages in one step."""

    def __init__(self, spark: SparkSession, kafka: Mapping[str, str], most: int) -> None:
        self._spark = spark
        self._kafka = kafka
        self._most = most
        self._at_once = most

    def steps(self, ranges: Sequence[Range], rows: DataFrame | None = None) -> Iterator[tuple[list[Range], pa.Table]]:
        """(what was fetched, the messages), in order. `rows`, where given, is a frame of all the ranges.

        Raises what Spark raises where not even a single message can be fetched.
        """
        left = list(ranges)
        while left:
            steps = math.ceil(messages_of(left) / self._at_once)
            step = next(in_steps(left, math.ceil(messages_of(left) / steps)))
            frame = rows if rows is not None and step == list(ranges) else read_ranges(self._spark, self._kafka, step)
            asked = messages_of(step)
            try:
                messages = fetch(frame, asked)
            except Exception as error:
                if asked == 1 or not any(sign in str(error) for sign in _TOO_LARGE):
                    raise
                self._at_once = max(1, asked // 8)
                log.info("%d messages were too large for the memory: now %d at once", asked, self._at_once)
                continue
            yield step, messages
            self._at_once = self._that_fit(messages)
            left = _after(step, left)

    def _that_fit(self, messages: pa.Table) -> int:
        """How many messages like these are fetched in one step."""
        if not len(messages):
            return self._at_once
        bytes_a_message: float = messages.nbytes / len(messages)
        return max(1, min(self._most, int(_BYTES_AT_ONCE / bytes_a_message)))


def messages_of(ranges: Sequence[Range]) -> int:
    """Offsets of the ranges: an upper bound of their messages."""
    return sum(r.end - r.start for r in ranges)


def _after(step: Sequence[Range], ranges: Sequence[Range]) -> list[Range]:
    """The ranges without a step of theirs."""
    done = {(r.topic, r.partition): r.end for r in step}
    rest = [r._replace(start=done.get((r.topic, r.partition), r.start)) for r in ranges]
    return [r for r in rest if r.start < r.end]
