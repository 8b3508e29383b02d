"""What the figures mean, at the ends of what a double holds too."""

from __future__ import annotations

import sys

import pytest

from agentmon.contracts.measures import HISTOGRAM_ACCURACY, bucket_of, bucket_value, quantile, trend

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
