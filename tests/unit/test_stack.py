"""The stack's pure parts: versions, addresses, jars, notes about processes, the demo's rules."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from agentmon.errors import JavaError, SettingError, StackError
from agentmon.live.topics import TopicSpec, drift, wanted_topics
from agentmon.settings import Settings
from agentmon.stack import home
from agentmon.stack.addresses import LOOPBACK, Address, parse_bootstrap
from agentmon.stack.jars import kafka_jars, spark_jars
from agentmon.stack.java import find_java, parse_version
from agentmon_cli.demo import digest_of, is_fresh


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ('Picked up _JAVA_OPTIONS: -Xmx1g\nopenjdk version "21.0.1"', 21),
        ("no such thing", None),
    ],
)
def test_java_version(text: str, major: int | None) -> None:
    assert parse_version(text) == major


def test_java_home_without_java_is_named(tmp_path: Path) -> None:
    with pytest.raises(JavaError, match="has no bin/java"):
        find_java({"JAVA_HOME": str(tmp_path)})


@pytest.mark.parametrize("text", ["", "localhost", "localhost:x", ":9092", "a:1,b", "a:70000", "a:0"])
def test_address_that_is_none(text: str) -> None:
    with pytest.raises(SettingError, match="it takes host:port"):
        parse_bootstrap(text)


def test_which_addresses_are_this_machines() -> None:
    assert Address("localhost", 1).local_ip() == LOOPBACK
    assert Address("192.0.2.1", 1).local_ip() is None


def test_jars_follow_the_installed_versions() -> None:
    assert [coordinate.rsplit(":", 1)[0] for coordinate in spark_jars().coordinates] == [
        "io.delta:delta-spark_4.2_2.13",
        "org.apache.spark:spark-sql-kafka-0-10_2.13",
    ]
    assert spark_jars().is_complete()
    assert kafka_jars().is_complete()


def test_note_is_about_the_process_that_it_was_made_of(tmp_path: Path) -> None:
    note, path = home.note_of(psutil.Process()), tmp_path / "run" / "x.json"
    home.write_note(path, note)
    assert home.read_note(path) == note
    assert home.process_of(note) == psutil.Process()
    assert home.process_of({**note, "create_time": note["create_time"] - 1}) is None
    assert home.process_of({}) is None


def test_process_that_does_not_want_to_end_is_killed() -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        started.stdout.readline()
        assert home.end(psutil.Process(started.pid), 0.1) is False


def test_only_one_at_a_time(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with (
        home.locked(settings),
        pytest.raises(StackError, match="another agentmon up or down"),
        home.locked(settings, seconds=0),
    ):
        pass
    with home.locked(settings, seconds=0):
        pass


def test_drift_names_each_difference() -> None:
    topic = {"partitions": [{"replica_nodes": [1, 2]}]}
    spec = TopicSpec("t", 1, 1, {"retention.ms": "5"})
    assert drift(spec, topic, {}) == ("replication_factor is 2, not 1", "retention.ms is unset, not 5")


def test_topics_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "topics.json").write_text('{"agent.actions": {}}')
    with pytest.raises(SettingError, match=r"topics\.json can't be read"):
        wanted_topics(tmp_path / "topics.json")


def test_home_is_fresh_without_data(tmp_path: Path) -> None:
    assert is_fresh(tmp_path / "none")
    (tmp_path / "run").mkdir()
    assert is_fresh(tmp_path)
    (tmp_path / "lake").mkdir()
    assert not is_fresh(tmp_path)


def test_digest_is_of_the_messages_not_of_their_order(tmp_path: Path) -> None:
    def written(name: str, *values: int) -> Path:
        lines = "".join(json.dumps({"topic": "t", "key": "k", "value": value}) + "\n" for value in values)
        (tmp_path / name).write_bytes(gzip.compress(lines.encode()))
        return tmp_path / name

    assert digest_of(written("a.gz", 1, 2)) == digest_of(written("b.gz", 2, 1))
    assert digest_of(written("a.gz", 1, 2)) != digest_of(written("b.gz", 1, 3))
    assert digest_of(written("a.gz", 1, 1)) != digest_of(written("b.gz", 1))
