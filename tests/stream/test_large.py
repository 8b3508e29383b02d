"""Messages as large as Kafka takes them: one alone, and many at once."""

from __future__ import annotations

import pytest
from tests.stream.life import Life


def test_messages_as_large_as_kafka_takes_are_stored(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    """What is published of them is larger by a little: a text is cut, and with a name that long nothing is published."""
    life.make_topic("agent.actions")
    with life.job() as running:
        life.send("agent.actions", 1, tool="t", reasoning="x" * 1_048_360)
        life.wait_sealed("agent.actions", 1, running)
        caplog.clear()
        life.send("agent.actions", 1, tool="t", agent_id="n" * 1_048_360)
        life.wait_sealed("agent.actions", 2, running)
    said = {text.partition(",")[0] for text in caplog.messages if not text.startswith("waiting: Kafka")}
    assert said == {"a message for agent.monitor.frontend was left out"}
    lengths = "SELECT max(length(reasoning)), max(length(agent_id)) FROM actions"
    assert life.rows(lengths) == [(1_048_360, 1_048_360)]


def test_huge_messages_come_a_few_at_a_time(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    life.make_topic("agent.huge")
    life.send("agent.huge", 150, text="x" * 900_000)
    with life.job() as running:
        life.wait_sealed("agent.huge", 150, running)
        life.send("agent.huge", 300, text="x")
        life.wait_sealed("agent.huge", 450, running)
    assert not [text for text in caplog.messages if "started again" in text]
    assert life.rows("SELECT count(*), count(DISTINCT kafka_offset) FROM events WHERE kafka_topic = 'agent.huge'") == [
        (450, 450)
    ]
