"""What a live screen begins with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from bench.lake import make
from deltalake import DeltaTable, write_deltalake

from agentmon.lake.opening import Opening, read_opening


def append(lake: Path, table: str, **changed: Any) -> None:
    """A commit of the table's first row once more, with other values."""
    path = str(lake / table)
    row = DeltaTable(path).to_pyarrow_table(filters=[("kafka_partition", "=", 0)])[:1]
    for name, value in changed.items():
        at = row.schema.get_field_index(name)
        row = row.set_column(at, row.schema.field(at), pa.array([value], row.schema.field(at).type))
    write_deltalake(path, row, mode="append")


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Sixty actions, all of whole batches; offsets of partition 0 are 0 to 9."""
    make(tmp_path / "lake", 60, days=1)
    return tmp_path / "lake"


def offsets(opening: Opening) -> set[int]:
    return {row["kafka_offset"] for row in opening.rows if row["kafka_partition"] == 0}


def test_rows_of_a_batch_that_is_not_whole_are_left_to_the_live_reader(lake: Path) -> None:
    append(lake, "actions", kafka_offset=10)
    opening = read_opening(str(lake))
    assert opening.positions["agent.actions", 0] == 10
    assert offsets(opening) == set(range(10))


def test_rows_from_before_a_topic_was_made_anew_are_shown(lake: Path) -> None:
    again = datetime.now(UTC) + timedelta(minutes=1)
    append(lake, "ledger", kafka_topic_id="another", batch_id=99, end_offset=3, committed_at=again)
    opening = read_opening(str(lake))
    assert opening.positions["agent.actions", 0] == 3
    assert offsets(opening) == set(range(10))
