"""`agentmon publish` and `feedback` as typed, on a real broker."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import pytest

from agentmon.settings import Settings
from agentmon_cli.main import main

Published = Callable[..., list[dict[str, Any]]]
Run = Callable[..., int]


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run("publish", "actions", stdin=b"…"): its exit code."""
    monkeypatch.setenv("AGENTMON_HOME", str(settings.home))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", settings.bootstrap)

    def command(*arguments: str, stdin: bytes = b"") -> int:
        monkeypatch.setattr(sys, "argv", ["agentmon", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        return main()

    return command


def test_good_lines_are_sent_and_each_bad_one_is_told(
    run: Run, published: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = b'{"tool": "a", "ts": 1763000000}\n\nnope\n[1]\n\xff\n{"tool": "b", "agent_id": "lines", "session_id": "s"}'
    assert run("publish", "actions", "--agent", "lines", stdin=lines) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "agentmon: line 3: not JSON (Expecting value, column 1)",
        "agentmon: line 4: JSON, but not an object",
        "agentmon: line 5: not UTF-8 (byte 1)",
        "2 messages to agent.actions, all acknowledged by Kafka",
    ]
    one, two = sorted(published("agent.actions", "lines"), key=lambda m: m["tool"])
    assert (one["ts"], "timestamp" in one, "session_id" in one) == (1763000000, False, False)
    assert (two["session_id"], two["_key"]) == ("s", "lines")


def test_arguments_and_other_topics(run: Run, published: Published) -> None:
    assert run("publish", "agent.shelltasks", '{"agent_id": "args"}', '{"agent_id": "args"}') == 0
    assert len(published("agent.shelltasks", "args")) == 2


def test_wrong_kind_and_no_kafka(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("publish", "frontend", "{}") == 2
    assert "it takes actions, thoughts, learning, metrics" in capsys.readouterr().err
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "localhost:1")
    assert run("publish", "actions", "{}") == 1
    assert "Kafka at localhost:1 can't be used" in capsys.readouterr().err


def test_feedback_is_a_reward_with_who_and_why(
    run: Run, published: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("feedback", "run-9", "--reward", "1") == 2
    assert "say --agent too" in capsys.readouterr().err
    assert run("feedback", "run-9", "--reward", "0.5", "--agent", "rated", "--by", "ada", "--note", "well done") == 0
    (message,) = published("agent.learning", "rated")
    assert (message["type"], message["session_id"], message["reward"]) == ("feedback", "run-9", 0.5)
    assert (message["data"]["by"], message["data"]["note"]) == ("ada", "well done")
    for bad in ("nan", "good", "{}", "1e400", '{"score":1} x', ""):
        assert run("feedback", "run-9", "--reward", bad, "--agent", "rated") == 2


def test_selftest_without_kafka_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "localhost:1")
    assert run("selftest") == 1
    assert capsys.readouterr().err.startswith("agentmon: Kafka at localhost:1 can't be used")


def test_selftest_says_that_kafka_did_not_take_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("agentmon.publish.delivery.Delivery.flush", lambda self, timeout_s, **_: False)
    assert run("selftest", "--timeout", "0.1") == 1
    assert "has not taken the messages within 0.1 s; they wait in" in capsys.readouterr().err


def test_selftest_names_the_hop(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A broker without a job: everything is in Kafka and goes no further."""
    assert run("selftest", "--timeout", "15", "--json") == 1
    err = capsys.readouterr().err
    assert "thought: is in Kafka at agent.thoughts[" in err
    assert "but not in the table thoughts: see agentmon lag" in err
