"""Where the job goes on, and when it must not."""

from __future__ import annotations

from functools import partial

import pytest
from tests.builders import parsed, row

from agentmon.errors import IncarnationError, OffsetsLostError
from agentmon.lake.ledger import Position
from agentmon.stream.batch import Batch, Range, now, parse_offsets, ranges_between, render_offsets
from agentmon.stream.kept import rows_in
from agentmon.stream.resume import ACCEPT_LOSS, ACCEPT_NEW_TOPICS, plan, settle, still_there, without

IDS = {"agent.actions": "id-1"}


def position(end: int, topic_id: str = "id-1", cluster: str = "c", partition: int = 0) -> Position:
    return Position(cluster, "agent.actions", topic_id, partition, end)


def made(positions: list[Position], beginning: int, end: int, **accepted: bool) -> object:
    return plan(positions, IDS, {("agent.actions", 0): (beginning, end)}, cluster_id="c", **accepted)


def test_goes_on_from_the_ledger() -> None:
    assert made([position(7)], 0, 9).start == {("agent.actions", 0): 7}


def test_reads_an_unknown_partition_from_its_beginning() -> None:
    assert made([], 3, 9).start == {("agent.actions", 0): 3}


def test_names_the_exact_ranges_that_kafka_dropped_unread() -> None:
    with pytest.raises(OffsetsLostError, match=r"agent\.actions\[0\] 7\.\.19 \(13 offsets\).*--accept-loss"):
        made([position(7)], 20, 30)


def test_goes_on_behind_an_accepted_gap() -> None:
    found = made([position(7)], 20, 30, accept_loss=True)
    assert found.start == {("agent.actions", 0): 20}
    assert found.lost == (Range("agent.actions", "id-1", 0, 7, 20),)


def test_notices_a_topic_made_anew() -> None:
    with pytest.raises(IncarnationError, match=rf"agent\.actions was deleted and made anew.*{ACCEPT_NEW_TOPICS}"):
        made([position(7, topic_id="id-0")], 0, 9)


def test_notices_another_cluster() -> None:
    with pytest.raises(IncarnationError, match="another Kafka cluster"):
        made([position(7, topic_id="id-0", cluster="old")], 0, 9)


def test_reads_the_new_incarnation_from_its_beginning_once_accepted() -> None:
    assert made([position(7, topic_id="id-0")], 0, 9, accept_new_topics=True).start == {("agent.actions", 0): 0}


def test_goes_on_with_an_incarnation_that_was_accepted_before() -> None:
    assert made([position(7, topic_id="id-0"), position(5)], 0, 9).start == {("agent.actions", 0): 5}


def test_stops_where_kafka_ends_before_the_lake() -> None:
    with pytest.raises(IncarnationError, match=r"ends at offset 5.*up to 7"):
        made([position(7)], 0, 5)


def test_the_flags_are_the_jobs() -> None:
    from agentmon.settings import project_root

    text = (project_root() / "jobs" / "streaming" / "monitor.py").read_text()
    assert ACCEPT_LOSS in text
    assert ACCEPT_NEW_TOPICS in text


def test_only_what_kafka_still_has_can_be_done_again() -> None:
    ranges = (Range("agent.actions", "id-1", 0, 5, 15), Range("agent.actions", "id-0", 1, 0, 5))
    batch = Batch("q", 1, ranges, now(), "c")
    assert still_there(batch, IDS, {("agent.actions", 0): (10, 12)}) == (Range("agent.actions", "id-1", 0, 10, 12),)


def test_ranges_without_others() -> None:
    one, other = Range("agent.actions", "id-1", 0, 5, 15), Range("agent.actions", "id-1", 1, 0, 5)
    taken = [one._replace(start=5, end=6), one._replace(start=9, end=12), one._replace(topic_id="id-0"), other]
    assert without([one, other], taken) == (one._replace(start=6, end=9), one._replace(start=12, end=15))
    assert without([one], []) == (one,)
    assert without([one], [one]) == ()


@pytest.mark.parametrize(
    ("found", "has_figures", "sealed", "lost"),
    [
        ((3, 4), False, (0, 1), ()),
        ((3, 1), False, (0, 1), (1,)),
        ((0, 4), False, (1,), (0,)),
        ((0, 0), False, (), (0, 1)),
        ((0, 1), True, (0, 1), ()),
    ],
    ids=["all kept", "part kept", "one kept", "none kept", "what is missing never was a message"],
)
def test_of_a_half_done_batch_only_what_no_table_has_is_lost(
    found: tuple[int, int], has_figures: bool, sealed: tuple[int, ...], lost: tuple[int, ...]
) -> None:
    ranges = (Range("agent.actions", "id-1", 0, 5, 8), Range("agent.actions", "id-1", 1, 0, 4))
    batch = Batch("q", 1, ranges, now(), "c")
    settled = settle(batch, ranges, dict(zip(ranges, found, strict=True)), has_figures=has_figures)
    assert settled == (tuple(ranges[n] for n in sealed), tuple(ranges[n] for n in lost))


def test_rows_are_counted_by_range() -> None:
    of = partial(Range, "agent.actions")
    rows = parsed(*(row(offset=n) for n in (1, 2, 7)), row("thoughts", offset=4), row(offset=3, kafka_topic_id="id-0"))
    ranges = [of("id", 0, 1, 5), of("id", 0, 6, 7), of("id", 1, 0, 9), of("id-0", 0, 3, 4)]
    assert rows_in(ranges, rows) == dict(zip(ranges, (3, 0, 0, 1), strict=True))
    assert rows_in(ranges, {}) == dict.fromkeys(ranges, 0)


def test_a_batch_survives_being_written_down() -> None:
    batch = Batch("q", 1, (Range("agent.actions", "id-1", 0, 5, 15),), now(), "c")
    assert Batch.from_json(batch.to_json()) == batch
    assert Batch.from_json('{"somebody": "else"}') is None
    assert Batch.from_json(None) is None


def test_offsets_are_sparks() -> None:
    offsets = {("agent.actions", 0): 5, ("agent.actions", 1): 7}
    assert parse_offsets(render_offsets(offsets)) == offsets
    assert ranges_between({("agent.actions", 0): 5}, offsets, IDS) == (Range("agent.actions", "id-1", 1, 0, 7),)
