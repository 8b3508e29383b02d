"""status reads the files that Delta's log names: what it opens, and that it reads older and foreign ones as Delta does."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bench.lake import make
from deltalake import DeltaTable, TableFeatures

from agentmon.lake.figures import open_figures
from agentmon.lake.reading import reading
from agentmon.lake.snapshot import File, NotPlainError, newest_of_each_run, read_snapshot
from agentmon.lake.status import read_status

DAY = date(2026, 11, 20)
SUMMED = (
    "SELECT sum(actions), sum(action_reward_sum)::FLOAT, max(last_event_time), max(recent_action_rewards[-1].event_time), "
    "sum(list_sum(map_values(duration_buckets))), count(DISTINCT event_date), count(last_cpu_percent) FROM summaries"
)


@pytest.fixture
def lake(tmp_path: Path) -> str:
    """Two closed days, and an open one in several files."""
    make(tmp_path / "lake", 600, days=3, commits=5, today=DAY)
    return str(tmp_path / "lake")


def status(lake: str) -> dict[str, Any]:
    """What status says, sums to 9 digits: their last one hangs on the order in which threads add."""
    told = json.dumps({**read_status(lake), "as_of": None}, default=str)
    found: dict[str, Any] = json.loads(told, parse_float=lambda text: round(float(text), 9))
    return found


def files(lake: str, table: str) -> list[Path]:
    return sorted(Path(lake, table).glob("event_date=*/*.parquet"))


def test_it_reads_what_the_delta_reader_reads(lake: str) -> None:
    with reading(lake, "summaries", "sessions") as delta, open_figures(lake) as direct:
        for query in (SUMMED, "SELECT count(DISTINCT session_id), sum(actions) FROM sessions", "SELECT * FROM sealed"):
            assert direct.execute(query).fetchall() == delta.execute(query).fetchall()


def test_of_the_ledger_only_files_with_a_newest_seal_are_opened(lake: str) -> None:
    opened = newest_of_each_run(read_snapshot(lake, "ledger") or [])
    assert len(opened) == 1
    before = status(lake)
    for path in files(lake, "ledger"):
        if str(path) != opened[0].path:
            path.unlink()
    assert status(lake) == before


def seals(run: str | None, batch: int | None, kind: str = "stored", until: str | None = None) -> File:
    stats = {"min.query_id": run, "max.query_id": until or run, "min.kind": kind, "max.kind": kind}
    return File(f"{run}-{batch}-{kind}", 0, {**stats, "max.batch_id": batch})


def test_files_that_the_log_tells_too_little_of_are_opened() -> None:
    told = [seals("a", 1), seals("a", 3), seals("a", 2), seals("b", 1)]
    unclear = [seals("a", 1, "lost"), seals("a", 1, until="b"), seals(None, None), seals("a", None), File("x", 0, {})]
    found = newest_of_each_run([*told, *unclear])
    assert {file.path for file in found} == {"a-3-stored", "b-1-stored"} | {file.path for file in unclear}


@pytest.mark.parametrize("column", ["last_cpu_percent", "recent_learning_rewards"])
@pytest.mark.parametrize("every", [1, 3])
def test_files_older_than_a_column_are_read(lake: str, column: str, every: int) -> None:
    before = status(lake)
    in_order = sorted(read_snapshot(lake, "summaries") or [], key=lambda file: file.written_ms)
    for file in in_order[: len(in_order) // every]:
        pq.write_table(pq.ParquetFile(file.path).read().drop_columns([column]), file.path)
    assert status(lake) == before


def test_times_as_spark_writes_them_are_read(lake: str) -> None:
    before = status(lake)
    for table in ("summaries", "sessions", "ledger"):
        for path in files(lake, table)[::2]:
            pq.write_table(pq.ParquetFile(path).read(), path, use_deprecated_int96_timestamps=True)
    assert status(lake) == before
    assert read_status(lake)["agents"][0]["last_event_time"].tzinfo is not None


def test_a_place_with_a_quote_in_its_name_is_read(tmp_path: Path, lake: str) -> None:
    odd = tmp_path / "it's [mine] *"
    Path(lake).rename(odd)
    assert status(str(odd))["totals"]["actions"] == 600


def test_a_table_with_a_feature_of_its_own_goes_to_the_delta_reader(lake: str) -> None:
    before = status(lake)
    table = DeltaTable(f"{lake}/summaries")
    table.alter.add_feature(TableFeatures.DeletionVectors, allow_protocol_versions_increase=True)
    with pytest.raises(NotPlainError):
        read_snapshot(lake, "summaries")
    assert status(lake) == before


def test_a_log_that_can_not_be_read_is_one_line(lake: str) -> None:
    newest = max(Path(lake, "summaries", "_delta_log").glob("*.json"))
    newest.write_text(json.dumps({"add": "nonsense"}))
    with pytest.raises(Exception, match=r"can't read .*summaries") as raised:
        read_status(lake)
    assert "\n" not in str(raised.value)
