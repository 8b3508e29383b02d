"""Small files are merged while the job runs: fewer files, the same rows, and nobody who reads or writes notices."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from tests.lake.rows import Row, at, message

from agentmon.contracts.tables import EVENTS, LEDGER, TABLES
from agentmon.lake.connection import open_lake
from agentmon.lake.ledger import has_batch
from agentmon.settings import Settings
from agentmon.stream.batch import Batch, Range
from agentmon.stream.commit import ledger_rows
from agentmon.stream.compact import Compactor, clean, compact
from agentmon.stream.locks import FileLock
from agentmon.stream.resume import unsealed_batch
from agentmon.stream.tables import Appender, create_missing

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FILES = 4
#: Kafka lets producers put any time on a message.
FAR = datetime(9000, 1, 1, 0, 0, 0, 123000, tzinfo=UTC)


def batch(number: int) -> Batch:
    return Batch("run", number, (Range("agent.later", "id", 0, number * 2, number * 2 + 2),), at(0), "cluster")


def rows_of(number: int) -> list[Row]:
    fields: dict[str, Any] = {"kafka_topic": "agent.later", "payload": f"€ {number}", "kafka_timestamp": FAR}
    return [message(offset=number * 2 + n, event_time=at(number) + timedelta(microseconds=1), **fields) for n in (0, 1)]


def store(spark: SparkSession, lake: str, number: int, *, sealed: bool = True) -> None:
    """A small batch, as the job commits it."""
    values = [tuple(row.get(name) for name in EVENTS.column_names) for row in rows_of(number)]
    Appender(lake, EVENTS).append(spark.createDataFrame(values, EVENTS.ddl()).toArrow(), batch(number))
    if sealed:
        Appender(lake, LEDGER).append(ledger_rows(batch(number), "stored"), batch(number))


def files(lake: str, table: str) -> int:
    return len(DeltaTable(f"{lake}/{table}").file_uris())


def stored(lake: str) -> list[Any]:
    with open_lake(lake) as con:
        return list(con.execute("FROM events ORDER BY kafka_offset").fetchall())


def test_files_stay_few_and_rows_the_same(spark: SparkSession, home_settings: Settings) -> None:
    lake = home_settings.lake
    create_missing(lake)
    lock = FileLock(Path(lake) / ".commit.lock")
    settings = Settings(home=home_settings.home, compact_files=FILES)
    compactor = Compactor(settings, lock.held)
    most = 0
    for number in range(3 * FILES):
        store(spark, lake, number)
        before = stored(lake)
        for table in TABLES:
            compactor.look_after(table)
        assert stored(lake) == before
        most = max(most, files(lake, "events"), files(lake, "ledger"))
    compactor.close()
    assert most < FILES + 1
    assert len(before) == 6 * FILES
    assert DeltaTable(f"{lake}/events").protocol().min_reader_version == 1

    adds = pa.table(DeltaTable(f"{lake}/events").get_add_actions(flatten=True))
    assert adds["max.kafka_offset"].to_pylist() != [None]
    assert "max.payload" not in adds.column_names, "statistics are kept of the first columns alone"
    with open_lake(lake) as con:
        assert con.execute("SELECT DISTINCT kafka_timestamp FROM events").fetchall() == [(FAR,)]
    store(spark, lake, 3 * FILES - 1)
    assert stored(lake) == before, "a batch that is done again is still known by its name"

    store(spark, lake, 99, sealed=False)
    compact(f"{lake}/events", 2)
    found = unsealed_batch(lake, lambda query, number: has_batch(lake, query, number))
    assert found == batch(99), "a batch that is not whole is found behind the merge"


def test_what_nobody_can_read_any_more_is_removed(spark: SparkSession, home_settings: Settings) -> None:
    lake = home_settings.lake
    create_missing(lake)
    for number in range(2):
        store(spark, lake, number)
    day = next(Path(lake, "events").glob("event_date=*"))
    merged = set(day.glob("*.parquet"))
    compact(f"{lake}/events", 2)
    (day / "left-by-a-killed-task.parquet").touch()
    long_ago = time.time() - 7200
    os.utime(day / "left-by-a-killed-task.parquet", (long_ago, long_ago))
    assert clean(f"{lake}/events") == 0
    assert (day / "left-by-a-killed-task.parquet").exists(), "the nightly job's: a batch in hand may still name it"
    assert merged <= set(day.glob("*.parquet")), "readers of the version before still need them"


@pytest.fixture
def many_files(spark: SparkSession, home_settings: Settings) -> str:
    create_missing(home_settings.lake)
    for number in range(6):
        store(spark, home_settings.lake, number)
    return home_settings.lake


def test_a_kill_while_merging_changes_nothing(many_files: str, spark: SparkSession) -> None:
    """A killed merge has committed or has not; in both cases the next one goes on."""
    code = "import sys; from agentmon.stream.compact import compact; print(flush=True); compact(sys.argv[1], 2)"
    before, chance = stored(many_files), random.Random(1)
    for number in range(5):
        merging = subprocess.Popen([sys.executable, "-c", code, f"{many_files}/events"], stdout=subprocess.PIPE)
        assert merging.stdout is not None
        merging.stdout.readline()
        time.sleep(chance.uniform(0, 0.05))
        merging.send_signal(signal.SIGKILL)
        merging.communicate()
        assert stored(many_files) == before
        store(spark, many_files, 10 + number)
        before = stored(many_files)
    compact(f"{many_files}/events", 2)
    assert stored(many_files) == before
    assert files(many_files, "events") == 1


def test_a_failed_merge_is_no_reason_to_stop(home_settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Here there is no table at all."""
    compactor = Compactor(home_settings, nullcontext)
    compactor.look_after("actions")
    compactor.close()
    assert "small files of actions were not merged" in caplog.text
