"""Loading a recording into a real broker."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from agentmon.errors import UsageError
from agentmon.live.client import client_config
from agentmon.live.load import Pace, load
from agentmon.live.recording import RecordingError
from agentmon.settings import Settings


def recorded(path: Path, *records: dict[str, Any]) -> Path:
    text = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def messages(settings: Settings, topic: str) -> list[Any]:
    """All that the topic holds now."""
    consumer = KafkaConsumer(**client_config(settings), group_id=None, enable_auto_commit=False)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    end = consumer.end_offsets([partition])[partition]
    found: list[Any] = []
    while consumer.position(partition) < end:
        found += consumer.poll(timeout_ms=1000).get(partition, [])
    consumer.close()
    return found


def test_values_and_keys_arrive_unchanged_and_kafkas_time_is_now(
    broker: Settings, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = new_topic()
    values = [{"timestamp": 1763000000.25, "thought": "é \x00 <b>"}, {"ts": 1, "half": "\ud800"}, [1, None]]
    keys = ["a", None, "ключ"]
    file = recorded(
        tmp_path / "r.jsonl.gz", *({"topic": topic, "key": k, "value": v} for k, v in zip(keys, values, strict=True))
    )
    before = time.time()
    assert load(broker, file, Pace()) == 3
    got = messages(broker, topic)
    assert [json.loads(message.value) for message in got] == values
    assert [message.key.decode() if message.key else None for message in got] == keys
    assert all(before - 1 <= message.timestamp / 1000 <= time.time() + 1 for message in got)


def test_now_moves_all_by_one_amount_so_that_the_last_is_now(
    broker: Settings, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = new_topic()
    file = recorded(
        tmp_path / "r.jsonl", *({"topic": topic, "key": "a", "value": {"timestamp": 1000.0 + n}} for n in (0, 7, 3))
    )
    before = time.time()
    load(broker, file, Pace(now=True))
    times = [json.loads(message.value)["timestamp"] for message in messages(broker, topic)]
    assert before <= times[1] <= time.time()
    assert [pytest.approx(moment - times[0], abs=1e-5) for moment in times] == [0, 7, 3]


@pytest.mark.parametrize("pace", [Pace(now=True), Pace(speed=100)])
def test_a_time_that_can_not_be_moves_and_holds_up_nobody(
    broker: Settings, new_topic: Callable[..., str], tmp_path: Path, pace: Pace
) -> None:
    topic = new_topic()
    times = [0, 1763000000, "9999-12-31T23:59:59Z", 1763000001]
    file = recorded(tmp_path / "r.jsonl", *({"topic": topic, "value": {"timestamp": moment}} for moment in times))
    before = time.time()
    assert load(broker, file, pace) == len(times)
    found = [json.loads(message.value)["timestamp"] for message in messages(broker, topic)]
    assert found[2] == times[2]
    assert found[3] - found[1] == 1
    if pace.now:
        assert before - 1 <= found[3] <= time.time() + 1


def test_now_with_a_pace_gives_each_message_the_moment_of_its_sending(
    broker: Settings, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = new_topic()
    file = recorded(
        tmp_path / "r.jsonl", *({"topic": topic, "key": "a", "value": {"timestamp": 1000.0 + n}} for n in (0, 9))
    )
    begun = time.time()
    load(broker, file, Pace(rate=10, now=True))
    first, second = (json.loads(message.value)["timestamp"] for message in messages(broker, topic))
    assert begun <= first < begun + 9, "its own time is long past"
    assert second - begun >= 0.1, "the second is due a tenth of a second after the start"
    assert second - first < 9


def test_damaged_line_is_named_and_nothing_is_sent(
    broker: Settings, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = new_topic()
    file = recorded(tmp_path / "r.jsonl", {"topic": topic, "key": "a", "value": {}})
    file.write_text(file.read_text() + '{"topic": "agent.actions"\n')
    with pytest.raises(RecordingError, match=r"r\.jsonl, line 2: not JSON"):
        load(broker, file, Pace())
    assert messages(broker, topic) == []


def test_topic_that_does_not_exist_is_named_at_once(broker: Settings, tmp_path: Path) -> None:
    file = recorded(tmp_path / "r.jsonl", {"topic": "agent.nowhere", "key": "a", "value": {}})
    with pytest.raises(UsageError, match=r"no topic agent\.nowhere"):
        load(broker, file, Pace())
