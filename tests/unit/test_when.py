"""Times as people type them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agentmon.errors import UsageError
from agentmon_cli.when import moment, span

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("10m", 600), ("1h", 3600), ("1.5h", 5400), ("2d", 172_800), ("1w", 604_800), (" 3H ", 10_800)],
)
def test_a_span_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert span(text, "--last") == timedelta(seconds=seconds)
    assert moment(text, "--since", NOW) == NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "0m", "-1h", "1", "h", "1y", "1h30m", "99999999999999d", "nan h"])
def test_what_is_no_span_names_the_option(text: str) -> None:
    with pytest.raises(UsageError, match="--last"):
        span(text, "--last")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-10-31", datetime(2026, 10, 31, tzinfo=UTC)),
        ("2026-10-31T10:30", datetime(2026, 10, 31, 10, 30, tzinfo=UTC)),
        ("2026-10-31 10:30:15Z", datetime(2026, 10, 31, 10, 30, 15, tzinfo=UTC)),
        ("2026-10-31T10:30+02:00", datetime(2026, 10, 31, 8, 30, tzinfo=UTC)),
    ],
)
def test_a_date_or_time_is_utc_unless_it_says_otherwise(text: str, expected: datetime) -> None:
    assert moment(text, "--since", NOW) == expected


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "", "0001-01-01T00:00+10:00"])
def test_what_is_no_moment_names_the_option(text: str) -> None:
    with pytest.raises(UsageError, match="--since"):
        moment(text, "--since", NOW)
