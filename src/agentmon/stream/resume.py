"""Where the job goes on: from the ledger, never from a checkpoint.

1. Every partition's next offset is what the ledger says; a partition that it does not know is read
   from its beginning.
2. A batch that reached some tables but not the ledger is found by the description in those tables'
   commits, and done again under its own name: tables that have it skip it, the others get it.
3. What can't be continued without loss stops the job with the exact ranges and the flag that accepts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from agentmon.contracts.tables import TABLES
from agentmon.contracts.topics import Offsets, Place, is_read
from agentmon.errors import IncarnationError, OffsetsLostError
from agentmon.lake import ranges as offset_ranges
from agentmon.lake.files import newest_commits
from agentmon.lake.ledger import Position
from agentmon.stream.batch import Batch, Range

ACCEPT_LOSS = "--accept-loss"
ACCEPT_NEW_TOPICS = "--accept-new-topics"

#: (beginning, end) of each partition.
Bounds = Mapping[Place, tuple[int, int]]


@dataclass(frozen=True)
class Plan:
    """`start`: next offset of every partition that exists; `lost`: ranges that Kafka dropped unread."""

    start: Offsets
    lost: tuple[Range, ...]


def plan(
    positions: Sequence[Position],
    topic_ids: Mapping[str, str],
    offsets: Bounds,
    *,
    cluster_id: str,
    accept_loss: bool = False,
    accept_new_topics: bool = False,
) -> Plan:
    """Compare what the ledger has with what Kafka has.

    `offsets` is (beginning, end) of every partition that the job reads. Raises IncarnationError for
    a topic that is not the one that the ledger knows, OffsetsLostError for offsets that were dropped
    unread, each unless accepted.
    """
    if not accept_new_topics:
        _check_incarnations(positions, topic_ids, cluster_id)
    stored = {(p.topic, p.partition): p.end_offset for p in positions if topic_ids.get(p.topic) == p.topic_id}
    start: Offsets = {}
    lost: list[Range] = []
    for key, (beginning, end) in sorted(offsets.items()):
        at = stored.get(key, beginning)
        start[key] = max(at, beginning)
        if at < beginning:
            lost.append(Range(key[0], topic_ids[key[0]], key[1], at, beginning))
        elif at > end:
            raise IncarnationError(
                f"{key[0]} partition {key[1]} ends at offset {end}, but the lake has it up to {at}: Kafka has lost records that the lake "
                f"keeps. Restore the broker's data, or delete and remake the topic and start the job with {ACCEPT_NEW_TOPICS}"
            )
    if lost and not accept_loss:
        raise OffsetsLostError(
            f"Kafka has dropped offsets that were never read: {describe(lost)}. Lengthen the topics' retention; "
            f"to go on without them start the job with {ACCEPT_LOSS} (the gap stays on record)"
        )
    return Plan(start, tuple(lost))


def _check_incarnations(positions: Sequence[Position], topic_ids: Mapping[str, str], cluster_id: str) -> None:
    newest = {p.topic: p for p in positions}  # in order of commit: the last known incarnation wins
    changed = [t for t, p in sorted(newest.items()) if is_read(t) and t in topic_ids and topic_ids[t] != p.topic_id]
    if not changed:
        return
    what = f"{', '.join(changed)} {'was' if len(changed) == 1 else 'were'} deleted and made anew"
    if any(newest[t].cluster_id != cluster_id for t in changed):
        what = f"this is another Kafka cluster than the one that the lake was filled from ({what})"
    raise IncarnationError(
        f"{what}: offsets start over. To go on with the new incarnation beside the old rows start the job with {ACCEPT_NEW_TOPICS}"
    )


def describe(ranges: Iterable[Range]) -> str:
    """Ranges for a person: agent.actions[0] 5..9 (5 offsets), …"""
    return ", ".join(f"{r.topic}[{r.partition}] {r.start}..{r.end - 1} ({r.end - r.start} offsets)" for r in ranges)


def unsealed_batch(lake: str, is_sealed: Callable[[str, int], bool]) -> Batch | None:
    """The batch that is in some table's newest commits but not in the ledger, if there is one.

    Batches follow one another, so there is never more than one. `is_sealed(query_id, batch_id)` asks the ledger.
    """
    sealed: set[tuple[str, int]] = set()  # most tables end with the same batch, and asking takes a moment
    for table in TABLES:
        described = (Batch.from_json(commit.get("userMetadata")) for commit in newest_commits(f"{lake}/{table}"))
        batch = next((found for found in described if found is not None), None)
        if batch is None or (batch.query_id, batch.batch_id) in sealed:
            continue
        if not is_sealed(batch.query_id, batch.batch_id):
            return batch
        sealed.add((batch.query_id, batch.batch_id))
    return None


def still_there(batch: Batch, topic_ids: Mapping[str, str], offsets: Bounds) -> tuple[Range, ...]:
    """The part of a batch's ranges that Kafka still has, of the same incarnation."""
    kept = []
    for r in batch.ranges:
        if topic_ids.get(r.topic) != r.topic_id or (r.topic, r.partition) not in offsets:
            continue
        beginning, end = offsets[r.topic, r.partition]
        start, stop = max(r.start, beginning), min(r.end, end)
        if start < stop:
            kept.append(r._replace(start=start, end=stop))
    return tuple(kept)


def without(ranges: Iterable[Range], others: Iterable[Range]) -> tuple[Range, ...]:
    """What is left of ranges without these others."""
    taken: dict[tuple[str, str, int], list[offset_ranges.Range]] = {}
    for other in others:
        taken.setdefault(other[:3], []).append((other.start, other.end))
    return tuple(
        r._replace(start=start, end=end)
        for r in ranges
        for start, end in offset_ranges.without([(r.start, r.end)], offset_ranges.united(taken.get(r[:3], ())))
    )


class Settled(NamedTuple):
    """What becomes of a half-done batch that Kafka dropped in part: `sealed` of its ranges, none where nothing is left; `lost`."""

    sealed: tuple[Range, ...]
    lost: tuple[Range, ...]


def settle(batch: Batch, missing: Iterable[Range], found: Mapping[Range, int], *, has_figures: bool) -> Settled:
    """Which of a batch's ranges are sealed, and which are lost.

    `missing` is what Kafka no longer has, `found` how many of its messages the tables have; of a batch that has reached
    its figures, which come after all messages, they have them all. Where some are found the whole range is sealed: the
    ledger counts its messages, and has it as lost too.
    """
    lost = () if has_figures else tuple(r for r in missing if found[r] < r.end - r.start)
    return Settled(without(batch.ranges, (r for r in lost if not found[r])), lost)
