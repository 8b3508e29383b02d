"""A newer version starts on what an older one left: fewer columns, a table less, the checkpoint of another plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deltalake import DeltaTable, Schema
from tests.lake.rows import Row, message, sealed, summary
from tests.stream.life import Life, figures

from agentmon.contracts.tables import TABLES
from agentmon.live.topics import describe
from agentmon.stream.query import NAME
from agentmon.stream.tables import schema_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Columns that the older version did not know.
LATER = {
    "actions": {"span_id", "cost_usd", "kafka_headers"},
    "thoughts": {"confidence"},
    "events": {"kafka_headers"},
    "summaries": {
        "cost_usd",
        "last_cpu_percent",
        "recent_learning_rewards",
        "agent_duration_count",
        "agent_duration_buckets",
    },
    "sessions": {"ended_at"},
    "ledger": {"note"},
}
#: Delta's properties that it set, one of them to another value than today's.
OLDER_PROPERTIES = {"delta.dataSkippingNumIndexedCols": "6", "delta.logRetentionDuration": "interval 7 days"}
#: Tables that it did not have.
LATER_TABLES = {"quarantine", "metrics"}


def make_old_lake(spark: SparkSession, lake: str, **tables: list[Row]) -> None:
    for table in TABLES.values():
        if table.name in LATER_TABLES:
            continue
        fields = [f for f in schema_of(table).fields if f.name not in LATER.get(table.name, set())]
        DeltaTable.create(
            f"{lake}/{table.name}", Schema(fields), partition_by=[table.partition], configuration=dict(OLDER_PROPERTIES)
        )
        columns = [c for c in table.columns if c.name in {f.name for f in fields}]
        rows = [tuple(row.get(c.name) for c in columns) for row in tables.get(table.name, [])]
        if rows:
            ddl = ", ".join(f"`{c.name}` {c.type}" for c in columns)
            frame = spark.createDataFrame(rows, ddl).coalesce(1)
            frame.write.format("delta").mode("append").save(f"{lake}/{table.name}")


def make_old_checkpoint(spark: SparkSession, place: str, folder: Path) -> None:
    """A checkpoint with state, as another plan left it."""
    (folder / "a.json").write_text('{"tool": "grep"}')
    counts = spark.readStream.schema("tool string").json(str(folder)).groupBy("tool").count()
    query = counts.writeStream.outputMode("update").format("noop").option("checkpointLocation", place)
    query.trigger(availableNow=True).start().awaitTermination()


def test_a_lake_of_an_older_version_goes_on_with_every_offset_once(
    spark: SparkSession,
    life: Life,
    tmp_path: Path,
    audit: Callable[[], tuple[int, dict[str, list[dict[str, Any]]]]],
) -> None:
    life.make_topic("agent.actions")
    life.send("agent.actions", 5, tool="grep", span_id="old")
    names = {"kafka_topic_id": describe(life.connection).topics["agent.actions"].topic_id}
    make_old_lake(
        spark,
        life.settings.lake,
        actions=[message(offset=n, tool="grep", **names) for n in range(5)],
        summaries=[summary(actions=5, tool="grep")],
        ledger=[sealed(1, end=5, **names)],
    )
    make_old_checkpoint(spark, f"{life.settings.checkpoints}/lake", tmp_path)
    life.send("agent.actions", 4, tool="grep", span_id="new", cost_usd=0.25)
    life.send("agent.actions", 1, tool=float("nan"), span_id="new")
    life.make_topic("agent.metrics")
    life.send("agent.metrics", 1, metrics={"memory_bytes": 1})

    with life.job() as running:
        life.wait_sealed("agent.actions", 10, running)
        life.wait_sealed("agent.metrics", 1, running)

    for table in TABLES.values():
        there = DeltaTable(f"{life.settings.lake}/{table.name}")
        assert {field.name for field in there.schema().fields} == set(table.column_names), table.name
        kept = {} if table.name in LATER_TABLES else OLDER_PROPERTIES
        assert there.metadata().configuration == {**table.properties, **kept}, table.name
    left = [path.name for path in Path(life.settings.checkpoints).iterdir() if path.is_dir()]
    assert [name.partition("-")[0] for name in left] == [NAME], "the older checkpoint is gone, and was not gone on from"
    query = "SELECT span_id, count(*), sum(cost_usd) FROM actions GROUP BY 1 ORDER BY 1 NULLS FIRST"
    assert life.rows(query) == [(None, 5, None), ("new", 5, 1.0)]
    assert life.rows("SELECT sum(actions), sum(cost_usd) FROM summaries") == [(10, 1.0)]
    code, rows = audit()
    assert code == 0
    columns = ("in_kafka", "stored", "holes", "repeats", "pending")
    assert figures(rows["agent.actions"], *columns) == [(10, 10, 0, 0, 0)]
    assert figures(rows["agent.metrics"], *columns) == [(1, 1, 0, 0, 0)]
