"""A micro-batch's tasks on executors that see the driver's lake, and on those that do not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from tests.builders import T0, kafka_messages, run_task

from agentmon.errors import AgentmonError
from agentmon.settings import Settings
from agentmon.stream.batch import Batch, Range
from agentmon.stream.locks import WRITER_FILE, hold_alone
from agentmon.stream.run import run_tasks
from agentmon.stream.tables import create_missing

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MESSAGES = kafka_messages("agent.run", *[b'{"type": "x", "agent_id": "a"}'] * 3)
BATCH = Batch("query", 0, (Range("agent.run", "id", 0, 0, 3),), T0, "cluster")


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Path]:
    """A lake with its tables, held by this process as by a job."""
    folder = tmp_path / "lake"
    held = hold_alone(folder, "the lake")
    create_missing(str(folder))
    yield folder
    held.close()


def files(lake: Path) -> list[Path]:
    return list(lake.glob("events/event_date=*/*.parquet"))


def test_a_task_writes_into_the_drivers_lake_alone(lake: Path) -> None:
    """What lies in the lake's place on another machine may be a lake too."""
    output = run_task(str(lake), BATCH, MESSAGES, writer="another machine's job")
    assert output.hosts_without_lake() == [socket.gethostname()]
    assert output.messages() == {}
    assert files(lake) == []
    output = run_task(str(lake), BATCH, MESSAGES, writer=(lake / WRITER_FILE).read_text())
    assert output.hosts_without_lake() == []
    assert len(files(lake)) == 1


def test_a_lake_that_an_executor_does_not_see_is_refused(
    lake: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = spark.createDataFrame(pa.Table.from_batches([MESSAGES]))
    settings = Settings(home=lake.parent, lake_uri="lake")
    monkeypatch.chdir(lake.parent)  # Spark's own processes stay in the folder where they were started
    with pytest.raises(AgentmonError) as refused:
        run_tasks(messages, BATCH, settings)
    assert str(refused.value) == (
        f"the lake lake is a folder of this machine, and {socket.gethostname()} runs tasks without it: on a cluster it "
        "must be a folder that all machines share, or an object store (AGENTMON_LAKE)"
    )
    assert files(lake) == []
    output = run_tasks(messages, BATCH, Settings(home=lake.parent))
    assert output.messages() == {("agent.run", 0): 3}
    assert len(files(lake)) == 1
