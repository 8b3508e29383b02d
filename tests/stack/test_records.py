"""Where Kafka really has records, asked of a real broker."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from kafka import KafkaProducer

from agentmon.errors import KafkaUnreachable
from agentmon.live.client import client_config
from agentmon.live.records import records_within, sent_at
from agentmon.settings import Settings
from agentmon.stack.addresses import free_port


@pytest.fixture
def with_markers(broker: Settings, new_topic: Callable[..., str]) -> str:
    """A topic with records at 0, 1, 3, 4 and 6, and the marker of a transaction's end after each two."""
    name = new_topic("agent.records")
    producer = KafkaProducer(**client_config(broker), transactional_id=name)
    producer.init_transactions()
    for commit, texts in ((True, (b"0", b"1")), (False, (b"3", b"4")), (True, (b"6",))):
        producer.begin_transaction()
        for text in texts:
            producer.send(name, text, partition=0)
        producer.flush()
        if commit:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    producer.close()
    return name


def test_markers_of_transactions_are_no_records(broker: Settings, with_markers: str) -> None:
    place = (with_markers, 0)
    everything = [(0, 8)]
    assert records_within(broker, place, everything, 10) == ([(0, 2), (3, 5), (6, 7)], everything)
    some = [(1, 2), (2, 3), (4, 6), (7, 8)]
    assert records_within(broker, place, some, 10) == ([(1, 2), (4, 5)], some)


def test_without_time_nothing_is_compared(broker: Settings, with_markers: str) -> None:
    assert records_within(broker, (with_markers, 0), [(0, 8)], 0) == ([], [])


def test_the_oldest_unread_message_tells_how_long_it_waits(broker: Settings, with_markers: str) -> None:
    before = time.time()
    sent = sent_at(broker, {(with_markers, 0): 2}, timeout_s=20)
    assert sent is not None
    assert before - 60 < sent <= before
    assert sent_at(broker, {(with_markers, 0): 8}, timeout_s=0.5) is None


def test_no_kafka_is_one_line(broker: Settings) -> None:
    nobody = Settings(home=broker.home, kafka_bootstrap_servers=f"localhost:{free_port()}")
    with pytest.raises(KafkaUnreachable, match="can't be used"):
        records_within(nobody, ("agent.actions", 0), [(0, 1)], 1)
