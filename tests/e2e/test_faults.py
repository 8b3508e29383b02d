"""The job and the broker are killed while events flow; the checks that judge it find what is planted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench.faults import Plan, audit, run
from bench.home import Stack, stack
from bench.truth import check_figures, check_frontend
from deltalake import DeltaTable
from kafka import KafkaProducer

from agentmon.contracts.topics import FRONTEND
from agentmon.live.client import client_config

PLAN = Plan(events=20_000, kills=3, broker_kills=1, seconds=60, seed=5)


@pytest.fixture(scope="module")
def broken() -> Iterator[Stack]:
    """A stack that went through it all, and whose job is stopped then."""
    with stack() as own:
        told = run(PLAN, own)
        assert (told["in_kafka"], told["stored"], told["holes"], told["repeats"]) == (20_000, 20_000, 0, 0)
        assert told["between_tables"] >= 1
        own.job.stop()
        yield own


def planted(own: Stack, table: str, plant: Callable[[DeltaTable], object], check: Callable[[], object]) -> str:
    """What a check says once something was planted into a table; the table is put back."""
    there = DeltaTable(str(Path(own.settings.lake) / table))
    version = there.version()
    plant(there)
    try:
        with pytest.raises(AssertionError) as told:
            check()
    finally:
        there.restore(version)
    return str(told.value)


def test_nothing_is_lost_or_doubled(broken: Stack) -> None:
    assert audit(broken)["stored"] == PLAN.events


def test_a_lost_row_would_be_found(broken: Stack) -> None:
    said = planted(broken, "thoughts", lambda t: t.delete("kafka_offset = 100"), lambda: audit(broken))
    assert said.startswith("audit says 3")


def test_a_wrong_figure_would_be_found(broken: Stack) -> None:
    said = planted(
        broken, "summaries", lambda t: t.update(updates={"successes": "successes + 1"}), lambda: check_figures(broken)
    )
    assert "partials say" in said
    said = planted(broken, "sessions", lambda t: t.delete("actions > 0"), lambda: check_figures(broken))
    assert "partials" in said


def test_an_id_that_says_two_things_would_be_found(broken: Stack) -> None:
    producer = KafkaProducer(**client_config(broken.settings))
    for text in (b'{"type":"x","data":{"a":1},"id":"twice"}', b'{"type":"x","data":{"a":2},"id":"twice"}'):
        producer.send(FRONTEND, text, partition=0)
    producer.close()
    with pytest.raises(AssertionError, match="two messages with the id twice"):
        check_frontend(broken)
