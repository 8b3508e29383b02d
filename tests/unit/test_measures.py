"""What the figures mean, at the ends of what a double holds too."""

from __future__ import annotations

import math
import sys
from collections import Counter

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentmon.contracts.measures import HISTOGRAM_ACCURACY, bucket_of, bucket_value, quantile, trend
from agentmon.contracts.tables import SUMMARIES
from agentmon.lake.connection import query
from agentmon.lake.types import duckdb_type

HUGE = 1.7e308


@pytest.mark.parametrize(
    ("before", "last", "expected"),
    [(1.0, 1.2, "improving"), (HUGE, HUGE, "stable"), (-HUGE, HUGE, "improving"), (HUGE, -HUGE, "declining")],
)
def test_a_trend_of_any_rewards(before: float, last: float, expected: str) -> None:
    assert trend([before] * 10 + [last] * 10) == expected


@pytest.mark.parametrize("duration", [1e-300, 0.001, 1.0, 840.0, 1e12, HUGE, sys.float_info.max])
def test_a_bucket_stands_for_its_values(duration: float) -> None:
    assert bucket_value(bucket_of(duration)) == pytest.approx(duration, rel=HISTOGRAM_ACCURACY * 1.001)
    assert quantile({bucket_of(duration): 3}, 0.95) == bucket_value(bucket_of(duration))


@pytest.mark.parametrize(
    ("values", "p50", "p95"),
    [
        ([7], 7, 7),
        ([7, 900], 7, 900),
        ([1, 2, 900], 2, 900),
        ([1, 2, 3, 900], 2, 900),
        ([0, 0, 900], 0, 900),
        ([1] * 19 + [900], 1, 1),  # 19 of 20 are 95 %
        ([1] * 18 + [900] * 2, 1, 900),
        ([1] * 38 + [900] * 2, 1, 1),
        ([1] * 20 + [900], 1, 1),
        ([1] * 10 + [900] * 10, 1, 900),
        ([5] * 100, 5, 5),
    ],
)
def test_quantiles_are_of_the_nearest_rank(values: list[float], p50: float, p95: float) -> None:
    histogram = Counter(map(bucket_of, values))
    wanted = [pytest.approx(x, rel=HISTOGRAM_ACCURACY * 1.001) for x in (p50, p95)]
    assert [quantile(histogram, q) for q in (0.5, 0.95)] == wanted


def test_quantiles_of_nothing_are_none() -> None:
    assert quantile({}, 0.95) is None
    assert quantile({3: 0}, 0.95) is None


_HISTOGRAMS = st.dictionaries(st.integers(-10_000, 40), st.integers(1, 25) | st.integers(1, 2**40), max_size=6)


@settings(max_examples=30, deadline=None)
@given(st.lists(_HISTOGRAMS, min_size=1, max_size=8))
def test_the_lake_reads_the_same_quantiles(histograms: list[dict[int, int]]) -> None:
    """status_partials.sql, which adds up as it reads, and the rank as it is defined, agree with measures.quantile."""
    columns = ", ".join(f"NULL::{duckdb_type(c.type)} AS {c.name}" for c in SUMMARIES.columns if c.name != "agent_id")
    with duckdb.connect() as con:
        con.execute(
            f"CREATE TABLE agent_summaries AS SELECT ''::VARCHAR AS agent_id, {columns}, NULL::MAP(INT, BIGINT) AS buckets LIMIT 0"
        )
        for agent, histogram in enumerate(histograms):
            for part in (
                {b: n for b, n in histogram.items() if b % 2 == odd} for odd in (0, 1)
            ):  # two rows, to be added up
                con.execute(
                    "INSERT INTO agent_summaries BY NAME SELECT ? AS agent_id, map_from_entries(?::STRUCT(k INT, v BIGINT)[]) AS buckets",
                    [f"{agent}", [{"k": b, "v": n} for b, n in part.items()]],
                )
        con.execute(
            query("status_partials").format(materialized=""), {"left_out": "x", "p50": 0.5, "p95": 0.95, "kept": 20}
        )
        found = dict(con.execute("SELECT agent_id, [p50_bucket, p95_bucket] FROM partials").fetchall())
    for agent, histogram in enumerate(histograms):
        wanted = [quantile(histogram, q) for q in (0.5, 0.95)]
        assert [None if b is None else bucket_value(b) for b in found[f"{agent}"]] == wanted
        if 0 < sum(histogram.values()) < 1000:
            values = sorted(bucket for bucket, n in histogram.items() for _ in range(n))
            ranks = [math.ceil(len(values) / 2), -(-95 * len(values) // 100)]
            assert [bucket_value(values[rank - 1]) for rank in ranks] == wanted
