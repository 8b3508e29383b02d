"""What a publisher measures of its agent leaves out what is no figure, as the lake does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentmon.publish.publisher import AgentStreamingPublisher
from agentmon.settings import Settings


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One whose filter lets nothing out: Kafka is not asked."""
    monkeypatch.setenv("AGENTMON_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "localhost:1")
    with AgentStreamingPublisher(
        tmp_path, agent_id="a", settings=Settings.from_env(), keep=lambda *_: False, reports=False
    ) as publisher:
        yield publisher


@pytest.mark.parametrize("error", [None, False, 0, "", " ", "false", "False", "{}", "[ ]", {}, [], ()])
def test_an_error_that_says_there_was_none_does_not_count(publisher: AgentStreamingPublisher, error: Any) -> None:
    publisher.publish_action("t", error=error)
    publisher.publish_line({"tool": "t", "error": error}, maybe_repeat=False)
    with publisher.action("t") as action:
        action.error = error
    assert action.success is None or action.success is True
    assert publisher._measures.report("a")["a"]["error_rate"] == 0


@pytest.mark.parametrize("error", ["E", "None", {"code": 0}, [""], True, KeyError(), np.array([0, 0])])
def test_any_other_error_counts(publisher: AgentStreamingPublisher, error: Any) -> None:
    publisher.publish_action("t", error=error)
    publisher.publish_line({"tool": "t", "error": error}, maybe_repeat=False)
    assert publisher._measures.report("a")["a"]["error_rate"] == 1


def test_durations_that_cannot_be_are_in_no_quantile(publisher: AgentStreamingPublisher) -> None:
    odd: list[Any] = [-5, -0.001, float("nan"), float("inf"), None, "soon", True, -(10**400)]
    for duration in odd:
        publisher.publish_action("t", duration_ms=duration)
    assert publisher._measures.report("a")["a"]["response_time_p95_ms"] is None
    for duration in (10, 20.0):
        publisher.publish_action("t", duration_ms=duration)
    found = publisher._measures.report("a")["a"]
    assert found["response_time_p50_ms"] == pytest.approx(10, rel=0.02)
    assert found["response_time_p95_ms"] == pytest.approx(20, rel=0.02)
