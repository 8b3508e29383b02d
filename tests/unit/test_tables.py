"""The tables' logs: brought to today's properties, cleaned with a checkpoint, and forged as long ones by the bench."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pyarrow as pa
import pytest
from bench.log import Span, lengthen
from deltalake import DeltaTable

from agentmon.contracts.tables import FORMER_PROPERTIES, LEDGER, TABLES
from agentmon.lake.connection import connect
from agentmon.lake.snapshot import read_snapshot
from agentmon.stream.batch import Batch, Range, now
from agentmon.stream.tables import Appender, create_missing
from agentmon.stream.types import arrow_type

INTERVAL = int(LEDGER.properties["delta.checkpointInterval"])
ROWS = pa.table(
    {c.name: pa.nulls(1, arrow_type(c.type)) for c in LEDGER.columns if c.name != "event_date"}
).append_column("event_date", pa.array([now().date()]))


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    create_missing(str(tmp_path))
    return tmp_path


def append(lake: Path, first: int, count: int) -> None:
    """Commits to the ledger, a row each."""
    appender = Appender(str(lake), LEDGER)
    for number in range(first, first + count):
        appender.append(ROWS, Batch("run", number, (Range("agent.actions", "id", 0, number, number + 1),), now(), "c"))


def versions(lake: Path) -> list[int]:
    """Those of which the ledger's log has the commit."""
    return sorted(int(path.stem) for path in (lake / "ledger" / "_delta_log").glob("*.json"))


@pytest.mark.parametrize(("name", "former"), FORMER_PROPERTIES.items())
def test_a_property_that_we_once_set_is_brought_to_todays_and_one_that_somebody_set_stays(
    lake: Path, name: str, former: str
) -> None:
    for set_to, then in ((former, LEDGER.properties[name]), ("interval 9 days", "interval 9 days")):
        DeltaTable(str(lake / "ledger")).alter.set_table_properties({name: set_to})
        create_missing(str(lake))
        assert DeltaTable(str(lake / "ledger")).metadata().configuration[name] == then


def test_the_log_is_cleaned_with_a_checkpoint_and_not_before(lake: Path) -> None:
    append(lake, 0, INTERVAL)
    hours_ago = time.time() - 5 * 3600
    for path in (lake / "ledger" / "_delta_log").iterdir():
        os.utime(path, (hours_ago, hours_ago))
    append(lake, INTERVAL, INTERVAL - 2)
    assert versions(lake) == [*range(2 * INTERVAL - 1)]
    append(lake, 2 * INTERVAL - 2, 1)
    assert versions(lake) == [*range(INTERVAL - 1, 2 * INTERVAL)]
    assert DeltaTable(str(lake / "ledger")).to_pyarrow_table().num_rows == 2 * INTERVAL - 1


def test_a_log_made_longer_has_the_same_files(lake: Path) -> None:
    append(lake, 0, 11)
    table = DeltaTable(str(lake / "ledger"))
    before, rows = set(table.file_uris()), table.to_pyarrow_table().num_rows
    span = Span(commits=7200, seconds=7200, kept=10, merged=36, properties=TABLES["ledger"].properties)
    lengthen(lake / "ledger" / "_delta_log", span)
    table = DeltaTable(str(lake / "ledger"))
    assert (table.version(), set(table.file_uris())) == (7400, before)
    assert table.to_pyarrow_table().num_rows == rows
    assert 3600 < len(versions(lake)) < 3600 + 2 * INTERVAL + 3600 // 36
    with connect(delta=False) as con:
        assert {file.path for file in read_snapshot(con, str(lake), "ledger") or ()} == before
