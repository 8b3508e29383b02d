"""What Kafka tells of its newest messages, on a real broker."""

from __future__ import annotations

import time
from collections.abc import Callable

from kafka import KafkaProducer

from agentmon.live.client import Connection, client_config
from agentmon.live.offsets import newest_times
from agentmon.settings import Settings


def test_the_latest_time_of_each_partition_is_told(
    broker: Settings, connection: Connection, new_topic: Callable[..., str]
) -> None:
    topic, now = new_topic(partitions=2), time.time()
    producer = KafkaProducer(**client_config(broker))
    for seconds in (60, -60):
        producer.send(topic, b"{}", partition=0, timestamp_ms=round((now + seconds) * 1000))
    producer.close()
    found = newest_times(connection, {topic: 2})
    assert list(found) == [(topic, 0)]
    assert abs(found[topic, 0] - now - 60) < 0.01
    assert newest_times(connection, {}) == {}
