"""Spark's reading of a message is contracts/'s plain one, column by column, whatever arrives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from pyspark.sql import SparkSession
from tests.spark.untidy import INGEST_TIME, MAX_BYTES, MAX_DEPTH, messages

from agentmon.contracts.message import Limits, read
from agentmon.contracts.tables import MESSAGE_TABLES
from agentmon.stream.parse import parse

LIMITS = Limits(max_bytes=MAX_BYTES, max_depth=MAX_DEPTH, max_ahead_s=300)
TOPIC_IDS = {"agent.actions": "id of actions", "agent.tasks": "id of tasks"}
MESSAGES = 2500
#: What a message has besides its value and offset, where that does not matter.
PLAIN: dict[str, Any] = {
    "key": b"a",
    "topic": "agent.actions",
    "partition": 0,
    "timestamp": INGEST_TIME,
    "headers": None,
}

_SCHEMA = pa.schema(
    {
        "key": pa.binary(),
        "value": pa.binary(),
        "topic": pa.string(),
        "partition": pa.int32(),
        "offset": pa.int64(),
        "timestamp": pa.timestamp("us", "UTC"),
        "headers": pa.list_(pa.struct({"key": pa.string(), "value": pa.binary()})),
    }
)


def test_both_readers_agree(spark: SparkSession, tmp_path: Path) -> None:
    sent = generated()
    rows = {row["kafka_offset"]: row for row in spark_rows(spark, sent, tmp_path)}
    assert sorted(rows) == list(range(len(sent)))
    differences = [
        (message, found) for message in sent if (found := differing(plain_row(message), rows[message["offset"]]))
    ]
    differences.sort(key=lambda d: len(d[0]["value"] or b""))
    assert not differences, f"{len(differences)} of {len(sent)}, the shortest:\n" + "\n".join(
        map(describe, differences[:8])
    )


@pytest.mark.parametrize("limits", [Limits(), Limits(max_depth=500), Limits(max_bytes=1_000, max_depth=100)], ids=str)
def test_both_readers_have_the_same_limits(spark: SparkSession, tmp_path: Path, limits: Limits) -> None:
    """A message at a limit is a row, one above it is in quarantine."""
    depth, size = limits.max_depth, min(limits.max_bytes, 100_000)
    texts = [before + "[" * n + "1" + "]" * n + after for before, after, n in _nested(depth)]
    texts += [f'{{"tool":"{"x" * (size - 11 + n)}"}}' for n in (-1, 0, 1)]
    sent = [{**PLAIN, "value": text.encode(), "offset": n} for n, text in enumerate(texts)]
    rows = {row["kafka_offset"]: row for row in spark_rows(spark, sent, tmp_path, limits)}
    tables = [rows[n]["table"] for n in range(len(sent))]
    assert tables[:9] == ["actions", "actions", "quarantine"] * 3
    assert tables[9:] == ["actions", "actions", "quarantine" if size == limits.max_bytes else "actions"]
    for message in sent:
        assert not differing(plain_row(message, limits), rows[message["offset"]])


def _nested(depth: int) -> list[tuple[str, str, int]]:
    """(before, after, brackets between) for nestings of depth - 1, depth and depth + 1."""
    places = [('{"context":', "}", 1), ('{"event":{"context":', "}}", 2), ('{"zz":', "}", 1)]
    return [(before, after, depth - own + n) for before, after, own in places for n in (-1, 0, 1)]


def generated() -> list[dict[str, Any]]:
    """As many messages as Spark can take in one job: a job for each would take hours."""
    found: list[dict[str, Any]] = []

    @settings(
        max_examples=MESSAGES,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(messages)
    def gather(message: dict[str, Any]) -> None:
        found.append({**message, "offset": len(found)})

    gather()
    return found


def spark_rows(
    spark: SparkSession, sent: list[dict[str, Any]], folder: Path, limits: Limits = LIMITS
) -> list[dict[str, Any]]:
    """Through a file: Spark would read rows of the test's own in its optimizer, by other code than the job's."""
    headers = [m["headers"] and [{"key": k, "value": v} for k, v in m["headers"]] for m in sent]
    table = pa.Table.from_pylist([{**m, "headers": h} for m, h in zip(sent, headers, strict=True)], _SCHEMA)
    pq.write_table(table, folder / "messages.parquet")
    rows = spark.read.parquet(str(folder / "messages.parquet"))
    parsed = parse(rows, limits=limits, topic_ids=TOPIC_IDS, ingest_time=INGEST_TIME)
    found: list[dict[str, Any]] = parsed.toArrow().to_pylist()
    return found


def plain_row(message: dict[str, Any], limits: Limits = LIMITS) -> dict[str, Any]:
    return read(
        message["value"],
        topic=message["topic"],
        partition=message["partition"],
        offset=message["offset"],
        kafka_timestamp=message["timestamp"],
        key=message["key"],
        headers=message["headers"] or (),
        topic_id=TOPIC_IDS.get(message["topic"]),
        ingest_time=INGEST_TIME,
        limits=limits,
    )


def differing(plain: dict[str, Any], spark: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The columns of the row's table in which the two readers differ: name → (plain, Spark)."""
    names = ["table", *MESSAGE_TABLES[plain["table"]].column_names]
    return {name: (plain[name], spark[name]) for name in names if not same(plain[name], spark[name])}


def same(plain: Any, spark: Any) -> bool:
    if isinstance(plain, dict):  # a map: Arrow has it as a list of pairs
        return spark is not None and len(spark) == len(plain) and dict(spark) == plain
    if plain == spark:
        return True
    if not isinstance(plain, str) or not isinstance(spark, str):
        return False
    try:
        return parsed_json(plain) == parsed_json(spark)
    except ValueError:
        return False


def parsed_json(text: str) -> Any:
    """JSON that compares equal only where it says the same: Python takes 1, 1.0 and True for equal."""
    return json.loads(
        text, parse_int=lambda n: ("int", n), parse_float=lambda n: ("float", float(n)), parse_constant=str
    )


def describe(difference: tuple[dict[str, Any], dict[str, tuple[Any, Any]]]) -> str:
    message, columns = difference
    return f"{message['topic']} {message['value']!r} key={message['key']!r} at {message['timestamp']}: " + ascii(
        columns
    )
