"""`agentmon audit` as typed: a real lake beside a real broker, exit codes, what goes where."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from kafka import KafkaProducer
from tests.lake.conftest import MakeLake
from tests.lake.rows import message, sealed

from agentmon.live.client import Connection, client_config
from agentmon.live.topics import describe
from agentmon.settings import Settings
from agentmon.stack.addresses import free_port
from agentmon_cli.main import main


class Ran(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    def run(lake: str, bootstrap: str, *arguments: str) -> Ran:
        monkeypatch.setenv("AGENTMON_LAKE", lake)
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap)
        monkeypatch.setattr(sys, "argv", ["agentmon", "audit", *arguments])
        code = main()
        return Ran(code, *capsys.readouterr())

    return run


def test_kafka_tells_a_hole_from_a_marker(
    audit: Callable[..., Ran],
    make_lake: MakeLake,
    broker: Settings,
    connection: Connection,
    new_topic: Callable[..., str],
) -> None:
    topic = new_topic("agent.audited")
    producer = KafkaProducer(**client_config(broker), transactional_id=topic)
    producer.init_transactions()
    for texts in ((b"0", b"1"), (b"3", b"4")):  # the markers of the commits are 2 and 5
        producer.begin_transaction()
        for text in texts:
            producer.send(topic, text)
        producer.commit_transaction()
    producer.close()
    names: dict[str, Any] = {"kafka_topic": topic, "kafka_topic_id": describe(connection).topics[topic].topic_id}
    ran = audit(
        make_lake(events=[message(offset=n, **names) for n in (0, 3, 4)], ledger=[sealed(1, end=6, **names)]),
        broker.bootstrap,
        "--json",
    )
    [found] = [row for row in json.loads(ran.stdout) if row["topic"] == topic]
    assert ran.returncode == 3
    assert found["hole_ranges"] == [{"first": 1, "last": 1, "why": None}]
    assert {name: found[name] for name in ("in_kafka", "stored", "pending", "holes", "repeats", "no_record")} == {
        "in_kafka": 6, "stored": 3, "pending": 0, "holes": 1, "repeats": 0, "no_record": 2,
    }  # fmt: skip


def test_every_offset_of_a_topic_with_an_aborted_and_an_open_transaction_is_accounted_for(
    audit: Callable[..., Ran],
    make_lake: MakeLake,
    broker: Settings,
    connection: Connection,
    new_topic: Callable[..., str],
) -> None:
    """0 and 1 are aborted, 2 is their marker, 3 is committed, 4 its marker, 5 is open and 6 stands behind it."""
    topic = new_topic("agent.aborted")
    producer = KafkaProducer(**client_config(broker), transactional_id=topic)
    producer.init_transactions()
    for texts, end in (((b"0", b"1"), producer.abort_transaction), ((b"3",), producer.commit_transaction)):
        producer.begin_transaction()
        for text in texts:
            producer.send(topic, text)
        producer.flush()
        end()
    producer.begin_transaction()
    producer.send(topic, b"5").get(30)
    plain = KafkaProducer(**client_config(broker))
    plain.send(topic, b"6").get(30)
    plain.close()
    names: dict[str, Any] = {"kafka_topic": topic, "kafka_topic_id": describe(connection).topics[topic].topic_id}
    for stored, no_record in (((3,), 4), ((0, 1, 3), 2)):  # an older job stored what was aborted, too
        lake = make_lake(events=[message(offset=n, **names) for n in stored], ledger=[sealed(1, end=5, **names)])
        ran = audit(lake, broker.bootstrap, "--json")
        [found] = [row for row in json.loads(ran.stdout) if row["topic"] == topic]
        assert ran.returncode == 0
        assert {name: found[name] for name in ("in_kafka", "stored", "no_record", "pending", "holes", "repeats")} == {
            "in_kafka": 7, "stored": len(stored), "no_record": no_record, "pending": 2, "holes": 0, "repeats": 0,
        }  # fmt: skip
    producer.abort_transaction()
    producer.close()


def test_without_kafka_it_says_so_and_judges_the_lake(audit: Callable[..., Ran], make_lake: MakeLake) -> None:
    nobody = f"localhost:{free_port()}"
    whole = audit(make_lake(actions=[message(offset=0), message(offset=1)], ledger=[sealed(1, end=2)]), nobody)
    assert (whole.returncode, whole.stdout.splitlines()[-1]) == (0, "2 stored, 0 holes, 0 repeats")
    assert "only the lake's side is judged" in whole.stderr
    torn = audit(make_lake(actions=[message(offset=1)] * 2, ledger=[sealed(1, end=2)]), nobody)
    assert torn.returncode == 3
    assert torn.stdout.splitlines()[-3:] == [
        "hole: agent.actions[0] 0..0 (1 offsets, not compared with Kafka)",
        "repeat: agent.actions[0] 1..1 (1 offsets)",
        "2 stored, 1 holes, 1 repeats",
    ]
