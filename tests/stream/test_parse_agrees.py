"""Whatever arrives is a row, and the same row whoever reads it, column by column."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from tests.builders import spark_json
from tests.stream.untidy import INGEST_TIME, MAX_BYTES, MAX_DEPTH, messages

from agentmon.contracts.message import Limits, read
from agentmon.contracts.tables import MESSAGE_TABLES
from agentmon.contracts.topics import table_of
from agentmon.stream.parse import MESSAGES, Parser
from agentmon.stream.parsed import Parsed
from agentmon.stream.usual import usual

LIMITS = Limits(max_bytes=MAX_BYTES, max_depth=MAX_DEPTH, max_ahead_s=300)
TOPIC_IDS = {"agent.actions": "id of actions", "agent.tasks": "id of tasks"}
COUNT = 3000
#: What a message has besides its value and offset, where that does not matter.
PLAIN: dict[str, Any] = {
    "key": b"a",
    "topic": "agent.actions",
    "partition": 0,
    "timestamp": INGEST_TIME,
    "headers": None,
}


def test_rows_in_are_rows_out_and_both_readers_agree() -> None:
    """Many at once, few at once, and one by one by contracts/'s reader, which is the definition."""
    sent = generated()
    parser = Parser(LIMITS, TOPIC_IDS, INGEST_TIME)
    messages = as_messages(sent)
    many = by_offset(parser.parse(messages))
    # Where all messages of a batch are usual they are decoded in one go: so, few of them together.
    few = by_offset(parser.parse(messages.to_batches(max_chunksize=3)))
    usual_ones = Counter(is_usual(m) for m in sent)
    one_by_one = {m["offset"]: alone(m) for m in sent}
    assert sorted(many) == sorted(few) == list(range(len(sent)))
    assert min(usual_ones[True], usual_ones[False]) > len(sent) / 5, "both ways of the reader of many have to be tried"
    for quick in (many, few):
        differences = [(m, d) for m in sent if (d := differing(one_by_one[m["offset"]], quick[m["offset"]]))]
        differences.sort(key=lambda d: len(d[0]["value"] or b""))
        assert not differences, f"{len(differences)} of {len(sent)}, the shortest:\n" + "\n".join(
            map(describe, differences[:8])
        )


def is_usual(message: dict[str, Any]) -> bool:
    mask, _ = usual(pa.array([message["value"]], pa.binary()), table_of(message["topic"]), LIMITS)
    return bool(mask.all())


@pytest.mark.parametrize("limits", [Limits(), Limits(max_depth=500), Limits(max_bytes=1_000, max_depth=100)], ids=str)
def test_limits_are_exact(limits: Limits) -> None:
    """A message at a limit is a row, one above it is in quarantine."""
    depth, size = limits.max_depth, min(limits.max_bytes, 100_000)
    texts = [before + "[" * n + "1" + "]" * n + after for before, after, n in _nested(depth)]
    texts += [f'{{"tool":"{"x" * (size - 11 + n)}"}}' for n in (-1, 0, 1)]
    sent = [{**PLAIN, "value": text.encode(), "offset": n} for n, text in enumerate(texts)]
    parser = Parser(limits, TOPIC_IDS, INGEST_TIME)
    rows = by_offset(parser.parse(as_messages(sent)))
    tables = [rows[n]["table"] for n in range(len(sent))]
    assert tables[:9] == ["actions", "actions", "quarantine"] * 3
    assert tables[9:] == ["actions", "actions", "quarantine" if size == limits.max_bytes else "actions"]


def _nested(depth: int) -> list[tuple[str, str, int]]:
    """(before, after, brackets between) for nestings of depth - 1, depth and depth + 1."""
    places = [('{"context":', "}", 1), ('{"event":{"context":', "}}", 2), ('{"zz":', "}", 1)]
    return [(before, after, depth - own + n) for before, after, own in places for n in (-1, 0, 1)]


def generated() -> list[dict[str, Any]]:
    """So many, to be read together."""
    gathered: list[dict[str, Any]] = []

    @settings(
        max_examples=COUNT,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(messages())
    def gather(one: dict[str, Any]) -> None:
        gathered.append({**one, "offset": len(gathered)})

    gather()
    return gathered


def as_messages(sent: list[dict[str, Any]]) -> pa.Table:
    """As Spark's Kafka source hands them over."""
    return pa.Table.from_pylist([{**one, "headers": spark_json(one["headers"])} for one in sent], MESSAGES)


def by_offset(parsed: Parsed) -> dict[int, dict[str, Any]]:
    return {
        row["kafka_offset"]: {"table": table, **row}
        for table, rows in parsed.items()
        for row in rows.to_pylist(maps_as_pydicts="strict")
    }


def alone(sent: dict[str, Any]) -> dict[str, Any]:
    """What contracts/'s reader says of it."""
    return read(
        sent["value"],
        topic=sent["topic"],
        partition=sent["partition"],
        offset=sent["offset"],
        kafka_timestamp=sent["timestamp"],
        key=sent["key"],
        headers=sent["headers"] or (),
        topic_id=TOPIC_IDS.get(sent["topic"]),
        ingest_time=INGEST_TIME,
        limits=LIMITS,
    )


def differing(alone: dict[str, Any], quick: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The columns of the row's table in which the two readers differ: name → (by contracts/'s, by the quick one)."""
    names = ["table", *MESSAGE_TABLES[alone["table"]].column_names]
    return {name: (alone[name], quick[name]) for name in names if alone[name] != quick[name]}


def describe(difference: tuple[dict[str, Any], dict[str, tuple[Any, Any]]]) -> str:
    message, columns = difference
    return f"{message['topic']} {message['value']!r} key={message['key']!r} at {message['timestamp']}: " + ascii(
        columns
    )
