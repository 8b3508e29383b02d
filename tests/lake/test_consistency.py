"""What a reader sees stays as it was when it opened the lake."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lake.conftest import MakeLake
from tests.lake.rows import append, at, sealed, summary

from agentmon.lake.connection import open_lake
from agentmon.lake.ledger import has_batch, read_positions
from agentmon.lake.status import read_status

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_an_open_lake_does_not_move(spark: SparkSession, make_lake: MakeLake) -> None:
    lake = make_lake(summaries=[summary(actions=1)], ledger=[sealed(1)])
    with open_lake(lake, ("summaries", "ledger")) as con:
        append(spark, lake, "summaries", [summary(batch=2, actions=10)])
        append(spark, lake, "ledger", [sealed(2)])
        assert con.execute("SELECT sum(actions) FROM summaries").fetchone() == (1,)
        assert con.execute("SELECT max(batch_id) FROM ledger").fetchone() == (1,)
    with open_lake(lake, ("summaries",)) as con:
        assert con.execute("SELECT sum(actions) FROM summaries").fetchone() == (11,)


def test_positions_are_the_highest_end_over_all_kinds(make_lake: MakeLake, empty_lake: str, tmp_path: Path) -> None:
    lake = make_lake(
        ledger=[
            sealed(1, end=10),
            sealed(2, 1, end=20, start_offset=10),
            sealed(0, 2, end=30, start_offset=20, kind="lost", query_id="accepted"),
            sealed(3, 3, end=5, kafka_topic_id="remade"),
        ]
    )
    assert [(p.topic, p.topic_id, p.partition, p.end_offset) for p in read_positions(lake)] == [
        ("agent.actions", "id", 0, 30),
        ("agent.actions", "remade", 0, 5),
    ]
    assert has_batch(lake, "run", 2)
    assert not has_batch(lake, "run", 9)
    assert read_positions(empty_lake) == []
    assert read_positions(f"{tmp_path}/nothing") == []


def test_a_lake_without_a_table_that_a_newer_version_brings_is_read(make_lake: MakeLake) -> None:
    lake = make_lake(summaries=[summary(actions=1)], ledger=[sealed(1, 4)])
    shutil.rmtree(f"{lake}/sessions")
    status = read_status(lake)
    assert (status["agents"][0]["sessions"], status["freshness"]["last_commit_time"]) == (0, at(4))
