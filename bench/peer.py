"""The peer: a plain Python loader, confluent-kafka → pyarrow JSON → deltalake, into the same tables and columns.

    python -m bench.peer BOOTSTRAP LAKE COUNT [--duties]

Bare, it trusts every message. With duties it does what the job does: it looks at each message before it
trusts it, quarantines what can't be parsed, keeps summaries and writes down its offsets. It prints events/s.
"""

from __future__ import annotations

import io
import json
import math
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
from confluent_kafka import Consumer, Message, TopicPartition
from deltalake import WriterProperties, write_deltalake

from agentmon.contracts.measures import HISTOGRAM_GAMMA
from agentmon.contracts.topics import tables_by_topic

_BATCH = 100_000
_TIMES = ("timestamp", "ts")
_TEXT = pa.string()
#: The fields that the tables' own columns are made of, per table.
_FIELDS = {
    "actions": {
        "tool": _TEXT, "action": _TEXT, "success": pa.bool_(), "reward": pa.float64(), "duration_ms": pa.float64(), "result": _TEXT,
        "error": _TEXT, "reasoning": _TEXT, "span_id": _TEXT, "action_id": pa.int64(), "input_tokens": pa.int64(),
        "output_tokens": pa.int64(), "cost_usd": pa.float64(),
    },
    "thoughts": {"thought": _TEXT, "confidence": pa.float64(), "thought_id": pa.int64()},
    "learning": {"tool": _TEXT, "reward": pa.float64()},
    "metrics": {"action_count": pa.int64(), "thought_count": pa.int64()},
}  # fmt: skip
_COMMON = {
    "type": _TEXT,
    "agent_id": _TEXT,
    "session_id": _TEXT,
    "event_id": _TEXT,
    "timestamp": pa.float64(),
    "ts": pa.float64(),
}


def load(bootstrap: str, lake: str, count: int, duties: bool) -> float:
    """Load `count` messages; events per second from the first poll to the last commit."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "peer", "enable.auto.commit": False, "fetch.min.bytes": 100_000}
    )
    topics = consumer.list_topics(timeout=10).topics
    consumer.assign([TopicPartition(t, p, 0) for t in tables_by_topic() if t in topics for p in topics[t].partitions])
    begun, done, batch = time.perf_counter(), 0, 0
    while done < count:
        messages = consumer.consume(min(_BATCH, count - done), timeout=2)
        if not messages:
            continue
        store(messages, lake, batch, duties)
        done, batch = done + len(messages), batch + 1
    seconds = time.perf_counter() - begun
    consumer.close()
    return done / seconds


def store(messages: list[Message], lake: str, batch: int, duties: bool) -> None:
    """One batch into the tables, with its figures and offsets where there are duties."""
    by_table: dict[str, list[Message]] = defaultdict(list)
    names = tables_by_topic()
    for message in messages:
        table = names.get(message.topic(), "events")
        by_table["quarantine" if duties and not _is_object(message.value()) else table].append(message)
    partials = []
    for table, chosen in by_table.items():
        rows = _quarantined(chosen) if table == "quarantine" else _rows(table, chosen)
        _write(lake, table, rows)
        if duties and table in _FIELDS:
            partials.append(_summary(table, rows))
    if duties:
        _write(lake, "summaries", pa.concat_tables(partials, promote_options="default"))
        _write(lake, "ledger", _ledger(messages, batch))


def _is_object(value: bytes | None) -> bool:
    try:
        return isinstance(json.loads(value or b""), dict)
    except ValueError:
        return False


def _origin(messages: list[Message]) -> dict[str, Any]:
    stamps = pa.array([m.timestamp()[1] * 1000 for m in messages], pa.int64())
    return {
        "kafka_topic": pa.array([m.topic() for m in messages], _TEXT),
        "kafka_partition": pa.array([m.partition() for m in messages], pa.int32()),
        "kafka_offset": pa.array([m.offset() for m in messages], pa.int64()),
        "kafka_timestamp": stamps.cast(pa.timestamp("us", "UTC")),
        "kafka_key": pa.array([m.key() for m in messages], pa.binary()).cast(_TEXT),
        "ingest_time": pa.array([datetime.now(UTC)] * len(messages), pa.timestamp("us", "UTC")),
    }


def _rows(table: str, messages: list[Message]) -> pa.Table:
    values = [m.value() for m in messages]
    fields = {**_COMMON, **_FIELDS.get(table, {})}
    # context and data stay inside payload: pyarrow's JSON reader has no "this object as text".
    options = pj.ParseOptions(explicit_schema=pa.schema(list(fields.items())), unexpected_field_behavior="ignore")
    told = pj.read_json(
        io.BytesIO(b"\n".join(values)), read_options=pj.ReadOptions(block_size=64 << 20), parse_options=options
    )
    columns = {name: told[name] for name in fields if name not in _TIMES}
    seconds = pc.coalesce(told["timestamp"], told["ts"])
    moment = pc.cast(pc.multiply(seconds, 1e6), pa.int64(), safe=False).cast(pa.timestamp("us", "UTC"))
    columns |= {"event_time": moment, "event_date": moment.cast(pa.date32()), **_origin(messages)}
    columns["payload"] = pa.array(values, pa.binary()).cast(_TEXT)
    return pa.table(columns)


def _quarantined(messages: list[Message]) -> pa.Table:
    columns = _origin(messages) | {"raw": pa.array([m.value() for m in messages], pa.binary())}
    return pa.table(columns | {"event_date": columns["kafka_timestamp"].cast(pa.date32())})


def _summary(table: str, rows: pa.Table) -> pa.Table:
    """Counts, sums and a histogram of durations per minute, agent and tool."""
    nulls = pa.nulls(len(rows), pa.float64())
    duration = rows["duration_ms"] if "duration_ms" in rows.column_names else nulls
    keyed = pa.table(
        {
            "window_start": pc.floor_temporal(rows["event_time"], 1, "minute"),
            "agent_id": rows["agent_id"],
            "tool": rows["tool"] if "tool" in rows.column_names else pa.nulls(len(rows), _TEXT),
            "bucket": pc.ceil(pc.divide(pc.ln(duration), math.log(HISTOGRAM_GAMMA))),
            "reward": rows["reward"] if "reward" in rows.column_names else nulls,
            "duration_ms": duration,
            "success": (rows["success"] if "success" in rows.column_names else pa.nulls(len(rows), pa.bool_())).cast(
                pa.int64()
            ),
            "event_time": rows["event_time"],
        }
    )
    found = keyed.group_by(["window_start", "agent_id", "tool", "bucket"]).aggregate(
        [("agent_id", "count"), ("reward", "count"), ("reward", "sum"), ("reward", "min"), ("reward", "max"),
         ("success", "count"), ("success", "sum"), ("duration_ms", "sum"), ("event_time", "min"), ("event_time", "max")]
    )  # fmt: skip
    found = found.append_column("table", pa.array([table] * len(found), _TEXT))
    return found.append_column("event_date", found["window_start"].cast(pa.date32()))


def _ledger(messages: list[Message], batch: int) -> pa.Table:
    ends: dict[tuple[str, int], list[int]] = {}
    for m in messages:
        ends.setdefault((m.topic(), m.partition()), [m.offset(), 0])[1] = m.offset() + 1
    now = datetime.now(UTC)
    return pa.table(
        {
            "batch_id": [batch] * len(ends),
            "kafka_topic": [topic for topic, _ in ends],
            "kafka_partition": [partition for _, partition in ends],
            "start_offset": [start for start, _ in ends.values()],
            "end_offset": [end for _, end in ends.values()],
            "committed_at": [now] * len(ends),
            "event_date": [now.date()] * len(ends),
        }
    )


def _write(lake: str, table: str, rows: pa.Table) -> None:
    write_deltalake(
        f"{lake}/{table}",
        rows,
        mode="append",
        partition_by=["event_date"],
        writer_properties=WriterProperties(compression="ZSTD"),
    )


if __name__ == "__main__":
    rate = load(sys.argv[1], sys.argv[2], int(sys.argv[3]), "--duties" in sys.argv)
    print(json.dumps({"events_per_s": rate}))
