"""The audit finds what was planted, and nothing else."""

from __future__ import annotations

import pytest
from tests.lake.conftest import MakeLake
from tests.lake.rows import Row, message, sealed

from agentmon.lake.audit import NOT_COMPARED, NOT_IN_KAFKA, Account, InKafka, account, read_stored
from agentmon.lake.ranges import Ranges, within


def rows(*offsets: int, **fields: object) -> list[Row]:
    return [message(offset=offset, **fields) for offset in offsets]


def in_kafka(begin: int, end: int, topic_id: str = "id") -> InKafka:
    return InKafka("agent.actions", topic_id, 0, begin, end)


def audited(lake: str, *kafka: InKafka, records: Ranges | None = None) -> list[Account]:
    """As the command does it; `records`: where Kafka really has one, everywhere unless told otherwise."""

    def compare(topic: str, partition: int, ranges: Ranges) -> tuple[Ranges, Ranges]:
        return (ranges if records is None else within(ranges, records)), ranges

    places = {(place.topic_id, place.partition): place for place in kafka}
    return account(read_stored(lake), places or None, compare)


@pytest.fixture(scope="module")
def planted(make_lake: MakeLake) -> str:
    """10 sealed offsets of which 2, 3 and 7 are missing and 4, 5 and 6 are there twice: 10 rows all the same."""
    return make_lake(
        actions=rows(0, 1, 4, 5, 6, 8),
        events=rows(4, 5, 9),
        quarantine=rows(6),
        ledger=[sealed(1, end=6), sealed(2, end=10, start_offset=6)],
    )


def test_holes_and_repeats_show_though_they_cancel_in_the_count(planted: str) -> None:
    [found] = audited(planted, in_kafka(0, 12))
    assert found.rows == 10
    assert found.holes == [(2, 4, ""), (7, 8, "")]
    assert found.repeats == [(4, 7)]
    assert (found.hole_count, found.repeat_count, found.quarantined, found.pending) == (3, 3, 1, 2)


def test_an_offset_without_a_record_is_no_hole(planted: str) -> None:
    [found] = audited(planted, in_kafka(0, 10), records=[(0, 7), (8, 10)])
    assert (found.holes, found.empty) == ([(2, 4, "")], 1)


def test_aborted_messages_are_no_holes_and_where_an_older_job_stored_them_no_fault(make_lake: MakeLake) -> None:
    """0 to 2 were aborted, 3 is their marker, 4 and 5 are committed, 6 is their marker."""
    whole = sealed(1, end=7)
    for stored, without_record in (((4, 5), 5), ((0, 1, 2, 4, 5), 2)):
        [found] = audited(make_lake(actions=rows(*stored), ledger=[whole]), in_kafka(0, 7), records=[(4, 6)])
        assert (found.rows, found.empty, found.pending) == (len(stored), without_record, 0)
        assert found.rows + found.empty == found.in_kafka
        assert (found.holes, found.repeats) == ([], [])


def test_what_an_open_transaction_keeps_from_being_compared_is_counted(make_lake: MakeLake) -> None:
    """An older job stored what came after its messages, but for a marker at 3; from 2 on Kafka can't tell."""
    lake = make_lake(actions=rows(0, 1, 2, 4), ledger=[sealed(1, end=5, messages=4)])
    places = {("id", 0): in_kafka(0, 9)}
    [found] = account(read_stored(lake), places, lambda *_: ([], []))
    assert (found.rows, found.empty, found.pending, found.holes) == (4, 1, 4, [])


def test_a_hole_that_kafka_no_longer_has_is_still_one(planted: str) -> None:
    [found] = audited(planted, in_kafka(7, 10))
    assert found.holes == [(2, 4, NOT_IN_KAFKA), (7, 8, "")]


def test_without_kafka_the_lake_alone_is_judged(planted: str) -> None:
    [found] = audited(planted)
    assert found.holes == [(2, 4, NOT_COMPARED), (7, 8, NOT_COMPARED)]
    assert found.in_kafka is None


def test_what_the_ledger_says_is_gone_is_no_hole(make_lake: MakeLake) -> None:
    lake = make_lake(
        actions=rows(0, 9),
        ledger=[
            sealed(1, end=6),
            sealed(2, 1, end=8, start_offset=6, kind="lost", query_id="accepted"),
            sealed(3, 2, end=10, start_offset=8),
            sealed(0, 3, end=5, kind="archived", query_id="nightly"),
            sealed(0, 4, end=3, kind="purged", query_id="nightly"),
            sealed(0, 4, end=6, start_offset=5, kind="forgotten", query_id="nightly"),
        ],
    )
    [found] = audited(lake, in_kafka(8, 10))
    assert found.gone == {"forgotten": 1, "purged": 2, "archived": 2, "lost": 2}
    assert found.holes == [(8, 9, "")]


def test_a_marker_that_kafka_no_longer_has_is_no_hole_while_the_count_is_right(make_lake: MakeLake) -> None:
    """The ledger says how many messages each range had: 4 of 6 and 2 of 4, of which one is lost."""
    lake = make_lake(
        actions=rows(0, 1, 3, 4, 6),
        ledger=[sealed(1, end=6, messages=4), sealed(2, start_offset=6, end=10, messages=2)],
    )
    [found] = audited(lake, in_kafka(10, 10))
    assert (found.holes, found.empty) == ([(7, 10, NOT_IN_KAFKA)], 2)
    [found] = audited(lake)
    assert (found.holes, found.empty) == ([(7, 10, NOT_COMPARED)], 2)
    [found] = audited(lake, in_kafka(5, 10), records=[(8, 9)])
    assert (found.holes, found.empty) == ([(8, 9, "")], 4)


def test_a_range_that_the_ledger_leaves_out_is_a_hole(make_lake: MakeLake) -> None:
    lake = make_lake(actions=rows(3, 4, 7), ledger=[sealed(1, start_offset=3, end=5), sealed(2, start_offset=7, end=8)])
    [found] = audited(lake, in_kafka(0, 8))
    assert found.holes == [(5, 7, "")]


def test_incarnations_are_accounted_for_apart(make_lake: MakeLake) -> None:
    lake = make_lake(
        actions=[*rows(0, 1, 2), *rows(0, 1, kafka_topic_id="remade")],
        ledger=[sealed(1, end=3), sealed(2, end=2, kafka_topic_id="remade")],
    )
    found = audited(lake, in_kafka(0, 2, "remade"))
    assert [(one.topic_id, one.in_kafka, one.rows, one.hole_count, one.repeat_count) for one in found] == [
        ("id", None, 3, 0, 0),
        ("remade", 2, 2, 0, 0),
    ]


def test_an_unsealed_batch_is_pending(make_lake: MakeLake) -> None:
    lake = make_lake(
        actions=rows(0, 1, 2, 4, 4),
        thoughts=rows(0, kafka_topic="agent.thoughts", kafka_topic_id="new"),
        ledger=[sealed(1, end=2)],
    )
    actions, thoughts = audited(lake)
    assert (actions.rows, actions.pending, actions.holes, actions.repeats) == (2, 3, [], [])
    assert (thoughts.topic, thoughts.rows, thoughts.pending) == ("agent.thoughts", 0, 1)
    [with_kafka] = [one for one in audited(lake, in_kafka(0, 5)) if one.topic == "agent.actions"]
    assert with_kafka.pending == 3


def test_a_topic_that_was_never_read_is_pending(empty_lake: str) -> None:
    [found] = audited(empty_lake, in_kafka(5, 9))
    assert (found.in_kafka, found.rows, found.pending, found.holes) == (4, 0, 4, [])


def test_it_works_across_blocks(make_lake: MakeLake) -> None:
    edge = 65_536
    lake = make_lake(
        actions=rows(edge - 2, edge - 1, edge, edge + 2, 3 * edge, 3 * edge),
        ledger=[sealed(1, start_offset=edge - 2, end=3 * edge + 1)],
    )
    [found] = audited(lake)
    assert found.holes == [(edge + 1, edge + 2, NOT_COMPARED), (edge + 3, 3 * edge, NOT_COMPARED)]
    assert found.repeats == [(3 * edge, 3 * edge + 1)]
