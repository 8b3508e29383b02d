"""Offsets without a message, as compaction leaves them: nothing is missing, and nobody says so."""

from __future__ import annotations

import time

import pytest
from kafka import KafkaConsumer, TopicPartition
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
