"""Messages as the job reads them: the table and the columns of each shape of wire-formats.md."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from agentmon.contracts.message import Limits
from agentmon.contracts.tables import MESSAGE_TABLES
from agentmon.stream.parse import MESSAGES, Parser
from agentmon.stream.parsed import Parsed

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)

#: What was sent (topic, value), and what some of its columns are then.
SHAPES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "action": (
        "agent.actions",
        {
            "type": "agent_action",
            "timestamp": 1793534390,
            "tool": "read",
            "reward": "0.5",
            "context": {"a": 1},
            "action_id": 3,
        },
        {"table": "actions", "tool": "read", "reward": 0.5, "success": True, "context": '{"a": 1}', "action_id": "3"},
    ),
    "named action": (
        "agent.actions",
        {"name": "read", "result": {"ok": True}, "reward": 0},
        {"table": "actions", "tool": "read", "result": '{"ok": true}', "success": False},
    ),
    "action begun": (
        "agent.actions",
        {"type": "action_started", "span_id": "s"},
        {"table": "events", "type": "action_started"},
    ),
    "result in context": (
        "agent.actions",
        {"tool": "t", "context": {"result": "r"}},
        {"table": "actions", "result": "r"},
    ),
    "thought": (
        "agent.thoughts",
        {"thought": "hm", "confidence": 0.9, "ts": "2026-11-01T11:59:50Z"},
        {"table": "thoughts", "thought": "hm", "confidence": 0.9, "time_source": "message"},
    ),
    "progress": (
        "agent.learning",
        {"type": "learning_progress", "data": {"total_events": 3, "success_rate": 0.5}},
        {"table": "learning", "total_events": 3, "success_rate": 0.5, "reward": None},
    ),
    "bare reward": (
        "agent.learning",
        {"tool": "t", "reward": -1, "ts": 1793534390000, "container": "c"},
        {"table": "learning", "reward": -1.0, "time_source": "message"},
    ),
    "metrics": (
        "agent.metrics",
        {"metrics": {"a": 1, "b": "2", "c": {}, "d": "x"}, "action_count": 5},
        {"table": "metrics", "metrics": [("a", 1.0), ("b", 2.0)], "action_count": 5},
    ),
    "training": (
        "agent.metrics",
        {"type": "training", "n": 3, "timestamp": 1},
        {"table": "metrics", "metrics": [("n", 3.0)]},
    ),
    "no metrics": ("agent.metrics", {"type": "training"}, {"table": "metrics", "metrics": []}),
    "later topic": ("agent.tasks.new", {"type": "x"}, {"table": "events", "type": "x"}),
    "envelope": (
        "agent.actions",
        {"ts": 1793534390, "container": "c", "tool": "outer", "event": {"tool": "t", "success": True}},
        {"table": "actions", "tool": "t", "success": True, "time_source": "message"},
    ),
    "not a number": (
        "agent.actions",
        '{"reward":NaN,"cost_usd":Infinity}',
        {"table": "actions", "reward": None, "cost_usd": None},
    ),
    "future": ("agent.actions", {"ts": 4e9}, {"time_source": "clamped", "event_time": NOW}),
    "before 2000": ("agent.actions", {"ts": 5}, {"time_source": "clamped", "event_time": NOW}),
    "no time": ("agent.actions", {}, {"time_source": "kafka", "event_time": NOW, "agent_id": "key"}),
    "no value": ("agent.actions", None, {"table": "quarantine", "reason": "empty"}),
    "no JSON": (
        "agent.actions",
        "hello",
        {"table": "quarantine", "reason": "not_json", "raw": b"hello"},
    ),
    "no object": ("agent.actions", "[1]", {"table": "quarantine", "reason": "not_object"}),
    "cut short": ("agent.actions", '{"agent_id":"a"', {"table": "quarantine", "reason": "not_json", "agent_id": "key"}),
    "not UTF-8": ("agent.actions", b'{"a":"\xff"}', {"table": "quarantine", "reason": "not_utf8"}),
    "too deep": ("agent.actions", '{"a":' * 6 + "1" + "}" * 6, {"table": "quarantine", "reason": "not_json"}),
    "too large": ("agent.actions", "{" + " " * 300 + "}", {"table": "quarantine", "reason": "too_large"}),
}


@pytest.fixture(scope="module")
def parsed() -> Parsed:
    def value(sent: Any) -> bytes | None:
        text = sent if isinstance(sent, str | bytes | None) else json.dumps(sent)
        return text.encode() if isinstance(text, str) else text

    sent = [(b"key", value(v), topic, 0, i, NOW, None) for i, (topic, v, _) in enumerate(SHAPES.values())]
    limits = Limits(max_bytes=250, max_depth=5)
    return Parser(limits, {"agent.actions": "id"}, NOW).parse(messages(*sent))


def messages(*sent: tuple[Any, ...]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(MESSAGES.names, one, strict=True)) for one in sent], MESSAGES)


@pytest.fixture(scope="module")
def rows(parsed: Parsed) -> dict[str, dict[str, Any]]:
    by_offset = {
        row["kafka_offset"]: {"table": name, **row} for name, table in parsed.items() for row in table.to_pylist()
    }
    assert len(by_offset) == len(SHAPES)
    return {name: by_offset[i] for i, name in enumerate(SHAPES)}


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_fills_its_columns(rows: dict[str, dict[str, Any]], shape: str) -> None:
    expected = SHAPES[shape][2]
    assert {name: rows[shape][name] for name in expected} == expected


def test_columns_are_those_of_the_tables(parsed: Parsed) -> None:
    assert {name: rows.column_names for name, rows in parsed.items()} == {
        name: table.column_names for name, table in MESSAGE_TABLES.items()
    }


def test_rows_tell_where_they_came_from(rows: dict[str, dict[str, Any]]) -> None:
    row = rows["thought"]
    assert (row["kafka_topic"], row["kafka_topic_id"], row["kafka_key"]) == ("agent.thoughts", None, "key")
    assert rows["action"]["kafka_topic_id"] == "id"
    assert row["event_date"] == NOW.date()
    assert json.loads(row["payload"])["thought"] == "hm"


@pytest.mark.parametrize("value", [b'{"tool":"t"}', b"no JSON"])
def test_kafkas_time_is_none_outside_the_years_that_python_has(value: bytes) -> None:
    """Also where Kafka's -1, no timestamp, comes as a time before 1970."""
    us = [None, -1_000, -(2**62), 2**62, int(NOW.timestamp() * 1e6)]
    sent = messages(*((None, value, "agent.actions", 0, n, None, None) for n in range(len(us))))
    times = pa.array(us, pa.int64()).cast(MESSAGES.field("timestamp").type)
    sent = sent.set_column(MESSAGES.get_field_index("timestamp"), "timestamp", times)
    parsed = Parser(Limits(), {}, NOW).parse(sent)
    rows = parsed["actions" if value.startswith(b"{") else "quarantine"]
    assert rows["kafka_timestamp"].to_pylist() == [None, None, None, None, NOW]
    assert rows["event_time"].to_pylist() == [NOW] * len(us)


def test_batches_of_an_iterator_are_parsed_one_by_one() -> None:
    sent = messages(*((None, b'{"tool":"t"}', "agent.actions", 0, n, NOW, None) for n in range(5)))
    parsed = Parser(Limits(), {}, NOW).parse(iter(sent.to_batches(max_chunksize=2)))
    assert parsed["actions"]["kafka_offset"].to_pylist() == [0, 1, 2, 3, 4]


def test_what_executors_import_is_light() -> None:
    """Neither pyspark and Kafka's client nor the driver's modules: each worker pays for what it imports."""
    program = "import sys, agentmon.stream.task; print(*sorted(name for name in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = set(ran.stdout.split())
    assert {name.partition(".")[0] for name in imported}.isdisjoint({"pyspark", "py4j", "kafka"})
    driver = {
        "commit",
        "compact",
        "figures",
        "job",
        "kafka",
        "publishing",
        "query",
        "resume",
        "run",
        "source",
        "tables",
    }
    assert imported.isdisjoint({f"agentmon.stream.{name}" for name in driver})
