"""The processes that read: what they bring, and what becomes of them when somebody dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psutil
import pytest
from kafka import KafkaProducer, TopicPartition
from tests.builders import T0
from tests.stream.life import wait

from agentmon.live.client import Connection, client_config
from agentmon.settings import Settings
from agentmon.stream import reading
from agentmon.stream.reading import Readers, Rows, share_out

NewTopic = Callable[..., str]
Shares = list[dict[tuple[str, int], int]]


@contextmanager
def readers(settings: Settings, topic: str, partitions: int = 1, most: int = 1_000) -> Iterator[Readers]:
    made = Readers(settings, {(topic, number): 0 for number in range(partitions)}, most)
    try:
        yield made
    finally:
        made.close()


def send(settings: Settings, topic: str, count: int, partition: int = 0, **config: Any) -> None:
    producer = KafkaProducer(**client_config(settings), **config)
    for number in range(count):
        producer.send(topic, json.dumps({"type": "x", "n": number}).encode(), partition=partition)
    producer.close()


def offsets(rows: list[Rows], partition: int = 0) -> list[int]:
    """Of all rows, in the order in which they came."""
    tables = [one.parsed["events"].select(["kafka_partition", "kafka_offset"]).to_pylist() for one in rows]
    return [row["kafka_offset"] for table in tables for row in table if row["kafka_partition"] == partition]


def children() -> list[psutil.Process]:
    return [c for c in psutil.Process().children() if "agentmon.stream.reader" in c.cmdline()]


def test_each_message_comes_once_in_pieces_that_tell_where_they_end(broker: Settings, new_topic: NewTopic) -> None:
    topic = new_topic(partitions=2)
    for partition, count in enumerate((3_400, 40)):
        send(broker, topic, count, partition)
    ends = {(topic, 0): 3_400, (topic, 1): 40}
    with readers(broker, topic, partitions=2) as made:
        assert made.behind(ends) == 3_440
        rows = list(made.until(ends, {topic: "id"}, T0))
        assert made.behind(ends) == 0
        send(broker, topic, 1, partition=0)
        (last,) = made.until({(topic, 0): 3_401}, {topic: "id"}, T0)
        assert (offsets([last]), last.caught_up) == ([3_400], True)
    for partition, count in enumerate((3_400, 40)):
        assert offsets(rows, partition) == list(range(count))
    assert len(rows) > 1
    assert not any(one.caught_up for one in rows[:-1])
    for number, one in enumerate(rows):
        until_there = rows[: number + 1]
        assert one.end == {(topic, p): len(offsets(until_there, p)) for p in (0, 1)}
        assert set(one.parsed["events"]["kafka_topic_id"].to_pylist()) == {"id"}
        assert set(one.parsed["events"]["ingest_time"].to_pylist()) == {T0}


def test_nobody_has_caught_up_while_a_process_is_behind(broker: Settings, new_topic: NewTopic) -> None:
    """One that is slow to begin has messages that the driver knows of, while the other has brought all of its own."""
    topic = new_topic(partitions=2)
    for partition, count in enumerate((1_900, 40)):
        send(broker, topic, count, partition, batch_size=1)  # a batch a message: pieces of 500, 500, 500, 400
    with readers(broker, topic, partitions=2, most=1_000) as made:
        slow = psutil.Process(made._processes[1]._process.pid)
        slow.suspend()
        coming = made.until({(topic, 0): 1_900, (topic, 1): 40}, {topic: "id"}, T0)
        rows = [next(coming), next(coming)]
        slow.resume()
        rows += coming
    assert [one.end for one in rows] == [
        {(topic, 0): n, (topic, 1): m} for n, m in ((1_000, 0), (1_900, 0), (1_900, 40))
    ]
    assert [one.caught_up for one in rows] == [False, False, True]


@pytest.mark.parametrize(("held_bytes", "handed_on"), [(reading._HELD_BYTES, 1), (1, 2)])
def test_huge_messages_are_handed_on_before_they_are_many(
    broker: Settings, new_topic: NewTopic, monkeypatch: pytest.MonkeyPatch, held_bytes: int, handed_on: int
) -> None:
    monkeypatch.setattr(reading, "_HELD_BYTES", held_bytes)
    topic = new_topic(partitions=2)
    for partition in (0, 1):
        send(broker, topic, 10, partition)
    with readers(broker, topic, partitions=2) as made:
        rows = list(made.until({(topic, 0): 10, (topic, 1): 10}, {topic: "id"}, T0))
    assert len(rows) == handed_on
    assert [offsets(rows, partition) for partition in (0, 1)] == [list(range(10))] * 2


def test_pieces_of_both_processes_are_handed_on_together(broker: Settings, new_topic: NewTopic) -> None:
    """Also where each is a little more than what was asked for, as it ends with a batch of Kafka's."""
    topic = new_topic(partitions=2)
    for partition in (0, 1):
        send(broker, topic, 4_000, partition, batch_size=1_000)
    with readers(broker, topic, partitions=2, most=1_000) as made:
        rows = list(made.until({(topic, 0): 4_000, (topic, 1): 4_000}, {topic: "id"}, T0))
    assert [offsets(rows, partition) for partition in (0, 1)] == [list(range(4_000))] * 2
    assert min(one.parsed["events"].num_rows for one in rows[:-1]) > 750


def test_what_was_asked_for_before_keeps_its_ingest_time(broker: Settings, new_topic: NewTopic) -> None:
    topic = new_topic()
    send(broker, topic, 6_000)
    later = T0 + timedelta(seconds=2)
    with readers(broker, topic, most=1_000) as made:
        rows = list(made.until({(topic, 0): 10}, {topic: "id"}, T0))
        rows += made.until({(topic, 0): 6_000}, {topic: "id"}, later)
    assert offsets(rows) == list(range(6_000))
    times = [set(one.parsed["events"]["ingest_time"].to_pylist()) for one in rows]
    assert times == [{one.ingest_time} for one in rows]
    assert {one.ingest_time for one in rows} == {T0, later}
    for number, one in enumerate(rows):
        assert one.end == {(topic, 0): len(offsets(rows[: number + 1]))}


def test_a_backlog_is_shared_out_by_what_there_is_to_read() -> None:
    assert share_out({("a", 0): 5, ("a", 1): 1, ("a", 2): 4, ("b", 0): 1}, 2) == {
        ("a", 0): 0,
        ("a", 2): 1,
        ("a", 1): 1,
        ("b", 0): 0,
    }
    assert share_out({("a", 0): 5}, 2) == {("a", 0): 0}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Shares:
    """What the processes were told to go on with."""
    told: Shares = []
    start = reading._Process.start
    monkeypatch.setattr(reading._Process, "start", lambda self, what: (told.append(what.offsets), start(self, what)))
    return told


def test_partitions_change_hands_at_a_backlog(broker: Settings, new_topic: NewTopic, started: Shares) -> None:
    """Two large partitions of three were one process's."""
    topic = new_topic(partitions=3)
    for partition in range(3):
        send(broker, topic, 5, partition)
    with readers(broker, topic, partitions=3) as made:
        rows = list(made.until({(topic, partition): 5 for partition in range(3)}, {topic: "id"}, T0))
        for partition, count in enumerate((3_000, 20, 3_500)):
            send(broker, topic, count, partition)
        assert started == []
        rows += made.until({(topic, 0): 3_005, (topic, 1): 25, (topic, 2): 3_505}, {topic: "id"}, T0)
    assert started == [{(topic, 2): 5}, {(topic, 0): 5, (topic, 1): 5}]
    for partition, count in enumerate((3_005, 25, 3_505)):
        assert offsets(rows, partition) == list(range(count))


def test_partitions_change_hands_while_all_are_busy(broker: Settings, new_topic: NewTopic, started: Shares) -> None:
    """Agents that send more than the job takes leave no quiet moment."""
    topic = new_topic(partitions=3)
    for partition, count in enumerate((9_000, 20, 9_000)):  # the first process has both large ones
        send(broker, topic, count, partition)
    later = T0 + timedelta(seconds=2)
    with readers(broker, topic, partitions=3) as made:
        rows = list(made.until({(topic, 0): 10}, {topic: "id"}, T0))
        assert any(process.asked for process in made._processes)
        assert started == []
        rows += made.until({(topic, 0): 9_000, (topic, 1): 20, (topic, 2): 9_000}, {topic: "id"}, later)
    assert len(started) == 2
    assert {(topic, 0), (topic, 2)} not in [set(share) for share in started]
    for partition, count in enumerate((9_000, 20, 9_000)):
        assert offsets(rows, partition) == list(range(count))
    assert [{one.ingest_time} for one in rows] == [set(one.parsed["events"]["ingest_time"].to_pylist()) for one in rows]


def test_a_stop_ends_the_wait_for_kafka(broker: Settings, new_topic: NewTopic) -> None:
    topic = new_topic()
    send(broker, topic, 5)
    with readers(broker, topic) as made:
        assert offsets(list(made.until({(topic, 0): 5}, {topic: "id"}, T0))) == [0, 1, 2, 3, 4]
        threading.Timer(0.5, made.stop).start()
        assert list(made.until({(topic, 0): 6}, {topic: "id"}, T0)) == []
        assert list(made.until({(topic, 0): 6}, {topic: "id"}, T0)) == []
    assert not children()


def test_a_process_that_was_killed_is_noticed(broker: Settings, new_topic: NewTopic) -> None:
    topic = new_topic()
    with readers(broker, topic) as made:
        for child in children():
            child.kill()
        with pytest.raises(RuntimeError, match=r"process that reads \(pid \d+\) is gone"):
            list(made.until({(topic, 0): 1}, {topic: "id"}, T0))
    assert not children()


def test_what_a_process_failed_with_is_told(broker: Settings, new_topic: NewTopic, connection: Connection) -> None:
    topic = new_topic()
    send(broker, topic, 5)
    connection.ask(lambda client: client.delete_records({TopicPartition(topic, 0): 3}))
    with readers(broker, topic) as made, pytest.raises(RuntimeError, match=r"reading failed: .*OffsetOutOfRange"):
        list(made.until({(topic, 0): 5}, {topic: "id"}, T0))


def test_they_end_with_the_driver_however_that_ends(broker: Settings, new_topic: NewTopic) -> None:
    topic = new_topic()
    script = (
        "import sys, threading; from agentmon.settings import Settings; from agentmon.stream.reading import Readers\n"
        f"made = Readers(Settings(kafka_bootstrap_servers={broker.bootstrap!r}), {{({topic!r}, 0): 0}}, 10)\n"
        "print('begun', flush=True)\n"
        f"list(made.until({{({topic!r}, 0): 1}}, {{}}, None))\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "begun\n"
    found = psutil.Process(driver.pid).children()
    assert len(found) == Settings().readers
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait(10)
    wait(lambda: not any(child.is_running() for child in found), "the end of those that read")
