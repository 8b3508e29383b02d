"""How far behind each query of the job is: what it says of itself against where Kafka ends now."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from agentmon.contracts.topics import Place, is_read
from agentmon.live.client import Connection
from agentmon.live.offsets import beginning_and_end
from agentmon.live.topics import ClusterView, describe

#: Lag that rose over so many triggers in a row is reported as rising.
TRIGGERS = 5


@dataclass(frozen=True)
class Lag:
    """One query. Without Kafka, lag_messages is the job's own count at its last trigger and lag_s is unknown.

    What an open transaction holds back is no lag: nobody can read it yet. Of a transaction that ended, Kafka's marker
    is one offset of lag until the query has passed it.

    State is what the query keeps in memory, state_bytes an estimate; `watermark` is that of the agent that is
    furthest behind (each has its own). None where a query keeps none.
    """

    query: str
    rows_per_s: float | None
    batch_ms: int | None
    batch_id: int | None
    last_trigger: str | None
    lag_messages: int | None
    lag_s: float | None
    rising: bool
    agents: int | None
    windows: int | None
    state_bytes: int | None
    watermark: str | None
    position: dict[str, dict[str, int]]


def read_topics(connection: Connection) -> tuple[ClusterView, dict[Place, tuple[int, int]]]:
    """Which topics there are, and where those that the job reads begin and end."""
    view = describe(connection)
    return view, beginning_and_end(connection, _read_of(view))


def readable_offsets(connection: Connection) -> dict[Place, tuple[int, int]]:
    """(beginning, end) of every partition that the job reads, as far as it can read them: up to an open transaction."""
    return beginning_and_end(connection, read_partitions(connection), only_committed=True)


def read_partitions(connection: Connection) -> dict[str, int]:
    """The topics that the job reads, each with how many partitions it has."""
    return _read_of(describe(connection))


def _read_of(view: ClusterView) -> dict[str, int]:
    return {name: topic.partitions for name, topic in view.topics.items() if is_read(name)}


def lags(
    progress: Mapping[str, Any],
    offsets: Mapping[Place, tuple[int, int]] | None,
    sent_at: Callable[[Mapping[Place, int]], float | None],
    now: float | None = None,
) -> list[Lag]:
    """The queries of run/progress.json, in order of name.

    `offsets` is what `readable_offsets` returns, None where Kafka can't be asked;
    `sent_at` tells when the oldest message at some positions was sent: how long that has waited is lag_s.
    """
    now = time.time() if now is None else now
    queries = sorted(progress.get("queries", {}).items())
    return [_lag(name, reported, offsets, sent_at, now) for name, reported in queries]


def is_rising(history: list[int], lag: int) -> bool:
    """Whether lag rose at each of the last triggers and has not gone down since.

    >>> is_rising([1, 2, 3, 4, 5], 6), is_rising([1, 2, 3, 3, 5], 6), is_rising([1, 2, 3, 4, 5], 0)
    (True, False, False)
    """
    last = history[-TRIGGERS:]
    rose = len(last) == TRIGGERS and all(a < b for a, b in pairwise(last))
    return rose and lag >= last[-1]


def _lag(
    name: str,
    reported: Mapping[str, Any],
    offsets: Mapping[Place, tuple[int, int]] | None,
    sent_at: Callable[[Mapping[Place, int]], float | None],
    now: float,
) -> Lag:
    position = reported.get("position") or {}
    lag: int | None = reported.get("lag_messages")
    seconds = None
    if offsets is not None:
        behind = _behind(position, offsets)
        lag = sum(offsets[place][1] - at for place, at in behind.items())
        seconds = _waited(sent_at(behind), now) if behind else 0.0
    state = reported.get("state") or {}
    return Lag(
        query=name,
        rows_per_s=reported.get("rows_per_s"),
        batch_ms=reported.get("batch_ms"),
        batch_id=reported.get("batch_id"),
        last_trigger=reported.get("at"),
        lag_messages=lag,
        lag_s=seconds,
        rising=is_rising(list(reported.get("lag_history", [])), lag or 0),
        agents=state.get("agents"),
        windows=state.get("windows"),
        state_bytes=state.get("bytes"),
        watermark=state.get("watermark"),
        position=position,
    )


def _behind(position: Mapping[str, Mapping[str, int]], offsets: Mapping[Place, tuple[int, int]]) -> dict[Place, int]:
    """The next offset of each partition with something left to read; one never read is read from its beginning."""
    behind = {}
    for (topic, partition), (begin, end) in offsets.items():
        at = max(begin, position.get(topic, {}).get(str(partition), begin))
        if at < end:
            behind[topic, partition] = at
    return behind


def _waited(since: float | None, now: float) -> float | None:
    return None if since is None else round(max(0.0, now - since), 3)
