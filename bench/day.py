"""A lake as a day of the job leaves it, a commit a second and table, without Spark and in half a minute.

Ten minutes of events like the recording's are counted batch by batch, as the job counts them, and stand for every ten
minutes of the day. All but the newest files are merged, as stream/compact.py leaves them. Of the log there is what the
table's properties keep: commits and checkpoints of the last delta.logRetentionDuration, those of files that are merged
by now among them. The tables of messages, which `status` does not read, stay empty.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import write_deltalake

from agentmon.contracts.message import Limits, read
from agentmon.contracts.tables import TABLES
from agentmon.lake.partials import COUNTED, Partials
from agentmon.live.topics import wanted_topics
from agentmon.settings import Settings
from agentmon.stream.batch import Batch, ranges_between
from agentmon.stream.compact import TARGET_BYTES
from agentmon.stream.tables import PARQUET, Appender, create_missing
from bench.events import events
from bench.log import Span, lengthen

DAY_S = 86_400
RATE = 50
#: Seconds of events that are made; the day is so many of them, one after another.
_BLOCK_S = 600
_BLOCKS = DAY_S // _BLOCK_S
#: The newest commits, whose files are not merged yet: as many as there can be.
TAIL = Settings().compact_files + len(TABLES) - 2
_RUN, _CLUSTER = "bench-day", "cluster"

#: Rows of the block as those of the block `$nth` of the day, `$back_us` earlier.
_MOVED = """
SELECT * REPLACE ({moved}) FROM block, (SELECT unnest(range({blocks})) AS nth) ORDER BY batch_id
"""
_EARLIER = "- to_microseconds(({blocks} - 1 - nth) * {block_us})"
_TIMES = {
    "summaries": ("window_start", "window_end", "first_event_time", "last_event_time"),
    "sessions": ("first_event_time", "last_event_time", "ended_at"),
    "ledger": ("committed_at",),
}


def make_day(lake: Path) -> None:
    """Summaries, sessions and ledger of the 24 hours until now."""
    create_missing(str(lake))
    for table, block in _block().items():
        _write(lake, table, block)
        lengthen(
            lake / table / "_delta_log",
            Span(commits=DAY_S, seconds=DAY_S, kept=TAIL, merged=TAIL, properties=TABLES[table].properties),
        )


def _write(lake: Path, table: str, block: pa.Table) -> None:
    """All rows of a day: version 1 has the merged files, and each of the newest batches is a commit after it."""
    con = duckdb.connect(config={"threads": 2})
    con.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
    con.register("block", block)
    con.execute(f"CREATE TEMP TABLE day AS {_moved(table, block.column_names)}")
    kind, first = TABLES[table], DAY_S - TAIL
    dated = f"SELECT * REPLACE ({_TIMES[table][0]}::DATE AS event_date) FROM day"
    names = ", ".join(f'"{c.name}"' for c in kind.columns)
    write_deltalake(
        str(lake / table),
        con.execute(f"SELECT {names} FROM ({dated}) WHERE batch_id < {first} ORDER BY batch_id").to_arrow_reader(),
        mode="append",
        target_file_size=TARGET_BYTES,
        writer_properties=PARQUET,
    )
    appender = Appender(str(lake), kind)
    tail = con.execute(f"SELECT {names} FROM ({dated}) WHERE batch_id >= {first}").to_arrow_table()
    for number in range(first, DAY_S):
        rows = tail.filter(pc.equal(tail["batch_id"], number))
        appender.append(rows.drop_columns(["query_id", "batch_id"]) if table != "ledger" else rows, batch(number))


def batch(number: int) -> Batch:
    """A batch as the job describes it in each commit: ranges of seven partitions."""
    places = [(spec.name, p) for spec in wanted_topics()[:3] for p in range(spec.partitions)]
    start = {place: number * RATE // len(places) for place in places}
    end = {place: offset + RATE // len(places) for place, offset in start.items()}
    topic_ids = {topic: "0123456789abcdefghijkl" for topic, _ in places}
    return Batch(_RUN, number, ranges_between(start, end, topic_ids), datetime.now(UTC), _CLUSTER)


def _moved(table: str, columns: list[str]) -> str:
    earlier = _EARLIER.format(blocks=_BLOCKS, block_us=_BLOCK_S * 1_000_000)
    moved = [f"{name} {earlier} AS {name}" for name in _TIMES[table]]
    moved.append(f"batch_id + nth * {_BLOCK_S} AS batch_id")
    if "session_id" in columns:
        moved.append("session_id || '-' || nth AS session_id")
    moved += [
        f"list_transform({name}, lambda r: {{'reward': r.reward, 'event_time': r.event_time {earlier}, "
        f"'kafka_partition': r.kafka_partition, 'kafka_offset': r.kafka_offset + nth * {_BLOCK_S * RATE}}}) AS {name}"
        for name in columns
        if name.startswith("recent_")
    ]
    if table == "ledger":
        moved += [f"{name} + nth * {_BLOCK_S * RATE} AS {name}" for name in ("start_offset", "end_offset")]
    return _MOVED.format(moved=", ".join(moved), blocks=_BLOCKS)


def _block() -> dict[str, pa.Table]:
    """The last ten minutes: what each second's batch adds to summaries, sessions and ledger."""
    end = time.time() // 60 * 60
    rows, partials = _rows(end - _BLOCK_S), Partials(Settings().window_s)
    added: dict[str, list[pa.Table]] = {"summaries": [], "sessions": [], "ledger": []}
    for number in range(_BLOCK_S):
        part = rows.slice(number * RATE, RATE)
        moment = datetime.fromtimestamp(end - _BLOCK_S + number + 1, UTC)
        made = {
            "summaries": partials.summaries(part),
            "sessions": partials.sessions(part),
            "ledger": _ledger(part, moment),
        }
        for table, found in made.items():
            named = found.append_column("query_id", pa.array([_RUN] * len(found)))
            added[table].append(named.append_column("batch_id", pa.array([number] * len(found), pa.int64())))
    return {table: pa.concat_tables(parts) for table, parts in added.items()}


def _rows(start: float) -> pa.Table:
    """The block's messages as the job reads them, in order of their time."""
    partitions = {spec.name: spec.partitions for spec in wanted_topics()}
    offsets: dict[tuple[str, int], int] = {}
    found: list[dict[str, Any]] = []
    for topic, key, value in events(_BLOCK_S * RATE, start=start, step_s=1 / RATE):
        place = topic, crc32(key) % partitions[topic]
        offset = offsets[place] = offsets.get(place, -1) + 1
        moment = datetime.fromtimestamp(start, UTC) + timedelta(seconds=len(found) / RATE)
        found.append(
            read(
                value, key=key, topic=topic, partition=place[1], offset=offset, kafka_timestamp=moment,
                ingest_time=moment, limits=Limits(),
            )
        )  # fmt: skip
    types = {"input_tokens": pa.int64(), "output_tokens": pa.int64(), "cost_usd": pa.float64(), "error": pa.string(),
             "duration_ms": pa.float64(), "metrics": pa.map_(pa.string(), pa.float64())}  # fmt: skip
    names = ("table", "kafka_topic", *COUNTED)
    columns = [pa.array([row[name] for row in found], types.get(name)) for name in names]
    return pa.table(columns, names=names)


def _ledger(rows: pa.Table, moment: datetime) -> pa.Table:
    """The ledger's rows of one batch."""
    counted = rows.group_by(["kafka_topic", "kafka_partition"]).aggregate(
        [("kafka_offset", "min"), ("kafka_offset", "max"), ([], "count_all")]
    )
    many = len(counted)
    return pa.table(
        {
            "kind": ["stored"] * many,
            "kafka_topic": counted["kafka_topic"],
            "kafka_topic_id": ["0123456789abcdefghijkl"] * many,
            "kafka_partition": counted["kafka_partition"].cast(pa.int32()),
            "start_offset": counted["kafka_offset_min"],
            "end_offset": pc.add(counted["kafka_offset_max"], 1),
            "messages": counted["count_all"],
            "cluster_id": [_CLUSTER] * many,
            "committed_at": pa.array([moment] * many, pa.timestamp("us", "UTC")),
            "note": pa.nulls(many, pa.string()),
            "event_date": pa.array([moment.date()] * many),
        }
    )


def commit_times(lake: Path, table: str, count: int = 100) -> list[float]:
    """Seconds that each of so many further commits of a batch takes, its file's writing included."""
    newest = max((lake / table).glob("event_date=*/*.parquet"), key=lambda path: path.stat().st_mtime)
    rows = pq.read_table(newest, partitioning=None)
    today = pa.array([datetime.now(UTC).date()] * len(rows))
    rows = rows.append_column("event_date", today)
    if table != "ledger":
        rows = rows.drop_columns(["query_id", "batch_id"])
    appender, took = Appender(str(lake), TABLES[table]), []
    for number in range(count):
        one = replace(batch(number), query_id=f"{_RUN}-again-{time.time():.0f}")
        begun = time.perf_counter()
        appender.append(rows, one)
        took.append(time.perf_counter() - begun)
    return took
