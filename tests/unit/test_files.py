"""Parquet files of our own: the same rows, and the same said of them in the log, as deltalake's own writer has."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow.fs import FileSystem, PyFileSystem
from tests.builders import T0, at, parsed, row

from agentmon.contracts.tables import MESSAGE_TABLES, TABLES
from agentmon.errors import AgentmonError
from agentmon.stream.batch import Batch, Range, now
from agentmon.stream.files import LONGEST_BOUND, files_of, write_files
from agentmon.stream.output import Output
from agentmon.stream.tables import Appender, create_missing

texts = (
    st.none()
    | st.sampled_from(["", "é" * 70, "a" * LONGEST_BOUND, "a" * (LONGEST_BOUND + 1), "\U0010ffff" * 65])
    | st.text()
)
times = st.timedeltas(timedelta(days=-9_000), timedelta(days=20)).map(lambda delta: T0 + delta)
some_rows = st.lists(
    st.builds(
        lambda moment, agent, session, offset, text: row(
            event_time=moment,
            event_date=moment.date(),
            agent_id=agent or "a",
            session_id=session,
            offset=offset,
            payload=text or "",
            error=text,
        ),
        times | st.sampled_from([T0, at(0.000001), at(86_400)]),
        texts,
        texts,
        st.integers(0, 2**62),
        texts,
    ),
    min_size=1,
    max_size=30,
)


def batch(number: int = 0) -> Batch:
    return Batch("q", number, (Range("t", "i", 0, 0, 1),), now(), "c")


def put(lake: str, table: str, rows: pa.Table, files: FileSystem | None = None, number: int = 0) -> None:
    """Write rows as a task does, and commit them."""
    written = write_files(rows, TABLES[table], files or files_of(lake, table), batch(number).name)
    Appender(lake, TABLES[table]).commit(Output({"files": written}).files()[table], batch(number))


@pytest.fixture(scope="module")
def new_lake(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    def make() -> str:
        lake = str(tmp_path_factory.mktemp("lake"))
        create_missing(lake)
        return lake

    return make


def content(lake: str, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pa.table(DeltaTable(f"{lake}/{table}").to_pyarrow_table()).to_pylist()
    return sorted(found, key=lambda one: (one["event_date"], one["kafka_offset"], repr(one)))


def said(lake: str, table: str) -> list[dict[str, Any]]:
    """What the log says of each file, but for its name, size and time."""
    actions = pa.table(DeltaTable(f"{lake}/{table}").get_add_actions(flatten=True)).to_pylist()
    ours = [{k: v for k, v in one.items() if k not in ("path", "size_bytes", "modification_time")} for one in actions]
    return sorted(ours, key=lambda one: str(one["partition.event_date"]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some_rows)
def test_rows_and_what_the_log_says_are_those_of_deltalakes_writer(
    new_lake: Callable[[], str], rows: list[dict[str, Any]]
) -> None:
    ours, theirs = new_lake(), new_lake()
    put(ours, "actions", parsed(*rows)["actions"])
    Appender(theirs, TABLES["actions"]).append(parsed(*rows)["actions"], batch())
    assert content(ours, "actions") == content(theirs, "actions")
    for mine, its in zip(said(ours, "actions"), said(theirs, "actions"), strict=True):
        assert mine.keys() <= its.keys() | {f"max.{name}" for name in ("agent_id", "session_id")}
        for name, value in its.items():
            if name.startswith(("min.", "max.")) and isinstance(value, str):
                assert_bounds(
                    name,
                    [one[name[4:]] for one in rows if one["event_date"] == mine["partition.event_date"]],
                    mine.get(name),
                )
            elif name == "max.event_time":  # theirs is cut to a millisecond, ours is the next one
                newest = max(one["event_time"] for one in rows if one["event_date"] == mine["partition.event_date"])
                assert value <= newest <= mine[name] < newest + timedelta(milliseconds=1)
            else:
                assert (name, mine[name]) == (name, value)


def assert_bounds(name: str, values: list[str | None], bound: str | None) -> None:
    """A text's bound may be cut, as long as it is one."""
    told = [value.encode() for value in values if value is not None]
    if name.startswith("min."):
        assert bound is not None
        assert bound.encode() <= min(told)
        assert min(told).decode().startswith(bound)
    elif bound is None:
        assert len(max(told).decode()) > LONGEST_BOUND
    else:
        assert bound.encode() == max(told)


@pytest.mark.parametrize("name", MESSAGE_TABLES)
def test_every_table_of_messages_is_written_so(new_lake: Callable[[], str], name: str) -> None:
    lake = new_lake()
    own = {"metrics": {"metrics": {"cpu_percent": 1.5, "memory_bytes": None}}, "quarantine": {"raw": b"\xff\0"}}.get(
        name, {}
    )
    rows = parsed(row(name, **own), row(name, 86_400, 1))[name]
    put(lake, name, rows)
    put(lake, name, rows)  # has it: these files are deleted
    assert len(list(Path(lake, name).rglob("part-*"))) == 2
    written = [{k: v for k, v in one.items() if k not in ("query_id", "batch_id")} for one in content(lake, name)]
    assert written == rows.to_pylist()
    assert {one["partition.event_date"] for one in said(lake, name)} == {date(2026, 11, 1), date(2026, 11, 2)}
    assert DeltaTable(f"{lake}/{name}").transaction_version("q") == 0


def test_deltalakes_way_to_a_store_is_good_for_it_too(new_lake: Callable[[], str]) -> None:
    """An object store can't be had here: the same way, to a folder."""
    lake = new_lake()
    rows = parsed(row("thoughts", thought="hm"), row("thoughts", 86_400, 1, thought="ah"))["thoughts"]
    put(lake, "thoughts", rows, PyFileSystem(DeltaStorageHandler(f"{lake}/thoughts")))
    assert [one["thought"] for one in content(lake, "thoughts")] == ["hm", "ah"]


def test_a_table_that_asks_more_of_its_writers_is_refused(new_lake: Callable[[], str]) -> None:
    lake = new_lake()
    DeltaTable(f"{lake}/actions").alter.add_constraint({"fair": "reward >= 0"})
    with pytest.raises(AgentmonError, match=r"the table actions .* asks for Delta's writer version"):
        Appender(lake, TABLES["actions"])


def test_a_full_disk_says_so_and_leaves_the_table_as_it_was(
    new_lake: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = new_lake()

    def full(_rows: Any, out: Any, **_: Any) -> None:
        out.write(b"begun")
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")

    monkeypatch.setattr("agentmon.stream.files.pq.write_table", full)
    with pytest.raises(OSError, match="No space left on device"):
        put(lake, "actions", parsed(row())["actions"])
    monkeypatch.undo()
    assert content(lake, "actions") == []
    assert list(Path(lake, "actions").rglob("*.parquet")) == []  # each attempt would leave one, where there is no room
    put(lake, "actions", parsed(row())["actions"])
    assert len(content(lake, "actions")) == 1


def test_old_days_of_one_batch_are_files_of_their_own_in_the_order_they_came(new_lake: Callable[[], str]) -> None:
    lake = new_lake()
    days = 400
    rows = parsed(*(row(seconds=-86_400 * (n % days), offset=n) for n in range(2 * days)))["actions"]
    put(lake, "actions", rows)
    table = DeltaTable(f"{lake}/actions")
    assert len(table.file_uris()) == days
    (uri,) = [one for one in table.file_uris() if f"event_date={(T0 - timedelta(days=7)).date()}" in one]
    assert pa.parquet.read_table(Path(uri))["kafka_offset"].to_pylist() == [7, 7 + days]
