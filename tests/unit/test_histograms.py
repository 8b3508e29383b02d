"""An agent's histogram is that of its tools, once a window: every duration is in it, and none twice."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from agentmon.lake.histograms import with_agents

SCHEMA = pa.schema(
    [
        ("window_start", pa.timestamp("us", "UTC")),
        ("agent_id", pa.string()),
        ("tool", pa.string()),
        ("duration_buckets", pa.map_(pa.int32(), pa.uint64())),  # as DuckDB counts
    ]
)
HISTOGRAMS = st.dictionaries(st.integers(-10_000, 40), st.integers(1, 2**40), max_size=4)
KEYS = st.tuples(
    st.sampled_from([datetime(2026, 11, 1, 0, minute, tzinfo=UTC) for minute in range(3)]),
    st.sampled_from([None, "a", "b"]),
    st.sampled_from([None, "grep", "sed", "awk"]),
)


def counted(rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * 4
    return with_agents(pa.table(columns, schema=SCHEMA)).to_pylist(maps_as_pydicts="strict")


@given(st.dictionaries(KEYS, HISTOGRAMS, max_size=12))
def test_every_duration_is_in_it_once(histograms: dict[tuple[Any, ...], dict[int, int]]) -> None:
    found = counted([(*key, list(histogram.items())) for key, histogram in histograms.items()])
    wanted: dict[Any, Counter[int]] = {}
    for (start, agent, _), histogram in histograms.items():
        wanted.setdefault((start, agent), Counter()).update(histogram)
    carried = {(r["window_start"], r["agent_id"]): r["agent_duration_buckets"] for r in reversed(found)}
    assert carried == wanted
    assert sum(r["agent_duration_count"] for r in found) == sum(map(Counter.total, wanted.values()))
    for one in found:
        assert one["agent_duration_count"] == sum(one["agent_duration_buckets"].values())


def test_it_is_on_the_first_row_of_a_window() -> None:
    start = datetime(2026, 11, 1, tzinfo=UTC)
    found = counted([(start, "a", "sed", []), (start, "b", "sed", [(1, 1)]), (start, "a", "awk", [(7, 2), (3, 1)])])
    assert [r["agent_duration_buckets"] for r in found] == [{3: 1, 7: 2}, {1: 1}, {}]
    assert [r["agent_duration_count"] for r in found] == [3, 1, 0]
