"""Lag: what a query says of itself against where Kafka ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from agentmon.live.lag import Lag, lags
from agentmon.live.offsets import Place

ENDS = {("agent.actions", 0): (0, 10), ("agent.actions", 1): (5, 8)}


def told(**facts: Any) -> dict[str, Any]:
    position = {"agent.actions": {"0": 10, "1": 8}}
    return {"queries": {"lake": {"position": position, "lag_messages": 0, "rows_per_s": 5.0, **facts}}}


def lag(
    progress: dict[str, Any], offsets: Mapping[Place, tuple[int, int]] | None = ENDS, sent: float | None = 40.0
) -> Lag:
    [found] = lags(progress, offsets, lambda positions: sent, now=42.5)
    return found


def test_a_query_that_has_all_is_not_behind() -> None:
    found = lag(told())
    assert (found.lag_messages, found.lag_s, found.rising) == (0, 0.0, False)


def test_seconds_are_how_long_the_oldest_unread_message_has_waited() -> None:
    found = lag(told(position={"agent.actions": {"0": 7, "1": 8}}))
    assert (found.lag_messages, found.lag_s) == (3, 2.5)


def test_a_partition_that_was_never_read_counts_from_its_beginning() -> None:
    assert lag(told(position={"agent.actions": {"0": 10}})).lag_messages == 3


def test_offsets_that_kafka_dropped_do_not_count() -> None:
    assert lag(told(position={"agent.actions": {"0": 10, "1": 1}})).lag_messages == 3


def test_seconds_are_unknown_where_kafka_does_not_say() -> None:
    assert lag(told(position={}), sent=None).lag_s is None


def test_without_kafka_it_is_the_lag_of_the_last_trigger() -> None:
    found = lag(told(lag_messages=7), offsets=None)
    assert (found.lag_messages, found.lag_s) == (7, None)


@pytest.mark.parametrize(
    ("history", "now", "rising"),
    [
        ([1, 2, 3, 4, 5], 13, True),
        ([1, 2, 3, 4, 50], 13, False),
        ([2, 3, 4, 5], 13, False),
        ([1, 2, 4, 4, 5], 13, False),
    ],
)
def test_lag_that_rose_at_each_trigger_and_is_still_there_is_rising(history: list[int], now: int, rising: bool) -> None:
    found = lag(told(position={}, lag_history=history))
    assert (found.lag_messages, found.rising) == (now, rising)


def test_no_figures_no_rows() -> None:
    assert lags({}, ENDS, lambda positions: None) == []
