"""Topics: made once, never changed, and said where they differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from agentmon.live.client import Connection
from agentmon.live.topics import TopicSpec, describe, ensure, wanted_topics
from agentmon.settings import Settings

SPEC = TopicSpec("topics-test", 3, 1, {"retention.ms": "604800000", "compression.type": "zstd"})


@pytest.fixture
def connection(on_broker: Settings) -> Iterator[Connection]:
    with Connection(on_broker) as opened:
        yield opened


def test_creating_is_idempotent_and_reports_drift(connection: Connection) -> None:
    assert [(r.created, r.drift) for r in ensure(connection, [SPEC])] == [(True, ())]
    first = describe(connection).topics[SPEC.name]
    assert [(r.created, r.drift) for r in ensure(connection, [SPEC])] == [(False, ())]

    other = replace(SPEC, partitions=5, configs={**SPEC.configs, "compression.type": "lz4"})
    (report,) = ensure(connection, [other])
    assert report.drift == ("partitions is 3, not 5", "compression.type is zstd, not lz4")
    assert describe(connection).topics[SPEC.name] == first


def test_the_shipped_topics() -> None:
    assert {spec.name: spec.partitions for spec in wanted_topics()} == {
        "agent.actions": 3,
        "agent.thoughts": 3,
        "agent.learning": 1,
        "agent.metrics": 1,
        "agent.monitor.frontend": 1,
        "agent.rl.vectorized": 1,
    }
    for spec in wanted_topics():
        assert spec.replication_factor == 1
        assert {"retention.ms", "compression.type"} <= spec.configs.keys()
