"""Whatever arrives is a row, and the same row whoever reads it, column by column."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from agentmon.live.fetcher import SCHEMA
from hypothesis import HealthCheck, Phase, given, settings
from tests.stream.untidy import INGEST_TIME, MAX_BYTES, MAX_DEPTH, messages

from agentmon.contracts import json_text, message
from agentmon.contracts.message import Limits
from agentmon.contracts.tables import MESSAGE_TABLES
from agentmon.contracts.topics import table_of
from agentmon.stream.columns import Reader
from agentmon.stream.parsed import Parsed
from agentmon.stream.usual import usual

LIMITS = Limits(max_bytes=MAX_BYTES, max_depth=MAX_DEPTH, max_ahead_s=300)
TOPIC_IDS = {"agent.actions": "id of actions", "agent.tasks": "id of tasks"}
MESSAGES = 2500
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: What a message has besides its value and offset, where that does not matter.
PLAIN: dict[str, Any] = {
    "key": b"a",
    "topic": "agent.actions",
    "partition": 0,
    "timestamp": INGEST_TIME,
    "headers": None,
}


def test_rows_in_are_rows_out_and_all_ways_to_read_them_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many at once, one by one, and by the patient reader alone, which is the definition."""
    sent = generated()
    reader = Reader(LIMITS, TOPIC_IDS, INGEST_TIME)
    fetched = as_fetched(sent)
    many = by_offset(reader.read(fetched))
    # Where all messages of a batch are usual they are decoded in one go: so, few of them together.
    few: dict[int, dict[str, Any]] = {}
    for first in range(0, len(sent), 3):
        few |= by_offset(reader.read(fetched.slice(first, 3)))
    monkeypatch.setattr("agentmon.stream.usual._AT_ONCE", 100)
    in_pieces = by_offset(reader.read(fetched))
    read_by_orjson = sum(json_text.read_plain_object(m["value"] or b"", MAX_DEPTH) is not None for m in sent)
    told_apart = Counter(is_usual(m) for m in sent)
    one_by_one = {m["offset"]: alone(m) for m in sent}
    monkeypatch.setattr(message, "read_plain_object", lambda *_: None)
    patient = {m["offset"]: alone(m) for m in sent}
    assert sorted(many) == sorted(few) == list(range(len(sent)))
    assert len(sent) / 4 < read_by_orjson < len(sent), "both readers of single messages have to be tried"
    assert min(told_apart[True], told_apart[False]) > len(sent) / 5, "both ways of the reader of many have to be tried"
    for quick in (one_by_one, many, few, in_pieces):
        differences = [(m, found) for m in sent if (found := differing(patient[m["offset"]], quick[m["offset"]]))]
        differences.sort(key=lambda d: len(d[0]["value"] or b""))
        assert not differences, f"{len(differences)} of {len(sent)}, the shortest:\n" + "\n".join(
            map(describe, differences[:8])
        )


def is_usual(message: dict[str, Any]) -> bool:
    found, _ = usual(pa.array([message["value"]], pa.binary()), table_of(message["topic"]), LIMITS)
    return bool(found.all())


@pytest.mark.parametrize("limits", [Limits(), Limits(max_depth=500), Limits(max_bytes=1_000, max_depth=100)], ids=str)
def test_limits_are_exact(limits: Limits) -> None:
    """A message at a limit is a row, one above it is in quarantine."""
    depth, size = limits.max_depth, min(limits.max_bytes, 100_000)
    texts = [before + "[" * n + "1" + "]" * n + after for before, after, n in _nested(depth)]
    texts += [f'{{"tool":"{"x" * (size - 11 + n)}"}}' for n in (-1, 0, 1)]
    sent = [{**PLAIN, "value": text.encode(), "offset": n} for n, text in enumerate(texts)]
    reader = Reader(limits, TOPIC_IDS, INGEST_TIME)
    rows = by_offset(reader.read(as_fetched(sent)))
    tables = [rows[n]["table"] for n in range(len(sent))]
    assert tables[:9] == ["actions", "actions", "quarantine"] * 3
    assert tables[9:] == ["actions", "actions", "quarantine" if size == limits.max_bytes else "actions"]


def _nested(depth: int) -> list[tuple[str, str, int]]:
    """(before, after, brackets between) for nestings of depth - 1, depth and depth + 1."""
    places = [('{"context":', "}", 1), ('{"event":{"context":', "}}", 2), ('{"zz":', "}", 1)]
    return [(before, after, depth - own + n) for before, after, own in places for n in (-1, 0, 1)]


def generated() -> list[dict[str, Any]]:
    """So many, to be read together."""
    found: list[dict[str, Any]] = []

    @settings(
        max_examples=MESSAGES,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(messages())
    def gather(one: dict[str, Any]) -> None:
        found.append({**one, "offset": len(found)})

    gather()
    return found


def as_fetched(sent: list[dict[str, Any]]) -> pa.Table:
    """As live/fetcher.py hands them out."""
    rows = []
    for one in sent:
        us = None if one["timestamp"] is None else (one["timestamp"] - EPOCH) // timedelta(microseconds=1)
        headers = one["headers"] and [{"key": k, "value": v} for k, v in one["headers"]]
        rows.append({**one, "timestamp_us": us, "headers": headers})
    return pa.Table.from_pylist(rows, SCHEMA)


def by_offset(parsed: Parsed) -> dict[int, dict[str, Any]]:
    return {
        row["kafka_offset"]: {"table": table, **row}
        for table, rows in parsed.items()
        for row in rows.to_pylist(maps_as_pydicts="strict")
    }


def alone(sent: dict[str, Any]) -> dict[str, Any]:
    """What contracts/'s reader says of it."""
    return message.read(
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


def differing(patient: dict[str, Any], quick: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The columns of the row's table in which the two readers differ: name → (patient, quick)."""
    names = ["table", *MESSAGE_TABLES[patient["table"]].column_names]
    return {name: (patient[name], quick[name]) for name in names if not same(patient[name], quick[name])}


def same(patient: Any, quick: Any) -> bool:
    if patient == quick:
        return True
    if not isinstance(patient, str) or not isinstance(quick, str):
        return False
    try:
        return parsed_json(patient) == parsed_json(quick)
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
