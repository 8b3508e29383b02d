"""Messages out of Kafka, as they are and no further than they go, on a real broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.errors import OffsetOutOfRangeError

from agentmon.errors import KafkaUnreachable
from agentmon.live import fetcher as fetching
from agentmon.live.client import Connection, client_config
from agentmon.live.fetcher import Fetcher
from agentmon.settings import Settings

NewTopic = Callable[..., str]


@contextmanager
def fetcher(settings: Settings, *topics: str, most: int = 1_000, start: int = 0) -> Iterator[Fetcher]:
    made = Fetcher(settings, {(topic, 0): start for topic in topics}, most)
    try:
        yield made
    finally:
        made.close()


def send(settings: Settings, topic: str, *values: bytes | None, **fields: Any) -> None:
    producer = KafkaProducer(**client_config(settings))
    for value in values:
        producer.send(topic, value, **fields)
    producer.close()


def never() -> bool:
    return False


def test_a_message_is_as_it_was_sent(broker: Settings, new_topic: NewTopic) -> None:
    topic = new_topic()
    headers = [("a", b"1"), ("a", b"\xff")]
    send(broker, topic, b"{}", key=b"k\xff", timestamp_ms=1_700_000_000_123, headers=headers)
    send(broker, topic, None, key=b"")
    with fetcher(broker, topic) as made:
        rows = made.read({(topic, 0): 2}, never).messages.to_pylist()
    assert rows[0] == {
        "key": b"k\xff",
        "value": b"{}",
        "topic": topic,
        "partition": 0,
        "offset": 0,
        "timestamp_us": 1_700_000_000_123_000,
        "headers": [{"key": key, "value": value} for key, value in headers],
    }
    assert (rows[1]["value"], rows[1]["key"], rows[1]["headers"], rows[1]["offset"]) == (None, b"", None, 1)


def test_header_names_that_are_no_text_stop_nothing(broker: Settings, new_topic: NewTopic) -> None:
    class Name(str):
        def encode(self, *_: Any) -> bytes:
            return b"n\xff"

    topic = new_topic()
    send(broker, topic, b"{}", headers=[(Name("odd"), b"1")])
    send(broker, topic, b"{}", headers=[("fine", b"2")])
    with fetcher(broker, topic) as made:
        rows = made.read({(topic, 0): 2}, never).messages.to_pylist()
    assert [row["headers"] for row in rows] == [[{"key": "n\ufffd", "value": b"1"}], [{"key": "fine", "value": b"2"}]]


def test_pieces_follow_one_another_and_go_as_far_as_kafka_does(broker: Settings, new_topic: NewTopic) -> None:
    topic, other = new_topic(), new_topic()
    send(broker, topic, *(b"%d" % n for n in range(2_500)))
    send(broker, other, b"x")
    with fetcher(broker, topic, most=1_000) as made:
        first = made.read({(topic, 0): 10}, never).messages
        assert 10 <= len(first) <= 1_000 + fetching._AT_ONCE
        values = first["value"].to_pylist()
        while made.position[topic, 0] < 2_500:
            values += made.read({(topic, 0): 2_500}, never).messages["value"].to_pylist()
        # A partition that comes later is read from its beginning; the others go on.
        send(broker, topic, b"2500")
        late, is_full = made.read({(topic, 0): 2_501, (other, 0): 1}, never)
    assert values == [b"%d" % n for n in range(2_500)]
    assert not is_full
    assert sorted(late["value"].to_pylist()) == [b"2500", b"x"]


def test_huge_messages_are_few_in_a_piece(
    broker: Settings, new_topic: NewTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_PIECE_BYTES", 3_000_000)
    topic = new_topic()
    send(broker, topic, *([b"x" * 900_000] * 8))
    with fetcher(broker, topic) as made:
        pieces = [made.read({(topic, 0): 8}, never), made.read({(topic, 0): 8}, never)]
    assert [(len(piece.messages), piece.is_full) for piece in pieces] == [(4, True), (4, True)]


def test_markers_at_the_end_of_a_partition_are_passed(broker: Settings, new_topic: NewTopic) -> None:
    topic = new_topic()
    producer = KafkaProducer(**client_config(broker), transactional_id=f"t{topic}")
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topic, b"{}")
    producer.commit_transaction()
    producer.close()
    with fetcher(broker, topic) as made:
        assert len(made.read({(topic, 0): 2}, never).messages) == 1
        assert made.position == {(topic, 0): 2}


def test_offsets_that_kafka_has_dropped_are_an_error(
    broker: Settings, new_topic: NewTopic, connection: Connection
) -> None:
    topic = new_topic()
    send(broker, topic, *([b"{}"] * 5))
    connection.ask(lambda client: client.delete_records({TopicPartition(topic, 0): 3}))
    with fetcher(broker, topic) as made, pytest.raises(OffsetOutOfRangeError, match=rf"{topic}/0 at 0"):
        made.read({(topic, 0): 5}, never)


def test_silence_is_an_error_unless_a_stop_is_asked_for(
    broker: Settings, new_topic: NewTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = new_topic()
    send(broker, topic, b"{}")
    with fetcher(broker, topic) as made:
        assert len(made.read({(topic, 0): 2}, lambda: made.position[topic, 0] == 1).messages) == 1
    monkeypatch.setattr(fetching, "_PATIENCE_S", 1.0)
    with fetcher(broker, topic) as made, pytest.raises(KafkaUnreachable, match=r"sent none for 1 s"):
        made.read({(topic, 0): 2}, never)


def test_no_partition_waits_for_others_that_never_end(
    broker: Settings, new_topic: NewTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker fills its answer in the order in which it was asked, and gives a batch beyond the limits to the first alone."""
    monkeypatch.setattr(fetching, "_PARTITION_BYTES", 20_000)
    monkeypatch.setattr(fetching, "_ANSWER_BYTES", 40_000)
    busy, huge = sorted((new_topic(), new_topic()))
    for _ in range(100):
        send(broker, busy, b"x" * 15_000)
    send(broker, huge, b"y" * 500_000)
    with fetcher(broker, busy, huge, most=10) as made:
        read = 0
        while made.position[huge, 0] == 0:
            read += len(made.read({(busy, 0): 100, (huge, 0): 1}, never).messages)
    assert read < 40


def test_the_next_answer_is_on_its_way_before_a_piece_is_handed_over(
    broker: Settings, new_topic: NewTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_PARTITION_BYTES", 50_000)
    monkeypatch.setattr(fetching, "_ANSWER_BYTES", 50_000)
    topic = new_topic()
    for _ in range(20):
        send(broker, topic, b"x" * 10_000)
    with fetcher(broker, topic, most=1) as made:
        assert made.read({(topic, 0): 20}, never).is_full
        assert made._asked
        (connection,) = made._open()._conns.values()
        assert not connection.transport._write_buffer  # sent
