"""Where topics begin and end, and how far a group has come."""

from __future__ import annotations

from collections.abc import Mapping

from kafka import IsolationLevel, KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from agentmon.contracts.topics import Offsets, Place
from agentmon.live.client import Connection


def beginning_and_end(
    connection: Connection, partitions: Mapping[str, int], *, only_committed: bool = False
) -> dict[Place, tuple[int, int]]:
    """For topics with so many partitions: the first offset that Kafka still has, and the next one it will give.

    only_committed: the end is the last stable offset instead, where a reader of committed messages ends for now, that
    of the first open transaction where there is one.
    """
    isolation = IsolationLevel.READ_COMMITTED if only_committed else IsolationLevel.READ_UNCOMMITTED
    places = [TopicPartition(topic, number) for topic, count in partitions.items() for number in range(count)]
    if not places:
        return {}
    begins, ends = connection.ask(
        lambda client: (
            client.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST)),
            client.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST), isolation),
        )
    )
    return {(place.topic, place.partition): (begins[place].offset, ends[place].offset) for place in places}


def newest_times(connection: Connection, partitions: Mapping[str, int]) -> dict[Place, float]:
    """The latest timestamp of any message of each partition that has one, seconds since 1970.

    It is the sender's clock's, or the broker's where the topic has message.timestamp.type=LogAppendTime.
    """
    places = [TopicPartition(topic, number) for topic, count in partitions.items() for number in range(count)]
    if not places:
        return {}
    wanted = dict.fromkeys(places, OffsetSpec.MAX_TIMESTAMP)
    newest = connection.ask(lambda client: client.list_partition_offsets(wanted))
    return {(at.topic, at.partition): entry.timestamp / 1000 for at, entry in newest.items() if entry.timestamp >= 0}


def commit_group(connection: Connection, group: str, offsets: Mapping[Place, int]) -> None:
    """Note how far `group` has come (the next offset to read), without joining it, for Kafka's own lag tools.

    Raises KafkaUnreachable where Kafka refuses: a consumer is a member of the group, say.
    """
    wanted = {TopicPartition(*place): OffsetAndMetadata(offset, "", None) for place, offset in offsets.items()}
    connection.ask(lambda client: _commit(client, group, wanted))


def committed(connection: Connection, group: str) -> Offsets:
    """How far a group has come: the next offset to read of each partition that it has noted."""
    groups = connection.ask(lambda client: client.list_group_offsets([group]))
    return {(place.topic, place.partition): noted.offset for place, noted in groups.get(group, {}).items()}


def _commit(client: KafkaAdminClient, group: str, wanted: dict[TopicPartition, OffsetAndMetadata]) -> None:
    answers = client.alter_group_offsets(group, wanted)
    for place, error in answers.items():
        if issubclass(error, KafkaError) and error.errno:
            raise error(f"the offset of {place.topic}-{place.partition} was refused for group {group}")
