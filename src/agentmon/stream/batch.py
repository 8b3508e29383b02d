"""One micro-batch: which offsets it covers, and the constants that all of its rows share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from agentmon.contracts.topics import Offsets, Place


class Range(NamedTuple):
    """Offsets [start, end) of one partition of one incarnation of a topic."""

    topic: str
    topic_id: str
    partition: int
    start: int
    end: int


@dataclass(frozen=True)
class Batch:
    """What identifies a batch, and all that is needed to do it again.

    `query_id` is the run of the job, `batch_id` counts within it; together they are the Delta
    transaction (txnAppId, txnVersion) of every table's write.
    """

    query_id: str
    batch_id: int
    ranges: tuple[Range, ...]
    ingest_time: datetime
    cluster_id: str

    @property
    def name(self) -> str:
        """As the names of its files have it."""
        return f"{self.query_id}-{self.batch_id}"

    @property
    def messages(self) -> int:
        """Offsets covered (an upper bound of the messages: transaction markers take offsets too)."""
        return sum(r.end - r.start for r in self.ranges)

    def to_json(self) -> str:
        """As kept in the userMetadata of each Delta commit of this batch, for `Batch.from_json`."""
        return json.dumps(
            {
                "agentmon": 1,
                "query_id": self.query_id,
                "batch_id": self.batch_id,
                "ingest_time": self.ingest_time.isoformat(),
                "cluster_id": self.cluster_id,
                "ranges": self.ranges,
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str | None) -> Batch | None:
        """The batch that a commit's userMetadata describes; None where it describes none of ours."""
        try:
            found = json.loads(text or "")
        except ValueError:
            return None
        if not isinstance(found, dict) or "agentmon" not in found:
            return None
        return cls(
            found["query_id"],
            found["batch_id"],
            tuple(Range(*r) for r in found["ranges"]),
            datetime.fromisoformat(found["ingest_time"]),
            found["cluster_id"],
        )


def ranges_between(
    start: Mapping[Place, int], end: Mapping[Place, int], topic_ids: Mapping[str, str]
) -> tuple[Range, ...]:
    """The offsets between two positions, where there are any, in order of topic and partition."""
    return tuple(
        Range(topic, topic_ids[topic], partition, start.get((topic, partition), 0), offset)
        for (topic, partition), offset in sorted(end.items())
        if offset > start.get((topic, partition), 0)
    )


def parse_offsets(text: str) -> Offsets:
    """Spark's JSON of Kafka offsets, {"topic": {"partition": next offset}}, as (topic, partition) → offset."""
    found: dict[str, dict[str, int]] = json.loads(text)
    return {(topic, int(p)): offset for topic, partitions in found.items() for p, offset in partitions.items()}


def render_offsets(offsets: Mapping[Place, int]) -> str:
    """The inverse of parse_offsets."""
    found: dict[str, dict[str, int]] = {}
    for (topic, partition), offset in sorted(offsets.items()):
        found.setdefault(topic, {})[str(partition)] = offset
    return json.dumps(found)


def now() -> datetime:
    """The clock, in UTC, to the microsecond."""
    return datetime.now(UTC)
