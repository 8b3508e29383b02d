"""Every offset accounted for: what the tables have, what the ledger says of the rest, what Kafka has.

Judged are the offsets from the first that the ledger has to its end. One that no table has and that was not
archived, purged, forgotten or accepted as lost is a hole if Kafka has a record there, or can't be asked any
more; without a record (markers and messages of aborted transactions, compaction) it is empty. Rows of aborted messages,
which early versions of the job stored, are rows like others. Rows above the ledger's end belong to a batch that is not
whole yet and are judged with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agentmon.contracts.tables import MESSAGE_TABLES
from agentmon.lake.connection import Connection, query
from agentmon.lake.ranges import Ranges, of_bits, size, united, within, without
from agentmon.lake.reading import reading

#: What became of offsets that no table has any more, the last word first.
GONE = ("forgotten", "purged", "archived", "lost")
NOT_IN_KAFKA = "no longer in Kafka to compare"
NOT_COMPARED = "not compared with Kafka"

#: (topic id, partition)
Key = tuple[str, int]


@dataclass
class Stored:
    """What the lake has of one partition of one incarnation of a topic."""

    topic: str
    topic_id: str
    partition: int
    entered: dict[str, Ranges] = field(default_factory=dict)
    #: (start, end, how many of its offsets had no message) of stored ranges that had such.
    sparse: list[tuple[int, int, int]] = field(default_factory=list)
    rows: int = 0
    quarantined: int = 0
    unsealed: int = 0
    present: Ranges = field(default_factory=list)
    repeats: Ranges = field(default_factory=list)

    @property
    def span(self) -> tuple[int, int]:
        """From the first offset that the ledger or a table has to the ledger's end."""
        known = [r for ranges in (*self.entered.values(), self.present) for r in ranges]
        return (min(start for start, _ in known), max(end for _, end in known)) if known else (0, 0)


@dataclass(frozen=True)
class InKafka:
    """One partition as Kafka has it now: offsets [begin, end)."""

    topic: str
    topic_id: str
    partition: int
    begin: int
    end: int


@dataclass(frozen=True)
class Account:
    """One partition of one incarnation of a topic, accounted for; None where Kafka has no such thing."""

    topic: str
    topic_id: str
    partition: int
    kafka_begin: int | None
    kafka_end: int | None
    ledger_end: int | None
    rows: int
    quarantined: int
    pending: int
    gone: dict[str, int]
    empty: int
    holes: list[tuple[int, int, str]]
    repeats: Ranges

    @property
    def in_kafka(self) -> int | None:
        """How many offsets Kafka has."""
        return None if self.kafka_begin is None or self.kafka_end is None else self.kafka_end - self.kafka_begin

    @property
    def hole_count(self) -> int:
        """Offsets that are missing."""
        return size((start, end) for start, end, _ in self.holes)

    @property
    def repeat_count(self) -> int:
        """Offsets that are there more than once."""
        return size(self.repeats)


#: (topic, partition, ranges) → (those of them where Kafka has records, those that could be compared)
Compare = Callable[[str, int, Ranges], tuple[Ranges, Ranges]]


def account(stored: Mapping[Key, Stored], kafka: Mapping[Key, InKafka] | None, compare: Compare) -> list[Account]:
    """Lake and Kafka side by side, in order of topic; `kafka` is None where it can't be asked."""
    there = kafka or {}
    unread = {key: Stored(place.topic, place.topic_id, place.partition) for key, place in there.items()}
    found = [_judge(one, there.get(key), kafka is not None, compare) for key, one in {**unread, **stored}.items()]
    return sorted(found, key=lambda one: (one.topic, one.in_kafka is not None, one.topic_id, one.partition))


def _judge(stored: Stored, kafka: InKafka | None, has_kafka: bool, compare: Compare) -> Account:
    first, end = stored.span
    missing = without(united([(first, end)]), stored.present)
    gone = {}
    for kind in GONE:
        taken = within(missing, stored.entered.get(kind, []))
        missing = without(missing, taken)
        gone[kind] = size(taken)
    retained = within(missing, [(kafka.begin, kafka.end)]) if kafka and kafka.begin < kafka.end else []
    records, compared = compare(stored.topic, stored.partition, retained) if retained else ([], [])
    records = within(records, compared)
    empty = within(_empty_by_count(stored, missing), without(missing, compared))
    unknown = without(without(missing, compared), empty)
    why_gone = NOT_IN_KAFKA if has_kafka else NOT_COMPARED
    reasons = [(why_gone, without(unknown, retained)), (NOT_COMPARED, within(unknown, retained)), ("", records)]
    holes = sorted((start, stop, why) for why, ranges in reasons for start, stop in ranges)
    unread = [(max(kafka.begin, end), kafka.end)] if kafka else []
    return Account(
        topic=stored.topic,
        topic_id=stored.topic_id,
        partition=stored.partition,
        kafka_begin=kafka.begin if kafka else None,
        kafka_end=kafka.end if kafka else None,
        ledger_end=end if stored.entered else None,
        rows=stored.rows,
        quarantined=stored.quarantined,
        pending=size(united(unread)) if kafka else stored.unsealed,
        gone=gone,
        empty=size(compared) - size(records) + size(empty),
        holes=holes,
        repeats=stored.repeats,
    )


def _empty_by_count(stored: Stored, missing: Ranges) -> Ranges:
    """What is missing of ranges of which no more is missing than was without a message when they were stored."""
    found: Ranges = []
    for start, end, without_message in stored.sparse:
        part = within(missing, [(start, end)])
        if size(part) <= without_message:
            found += part
    return united(found)


def read_stored(lake: str) -> dict[Key, Stored]:
    """What the lake has, by (topic id, partition). Raises NoLakeError where there is no lake yet."""
    with reading(lake, *MESSAGE_TABLES) as con:
        found = _ledger(con)
        con.execute('CREATE TEMP TABLE audit_ends (topic_id VARCHAR, "partition" INTEGER, end_offset BIGINT)')
        if found:
            ends = [(*key, one.span[1]) for key, one in found.items()]
            con.executemany("INSERT INTO audit_ends VALUES (?, ?, ?)", ends)
        tables = " UNION ALL ".join(query("audit_offsets").format(table=table) for table in MESSAGE_TABLES)
        con.execute(f"CREATE TEMP VIEW audit_offsets AS {tables}")
        con.execute(query("audit_blocks"))
        _add_blocks(con, found)
        _add_repeats(con, found)
        return found


def _ledger(con: Connection) -> dict[Key, Stored]:
    entered: dict[Key, dict[str, Ranges]] = {}
    topics: dict[Key, str] = {}
    sparse: dict[Key, list[tuple[int, int, int]]] = {}
    for topic, topic_id, partition, kind, start, end, messages in con.execute(query("audit_ledger")).fetchall():
        topics[topic_id, partition] = topic
        if messages is not None and messages < end - start:
            sparse.setdefault((topic_id, partition), []).append((start, end, end - start - messages))
        entered.setdefault((topic_id, partition), {}).setdefault(kind, []).append((start, end))
    return {
        key: Stored(topics[key], *key, {kind: united(ranges) for kind, ranges in kinds.items()}, sparse.get(key, []))
        for key, kinds in entered.items()
    }


def _add_blocks(con: Connection, found: dict[Key, Stored]) -> None:
    columns = 'topic, topic_id, "partition", sealed, block, rows, quarantined, lowest, highest, digits'
    blocks = con.execute(f"SELECT {columns} FROM audit_blocks")
    while some := blocks.fetchmany(256):
        for topic, topic_id, partition, sealed, block, rows, quarantined, lowest, highest, digits in some:
            one = found.setdefault((topic_id, partition), Stored(topic, topic_id, partition))
            if not sealed:
                one.unsealed += rows
                continue
            one.rows += rows
            one.quarantined += quarantined
            one.present += [(lowest, highest + 1)] if digits is None else of_bits(digits, block << 16)
    for one in found.values():
        one.present = united(one.present)


def _add_repeats(con: Connection, found: dict[Key, Stored]) -> None:
    suspect = con.execute("SELECT count(*) FROM audit_blocks WHERE sealed AND rows > different").fetchone()
    if not suspect or not suspect[0]:
        return
    for topic_id, partition, first, end in con.execute(query("audit_repeats")).fetchall():
        found[topic_id, partition].repeats.append((first, end))
