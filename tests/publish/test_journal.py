"""What is on disk outlives its process, and says what may have been sent."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from agentmon.publish.journal import SEGMENT_BYTES, Journal, left_behind
from agentmon.publish.outbox import FOLDER, Outbox
from agentmon.publish.record import Record, frame


def put(journal: Journal, *values: str) -> None:
    for value in values:
        journal.append(frame("agent.actions", b"a", value.encode(), False))


def rest(journal: Journal) -> list[Record]:
    found: list[Record] = []
    place = journal.acked
    while batch := list(journal.read(place)):
        found += batch
        place = batch[-1].end
    return found


def values(records: list[Record]) -> list[str]:
    return [record.value.decode() for record in records]


def left(tmp_path: Path) -> Journal:
    (folder,) = left_behind(tmp_path)
    journal = Journal.adopt(folder)
    assert journal is not None
    return journal


def test_who_lives_is_left_alone_and_who_is_dead_is_adopted_once(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    put(journal, "1")
    (folder,) = left_behind(tmp_path)
    assert Journal.adopt(folder) is None
    journal.drop()  # as the kernel does at the end of a process
    adopted = Journal.adopt(folder)
    assert adopted is not None
    assert Journal.adopt(folder) is None
    assert values(rest(adopted)) == ["1"]


def test_only_what_was_on_its_way_is_marked(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    put(journal, "acked", "sent", "sent too", "never sent")
    ends = [record.end for record in journal.read(0)]
    journal.hand_over(ends[2])
    journal.acknowledge(ends[0])
    journal.drop()
    records = rest(left(tmp_path))
    assert [(r.value.decode(), r.maybe_repeat) for r in records] == [
        ("sent", True),
        ("sent too", True),
        ("never sent", False),
    ]


def test_half_a_message_at_the_end_was_never_accepted(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    put(journal, "whole", "half")
    (segment,) = journal.folder.glob("*.log")
    os.truncate(segment, segment.stat().st_size - 1)
    journal.drop()
    assert values(rest(left(tmp_path))) == ["whole"]


@pytest.mark.parametrize("damage", [b"", b"x" * 20, None])
def test_without_its_bookmark_everything_is_sent_and_marked(tmp_path: Path, damage: bytes | None) -> None:
    journal = Journal.create(tmp_path)
    put(journal, "1", "2")
    journal.drop()
    mark = journal.folder / "bookmark"
    mark.unlink() if damage is None else mark.write_bytes(damage)
    assert [(r.value, r.maybe_repeat) for r in rest(left(tmp_path))] == [(b"1", True), (b"2", True)]


def test_segments_that_kafka_has_are_removed(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    big = "x" * (SEGMENT_BYTES // 3)
    put(journal, *(f"{n}{big}" for n in range(12)))
    assert len(list(journal.folder.glob("*.log"))) == 4
    records = rest(journal)
    assert [r.value[:2] for r in records] == [f"{n}x".encode()[:2] for n in range(12)]
    journal.acknowledge(records[7].end)
    assert len(list(journal.folder.glob("*.log"))) == 2
    journal.drop()
    again = left(tmp_path)
    assert len(rest(again)) == 4
    again.acknowledge(again.written)
    again.close()
    assert list(left_behind(tmp_path)) == []


def test_no_room_on_disk_goes_to_memory_and_then_to_disk_again(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, 10**9)
    assert outbox.accept("agent.actions", b"a", b"1")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # A full disk, as far as write() can tell: half a message fits.
        resource.setrlimit(resource.RLIMIT_FSIZE, (60, hard))
        assert outbox.accept("agent.actions", b"a", b"2" * 100)
        assert outbox.accept("agent.actions", b"a", b"3")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    stats = outbox.stats()
    assert (stats.accepted, stats.spilled, stats.in_memory, stats.dropped) == (3, 3, 2, 0)
    assert "can't be written" in str(outbox.trouble)
    found = [record.value[:1] for source in outbox.sources() for record in source.read(0)]
    assert found == [b"1", b"2", b"3"]
    for source in outbox.sources():
        outbox.settle(source, source.written, source.pending, 0)
    assert outbox.accept("agent.actions", b"a", b"4")
    assert outbox.stats().in_memory == 0


def test_beyond_the_bound_new_ones_are_dropped_and_counted(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, 1_000)
    took = [outbox.accept("agent.actions", b"a", b"x" * 80) for _ in range(20)]
    stats = outbox.stats()
    assert took == [True] * stats.spilled + [False] * stats.dropped, "the oldest are kept"
    assert stats.accepted == 20 == stats.sent + stats.spilled + stats.dropped
    assert stats.spilled_bytes <= 1_000
    # What was left behind counts too: a process that starts again and again does not fill the disk.
    outbox.forget()
    again = Outbox(tmp_path, 1_000)
    assert again.adopt() == stats.spilled_bytes
    assert not again.accept("agent.actions", b"a", b"x" * 80)


def test_folder_that_can_not_be_made_is_no_trouble_for_the_agent(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("a file in the way")
    outbox = Outbox(tmp_path, 1_000)
    assert outbox.accept("agent.actions", b"a", b"1")
    assert outbox.stats().in_memory == 1
