"""Where Kafka really has records, asked of a real broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from agentmon.errors import KafkaUnreachable
from agentmon.live.client import Connection, client_config
from agentmon.live.lag import read_topics, readable_offsets
from agentmon.live.records import records_within, sent_at
from agentmon.settings import Settings
from agentmon.stack.addresses import free_port


@contextmanager
def transactions(settings: Settings, name: str) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(**client_config(settings), transactional_id=name)
    producer.init_transactions()
    yield producer
    producer.close()


def begin(producer: KafkaProducer, topic: str, *texts: bytes) -> None:
    """Begin a transaction and have Kafka store these messages of it, an offset each."""
    producer.begin_transaction()
    for text in texts:
        producer.send(topic, text, partition=0)
    producer.flush()


def wait_readable(connection: Connection, topic: str, end: int) -> None:
    """Wait until a reader of committed messages gets so far: Kafka writes a marker after it has answered for it."""
    until = time.monotonic() + 30
    while (readable := readable_offsets(connection)[topic, 0][1]) != end:
        assert time.monotonic() < until, f"{topic} is readable up to {readable}, not {end}"
        time.sleep(0.05)


@pytest.fixture
def with_markers(broker: Settings, connection: Connection, new_topic: Callable[..., str]) -> str:
    """A topic with records at 0, 1 and 6, aborted messages at 3 and 4, and markers at 2, 5 and 7."""
    name = new_topic("agent.records")
    with transactions(broker, name) as producer:
        begin(producer, name, b"0", b"1")
        producer.commit_transaction()
        begin(producer, name, b"3", b"4")
        producer.abort_transaction()
        begin(producer, name, b"6")
        producer.commit_transaction()
    wait_readable(connection, name, 8)
    return name


def test_markers_and_aborted_messages_are_no_records(broker: Settings, with_markers: str) -> None:
    place = (with_markers, 0)
    everything = [(0, 8)]
    assert records_within(broker, place, everything, 10) == ([(0, 2), (6, 7)], everything)
    some = [(1, 2), (2, 3), (4, 6), (7, 8)]
    assert records_within(broker, place, some, 10) == ([(1, 2)], some)


@pytest.mark.parametrize("without_records", [(2, 3), (3, 4), (4, 5), (2, 6), (7, 8)])
def test_a_range_without_a_record_is_read_to_its_end(
    broker: Settings, with_markers: str, without_records: tuple[int, int]
) -> None:
    assert records_within(broker, (with_markers, 0), [without_records], 10) == ([], [without_records])


def test_a_topic_of_aborted_messages_alone_has_no_records(
    broker: Settings, connection: Connection, new_topic: Callable[..., str]
) -> None:
    """More of them than one answer of Kafka's holds, and another producer's among them."""
    topic = new_topic("agent.aborted")
    with transactions(broker, topic) as one, transactions(broker, f"{topic}.other") as other:
        for _ in range(3):
            begin(one, topic, *[b"x" * 100_000] * 10)
            begin(other, topic, b"y")
            one.abort_transaction()
            other.abort_transaction()
    everything = [(0, 3 * 13)]
    wait_readable(connection, topic, 3 * 13)
    assert records_within(broker, (topic, 0), everything, 20) == ([], everything)


def test_an_open_transaction_ends_the_reading(
    broker: Settings, connection: Connection, new_topic: Callable[..., str]
) -> None:
    """0 and 1 are committed, 2 their marker, 3 is open, 4 would be readable without it."""
    topic = new_topic("agent.open")
    place = (topic, 0)
    with transactions(broker, topic) as producer, transactions(broker, f"{topic}.other") as other:
        begin(producer, topic, b"0", b"1")
        producer.commit_transaction()
        begin(producer, topic, b"3")
        begin(other, topic, b"4")
        other.commit_transaction()
        patience_s = 600  # a reader that waited for the transaction's end would take as long
        assert records_within(broker, place, [(0, 1), (2, 5), (5, 6)], patience_s) == ([(0, 1)], [(0, 1), (2, 3)])
        assert records_within(broker, place, [(3, 4)], patience_s) == ([], [])
        producer.abort_transaction()
    wait_readable(connection, topic, 7)
    assert records_within(broker, place, [(0, 7)], 10) == ([(0, 2), (4, 5)], [(0, 7)])


def test_without_time_nothing_is_compared(broker: Settings, with_markers: str) -> None:
    assert records_within(broker, (with_markers, 0), [(0, 8)], 0) == ([], [])


def test_the_oldest_unread_message_tells_how_long_it_waits(broker: Settings, with_markers: str) -> None:
    """From 2 on that is 6: what was aborted before it does not count, nor what has been waiting since."""
    place = (with_markers, 0)
    producer = KafkaProducer(**client_config(broker))
    producer.send(with_markers, b"8", partition=0).get(30)
    producer.close()
    consumer = KafkaConsumer(**client_config(broker), group_id=None)
    consumer.assign([TopicPartition(*place)])
    consumer.seek(TopicPartition(*place), 6)
    [[sixth, *_]] = consumer.poll(30_000).values()
    consumer.close()
    assert sent_at(broker, {place: 2}, timeout_s=20) == sixth.timestamp / 1000
    assert sent_at(broker, {place: 9}, timeout_s=0.5) is None


def test_what_is_aborted_or_open_is_no_lag(
    broker: Settings, connection: Connection, new_topic: Callable[..., str]
) -> None:
    topic = new_topic("agent.behind")
    place = (topic, 0)
    with transactions(broker, topic) as producer:
        begin(producer, topic, b"0")
        producer.abort_transaction()
        begin(producer, topic, b"2")
        wait_readable(connection, topic, 2)
        assert read_topics(connection)[1][place] == (0, 3)
        assert sent_at(broker, {place: 0}, timeout_s=0.5) is None
        producer.commit_transaction()
        wait_readable(connection, topic, 4)
        assert sent_at(broker, {place: 0}, timeout_s=20) is not None


def test_no_kafka_is_one_line(broker: Settings) -> None:
    nobody = Settings(home=broker.home, kafka_bootstrap_servers=f"localhost:{free_port()}")
    with pytest.raises(KafkaUnreachable, match="can't be used"):
        records_within(nobody, ("agent.actions", 0), [(0, 1)], 1)
