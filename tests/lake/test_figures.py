"""status reads the files that Delta's log names: what it opens, and that it reads older and foreign ones as Delta does."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from bench.lake import Maker, make
from deltalake import DeltaTable, TableFeatures, write_deltalake

from agentmon.contracts.tables import TABLES
from agentmon.errors import AgentmonError
from agentmon.lake.connection import Connection, connect, open_lake, query
from agentmon.lake.figures import open_figures
from agentmon.lake.history import read_history
from agentmon.lake.reading import reading
from agentmon.lake.selection import BEGINNING, END, Selection
from agentmon.lake.snapshot import (
    File,
    NotPlainError,
    between,
    has_nulls,
    is_sealed,
    newest_of_each_run,
    read_snapshot,
)
from agentmon.lake.status import prepare, read_status
from agentmon.stream.tables import create_missing

DAY = date(2026, 11, 20)
SUMMED = (
    "SELECT sum(actions), sum(action_reward_sum)::FLOAT, max(last_event_time), max(recent_action_rewards[-1].event_time), "
    "sum(list_sum(map_values(duration_buckets))), count(DISTINCT window_start), count(last_cpu_percent) FROM "
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


def history(lake: str, wanted: Selection = Selection()) -> list[dict[str, Any]]:  # noqa: B008 - it can't change
    """What history says, sums to 9 digits."""
    found = read_history(lake, wanted, timedelta(hours=1)).rows.dicts()
    return [{name: round(v, 9) if isinstance(v, float) else v for name, v in bucket.items()} for bucket in found]


def snapshot(lake: str, table: str) -> list[File]:
    with connect(delta=False) as con:
        return read_snapshot(con, lake, table) or []


def day_of(path: Path) -> date:
    return date.fromisoformat(path.parent.name.removeprefix("event_date="))


def files(lake: str, table: str) -> list[Path]:
    return sorted(Path(lake, table).glob("event_date=*/*.parquet"))


def test_it_reads_what_the_delta_reader_reads(lake: str) -> None:
    with reading(lake, "summaries", "sessions") as delta, open_figures(lake) as figures:
        assert (
            figures.con.execute(f"{SUMMED} agent_summaries").fetchall()
            == delta.execute(f"{SUMMED} summaries").fetchall()
        )
        for query in ("SELECT count(DISTINCT session_id), sum(actions) FROM sessions", "SELECT * FROM sealed"):
            assert figures.con.execute(query).fetchall() == delta.execute(query).fetchall()


def test_it_says_the_same_however_often_files_are_opened(lake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found, buckets = [], []
    for many, rows_are in ((1, "MATERIALIZED"), (10_000, "NOT MATERIALIZED")):
        monkeypatch.setattr("agentmon.lake.figures._MANY_FILES", many)
        with open_figures(lake) as figures:
            assert figures.materialized == rows_are
        found.append(status(lake))
        buckets.append(history(lake))
    assert found[0] == found[1]
    assert buckets[0] == buckets[1]
    assert all(agent["p50_ms"] and agent["p95_ms"] for agent in found[0]["agents"])


@pytest.mark.parametrize(("since", "until"), [(-2, -1), (0, 1), (1, 9)])
def test_history_opens_the_files_of_the_time_asked_for(lake: str, since: int, until: int) -> None:
    """Days from the open one on; the two before are closed, with a window a day."""
    first, last = (datetime.combine(DAY, datetime.min.time(), UTC) + timedelta(days=n) for n in (since, until))
    wanted = Selection(since=first, until=last)
    days = [day for day in history(lake) if first <= day["bucket_start"] < last]
    assert history(lake, wanted) == days
    # A window that ends where that time begins may be looked at.
    touched = first.date() - timedelta(days=1)
    others = [path for path in files(lake, "summaries") if not touched <= day_of(path) <= last.date()]
    assert others
    for path in others:
        path.unlink()
    assert history(lake, wanted) == days


def test_of_the_ledger_only_files_with_a_newest_seal_are_opened(lake: str) -> None:
    opened = newest_of_each_run(snapshot(lake, "ledger"))
    assert len(opened) == 1
    before = status(lake)
    for path in files(lake, "ledger"):
        if str(path) != opened[0].path:
            path.unlink()
    assert status(lake) == before


def seals(run: str | None, batch: int | None, kind: str = "stored", until: str | None = None) -> File:
    return File(
        f"{run}-{batch}-{kind}", 0, None, {"query_id": run, "kind": kind},
        {"query_id": until or run, "kind": kind, "batch_id": batch},
    )  # fmt: skip


def test_files_that_the_log_tells_too_little_of_are_opened() -> None:
    told = [seals("a", 1), seals("a", 3), seals("a", 2), seals("b", 1)]
    unclear = [seals("a", 1, "lost"), seals("a", 1, until="b"), seals(None, None), seals("a", None), File("x", 0)]
    found = newest_of_each_run([*told, *unclear])
    assert {file.path for file in found} == {"a-3-stored", "b-1-stored"} | {file.path for file in unclear}


@pytest.mark.parametrize("column", ["last_cpu_percent", "recent_learning_rewards"])
@pytest.mark.parametrize("every", [1, 3])
def test_files_older_than_a_column_are_read(lake: str, column: str, every: int) -> None:
    before = status(lake)
    in_order = sorted(snapshot(lake, "summaries"), key=lambda file: file.written_ms)
    for file in in_order[: len(in_order) // every]:
        pq.write_table(pq.ParquetFile(file.path).read().drop_columns([column]), file.path)
    assert status(lake) == before


def histograms(con: Connection) -> list[tuple[Any, ...]]:
    text = "SELECT agent_id, unnest(map_entries(buckets), recursive := true) FROM agent_summaries"
    return con.execute(f"SELECT agent_id, key, sum(value) FROM ({text}) GROUP BY ALL ORDER BY ALL").fetchall()


@pytest.mark.parametrize("table", ["summaries", "sessions", "ledger"])
def test_the_log_knows_what_a_batchs_figures_are_found_by(lake: str, table: str) -> None:
    """Whatever else their files leave out to be read quickly."""
    newest = max(snapshot(lake, table), key=lambda file: file.most.get("batch_id", 0))
    wanted = {*TABLES[table].found_by}
    assert wanted
    assert newest.nulls.keys() == newest.least.keys() == newest.most.keys() == wanted
    assert newest.least["query_id"] == newest.most["query_id"]


def test_an_agents_histogram_is_that_of_its_tools(lake: str) -> None:
    by_tool = "SELECT agent_id, unnest(map_entries(duration_buckets), recursive := true) FROM agent_summaries"
    wanted = f"SELECT agent_id, key, sum(value) FROM ({by_tool}) GROUP BY ALL ORDER BY ALL"
    with open_figures(lake) as figures:
        assert histograms(figures.con) == figures.con.execute(wanted).fetchall()
        assert sum(n for *_, n in histograms(figures.con)) == 600


@pytest.mark.parametrize("merged", [False, True])
def test_a_lake_that_an_older_version_began_says_the_same(lake: str, merged: bool) -> None:
    """Its files have histograms per tool only, and the log says of them only what it said then."""
    before, buckets = status(lake), read_history(lake, Selection()).rows.dicts()
    rows = DeltaTable(f"{lake}/summaries").to_pyarrow_table()
    is_old = pc.less(rows["batch_id"].fill_null(0), 5)  # the closed days, and the first commits of the open one
    first = rows.filter(is_old).drop_columns(["agent_duration_count", "agent_duration_buckets"])
    since = rows.filter(pc.invert(is_old))
    numbered = {"delta.dataSkippingNumIndexedCols": "6"}
    shutil.rmtree(f"{lake}/summaries")
    write_deltalake(f"{lake}/summaries", first, partition_by=["event_date"], configuration=numbered)
    with reading(lake, "summaries") as con:
        assert con.execute("SELECT count(agent_duration_count), count(*) FROM summaries").fetchone() == (0, len(first))
    create_missing(lake)
    write_deltalake(f"{lake}/summaries", since, mode="append", schema_mode="merge")
    if merged:
        DeltaTable(f"{lake}/summaries").optimize.compact()
    told = [has_nulls(file, "agent_duration_count") for file in snapshot(lake, "summaries")]
    assert sorted(told) == [True] * 3 if merged else [False, *[True] * 3]
    assert status(lake) == before
    for one, other in zip(read_history(lake, Selection()).rows.dicts(), buckets, strict=True):
        assert one == {**other, "avg_reward": pytest.approx(other["avg_reward"])}


def of_run(run: str | None, batch: int | None, nulls: int | None = 0, until: str | None = None) -> File:
    told = {} if nulls is None else {"query_id": nulls}
    return File("x", 0, 5, {"query_id": run}, {"query_id": until or run, "batch_id": batch}, told)


@pytest.mark.parametrize(
    ("file", "whole"),
    [
        (of_run("a", 7), True),
        (of_run("a", 8), False),
        (of_run("b", 1), False),  # never sealed anything
        (of_run("a", 7, until="c"), False),
        (of_run("a", 7, nulls=1), False),
        (of_run("a", None), False),
        (of_run("a", 7, nulls=None), False),
        (of_run(None, None, nulls=5), True),  # collapsed by the nightly job
        (File("x", 0), False),
    ],
)
def test_a_file_is_whole_where_the_log_says_so(file: File, whole: bool) -> None:
    assert is_sealed(file, {"a": 7, "c": 9}) is whole


@pytest.mark.parametrize("newest", [1, 3, 6, 7])
def test_half_a_batch_is_left_out_whatever_the_log_tells(lake: str, newest: int) -> None:
    """The ledger goes back to a batch of the open day; its files are asked row by row, or known to be whole."""
    DeltaTable(f"{lake}/ledger").delete(f"batch_id > {newest}")
    DeltaTable(f"{lake}/summaries").optimize.compact()
    with reading(lake, "summaries", "sessions") as delta, open_figures(lake) as figures:
        assert (
            figures.con.execute(f"{SUMMED} agent_summaries").fetchall()
            == delta.execute(f"{SUMMED} summaries").fetchall()
        )
        sessions = "SELECT count(DISTINCT session_id), sum(actions) FROM sessions"
        assert figures.con.execute(sessions).fetchall() == delta.execute(sessions).fetchall()
        durations = sum(n for *_, n in histograms(figures.con))
        assert figures.con.execute("SELECT sum(duration_count) FROM agent_summaries").fetchone() == (durations,)


def test_times_as_spark_writes_them_are_read(lake: str) -> None:
    before = status(lake)
    for table in ("summaries", "sessions", "ledger"):
        for path in files(lake, table)[::2]:
            pq.write_table(pq.ParquetFile(path).read(), path, use_deprecated_int96_timestamps=True)
    assert status(lake) == before
    assert read_status(lake)["agents"][0]["last_event_time"].tzinfo is not None


def test_a_place_with_a_quote_in_its_name_is_read(tmp_path: Path, lake: str) -> None:
    odd = tmp_path / 'it\'s\n[mine] * "über"'
    Path(lake).rename(odd)
    assert status(str(odd))["totals"]["actions"] == 600


@pytest.mark.parametrize("name", ["run*", "run[12]", "run?"])
def test_a_place_that_is_a_pattern_is_read_without_those_that_match(tmp_path: Path, lake: str, name: str) -> None:
    for place in (name, "run1"):
        shutil.copytree(lake, tmp_path / place)
    assert status(str(tmp_path / name)) == status(lake)


@pytest.mark.parametrize("name", ["a%20b", "100%", "a\\b"])
def test_a_place_that_the_delta_reader_takes_for_another_is_refused(tmp_path: Path, lake: str, name: str) -> None:
    for place in {name, unquote(name)}:
        shutil.copytree(lake, tmp_path / place)
    with pytest.raises(AgentmonError, match="move or rename"), open_lake(str(tmp_path / name)):
        pass


def test_a_checkpoint_without_statistics_goes_to_the_delta_reader(lake: str) -> None:
    before = status(lake)
    for table in ("summaries", "sessions", "ledger"):
        DeltaTable(f"{lake}/{table}").create_checkpoint()
        [path] = Path(lake, table, "_delta_log").glob("*.checkpoint.parquet")
        found = pq.read_table(path)
        added = found["add"].combine_chunks()
        kept = [name for name in added.type.names if name != "stats"]
        fields = [added.field(name) for name in kept]
        less = pa.StructArray.from_arrays(fields, kept, mask=added.is_null())
        pq.write_table(found.set_column(found.column_names.index("add"), "add", less), path)
    assert status(lake) == before


def test_what_memory_has_no_room_for_is_not_put_where_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spill, here = tmp_path / "spill", tmp_path / "here"
    for folder in (spill, here):
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("TMPDIR", str(spill))
    with connect(delta=False) as con:
        con.execute("SET memory_limit = '60MB'")
        con.execute("SELECT md5(i::VARCHAR) AS text, i FROM range(4_000_000) AS t(i) ORDER BY text")
        assert con.fetchone()
        assert [*here.iterdir()] == []
        assert len([*spill.iterdir()]) == 1
    assert [*spill.iterdir()] == []


def test_a_table_with_a_feature_of_its_own_goes_to_the_delta_reader(lake: str) -> None:
    open_day = Selection(since=datetime.combine(DAY, datetime.min.time(), UTC))
    before, buckets = status(lake), history(lake, open_day)
    assert buckets
    table = DeltaTable(f"{lake}/summaries")
    table.alter.add_feature(TableFeatures.DeletionVectors, allow_protocol_versions_increase=True)
    with pytest.raises(NotPlainError):
        snapshot(lake, "summaries")
    assert status(lake) == before
    assert history(lake, open_day) == buckets


@pytest.mark.parametrize("checkpoint", [False, True])
def test_the_log_is_read_as_deltalake_reads_it(lake: str, checkpoint: bool) -> None:
    """Commits, a merge and a deletion; all of it in a checkpoint, and later ones beside it."""
    table = DeltaTable(f"{lake}/summaries")
    table.optimize.compact(partition_filters=[("event_date", "=", DAY.isoformat())])
    table.delete("agent_id = 'agent-07'")
    if checkpoint:
        table.create_checkpoint()
    assert {file.path for file in snapshot(lake, "summaries")} == set(table.file_uris())
    Maker(Path(lake), DAY).open_day(50, 2)
    table.update_incremental()
    found = snapshot(lake, "summaries")
    assert {file.path for file in found} == set(table.file_uris())
    assert sum(file.rows or 0 for file in found) == table.to_pyarrow_table().num_rows


def test_a_log_that_misses_a_commit_goes_to_the_delta_reader(lake: str) -> None:
    Path(lake, "summaries", "_delta_log", f"{2:020}.json").unlink()
    with pytest.raises(NotPlainError):
        snapshot(lake, "summaries")


def test_newest_rewards_are_found_whatever_is_opened(tmp_path: Path) -> None:
    """Also those of an agent that has been silent for days, and of one that has a few."""
    lake = str(tmp_path / "lake")
    make(Path(lake), 6_000, days=3, commits=10, today=DAY)
    table = DeltaTable(f"{lake}/summaries")
    table.delete(f"agent_id = 'agent-07' AND event_date > '{DAY - timedelta(days=2)}'")
    table.delete("agent_id = 'agent-08' AND tool > 'tool-c'")
    table.delete("agent_id = 'agent-09'")
    with prepare(lake) as con:
        con.execute("CREATE TEMP TABLE narrowed AS FROM newest_rewards")
        con.execute("DROP TABLE newest_rewards")
        con.execute("CREATE OR REPLACE VIEW rewarded_summaries AS FROM agent_summaries")
        con.execute("UPDATE reward_spans SET since = $beginning", {"beginning": BEGINNING})
        con.execute(query("status_rewards"), {"kept": 20})
        assert con.execute("SELECT count(*), max(len(rewards)) FROM narrowed").fetchone() == (49, 20)
        for one, other in (("narrowed", "newest_rewards"), ("newest_rewards", "narrowed")):
            assert con.execute(f"FROM {one} EXCEPT FROM {other}").fetchall() == []


def test_of_the_summaries_few_are_opened_for_rewards(tmp_path: Path) -> None:
    """Whether all agents have acted in the last minutes, or one has been silent since the first of three days."""
    lake = str(tmp_path / "lake")
    make(Path(lake), 30_000, days=3, commits=50, today=DAY)
    for renamed, opened in ((False, range(1, 26)), (True, range(2, 27))):
        if renamed:
            day = f"agent_id = 'agent-07' AND event_date = '{DAY - timedelta(days=2)}'"
            DeltaTable(f"{lake}/summaries").update(predicate=day, new_values={"agent_id": "silent"})
        with prepare(lake) as con:
            spans = con.execute("SELECT since, until FROM reward_spans").fetchall()
        found = snapshot(lake, "summaries")
        assert len(found) == 52
        assert len(between(found, spans)) in opened


def test_files_are_chosen_by_their_windows(lake: str) -> None:
    found = snapshot(lake, "summaries")
    in_order = sorted(found, key=lambda file: file.most["window_end"])
    newest = datetime.fromisoformat(in_order[-1].least["window_start"])
    assert between(found, [(newest, END)]) == [in_order[-1]]
    first = datetime.fromisoformat(in_order[0].least["window_start"])
    assert between(found, [(newest, END), (first, first)]) == [*filter([in_order[0], in_order[-1]].__contains__, found)]
    assert between([File("untold", 0)], []) == [File("untold", 0)]


def test_a_log_that_can_not_be_read_is_one_line(lake: str) -> None:
    newest = max(Path(lake, "summaries", "_delta_log").glob("*.json"))
    newest.write_text(json.dumps({"add": "nonsense"}))
    with pytest.raises(Exception, match=r"can't read .*summaries") as raised:
        read_status(lake)
    assert "\n" not in str(raised.value)
