"""Offsets without a message, as compaction and aborted transactions leave them: nothing is missing, and nobody says so."""

from __future__ import annotations

import time

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from tests.stream.life import Life, audited, figures, wait

from agentmon.live.client import client_config

TOPIC = "agent.compacted"
_EAGER = {
    "cleanup.policy": "compact",
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "0",
}


def offsets_in_kafka(life: Life) -> list[int]:
    """The offsets that Kafka has a record at."""
    place = TopicPartition(TOPIC, 0)
    consumer = KafkaConsumer(**client_config(life.settings), group_id=None, enable_auto_commit=False)
    consumer.assign([place])
    consumer.seek_to_beginning()
    end, found = consumer.end_offsets([place])[place], []
    while consumer.position(place) < end:
        found += [record.offset for records in consumer.poll(timeout_ms=500).values() for record in records]
    consumer.close()
    return found


def test_a_topic_that_was_compacted_has_no_holes(
    life: Life, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the job read it, and while it does."""
    life.make_topic(TOPIC, **_EAGER)
    for _ in range(2):  # the newest segment is left alone
        life.send(TOPIC, 6, type="x")
        time.sleep(0.2)
    wait(lambda: len(offsets_in_kafka(life)) < 12, "compaction")
    before = offsets_in_kafka(life)
    with life.job() as running:
        life.wait_sealed(TOPIC, 12, running)
        for stored in (18, 24):  # before the next ones have Kafka compact these
            life.send(TOPIC, 6, type="x")
            life.wait_sealed(TOPIC, stored, running)
        wait(lambda: len(offsets_in_kafka(life)) < 12, "compaction of what was read")
    assert life.rows(f"SELECT count(*) FROM events WHERE kafka_topic = '{TOPIC}'") == [(len(before) + 12,)]
    code, rows = audited(life, monkeypatch, capsys)
    assert code == 0
    assert figures(rows[TOPIC], "stored", "holes", "repeats", "pending") == [(len(before) + 12, 0, 0, 0)]


def test_what_was_aborted_is_not_stored_and_no_hole(
    life: Life, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the job reads the topic, while it does, and at its end."""
    topic = "agent.aborted"
    life.make_topic(topic)
    producer = KafkaProducer(**client_config(life.settings), transactional_id=topic)
    producer.init_transactions()

    def send(count: int, kind: str) -> None:
        producer.begin_transaction()
        for _ in range(count):
            producer.send(topic, b'{"type": "%s"}' % kind.encode())
        producer.flush()
        (producer.commit_transaction if kind == "committed" else producer.abort_transaction)()

    send(3, "aborted")
    send(2, "committed")
    with life.job() as running:
        life.wait_sealed(topic, 7, running)
        send(4, "aborted")
        send(1, "committed")
        life.wait_sealed(topic, 14, running)
        send(5, "aborted")
        life.wait_sealed(topic, 20, running)
    producer.close()
    assert life.rows(f"SELECT type, count(*) FROM events WHERE kafka_topic = '{topic}' GROUP BY ALL") == [
        ("committed", 3)
    ]
    code, rows = audited(life, monkeypatch, capsys)
    assert code == 0
    names = ("in_kafka", "stored", "no_record", "holes", "repeats", "pending")
    assert figures(rows[topic], *names) == [(20, 3, 17, 0, 0, 0)]
