"""The publisher against a real broker: what arrives, in which order, and what becomes of the rest."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentmon import AgentStreamingPublisher
from agentmon.errors import UsageError
from agentmon.publish.outbox import FOLDER
from agentmon.settings import Settings

Published = Callable[..., list[dict[str, Any]]]
NOWHERE = "localhost:1"

#: Forks while the sending thread imports what it sends with, and publishes in the child.
_FORKS_MEANWHILE = """
import os, sys, threading
from agentmon import AgentStreamingPublisher

class Slow:
    begun = threading.Event()
    def find_spec(self, name, path=None, target=None):
        if name == "agentmon.publish.kafka":
            self.begun.set()
            threading.Event().wait(0.5)

sys.meta_path.insert(0, Slow())
own = AgentStreamingPublisher(sys.argv[1], agent_id="forks", reports=False)
own.publish_thought("parent")
assert Slow.begun.wait(20)
child = os.fork()
if child == 0:
    own.publish_thought("child")
    sent = own.close(30)
    os._exit(0 if sent else 1)
sent = own.close(30)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or not sent)
"""


def publisher(project: Path, settings: Settings, agent: str, **more: Any) -> AgentStreamingPublisher:
    patient = replace(settings, exit_wait_s=30.0)
    return AgentStreamingPublisher(project, agent_id=agent, settings=patient, reports=False, **more)


def test_each_kind_arrives_with_its_fields(project: Path, settings: Settings, published: Published) -> None:
    with publisher(project, settings, "kinds", session_id="run-1") as own:
        ids = [
            own.publish_action(
                "grep", "search", 0.5, {"q": "x"}, "because", duration_ms=3.5, input_tokens=7, result=[1]
            ),
            own.publish_thought("hm", {"step": 1}, 0.9),
            own.publish_learning_progress({"total_events": 3, "avg_reward": 0.5}),
            own.publish_metrics({"loss": 0.25}),
            own.publish("agent.brandnew", {"any": {"thing": 1}}, session_id="other"),
        ]
    (action,) = published("agent.actions", "kinds")
    assert action["_key"] == "kinds"
    assert not action["_marked"]
    told = {"type", "tool", "action", "reward", "context", "reasoning", "duration_ms", "input_tokens", "result"}
    assert {name: action[name] for name in told} == {
        "type": "agent_action", "tool": "grep", "action": "search", "reward": 0.5, "context": {"q": "x"},
        "reasoning": "because", "duration_ms": 3.5, "input_tokens": 7, "result": [1],
    }  # fmt: skip
    assert (action["session_id"], action["action_id"]) == ("run-1", "1")
    (thought,) = published("agent.thoughts", "kinds")
    assert (thought["type"], thought["thought"], thought["confidence"]) == ("agent_thought", "hm", 0.9)
    (learning,) = published("agent.learning", "kinds")
    assert (learning["type"], learning["data"]["total_events"]) == ("learning_progress", 3)
    (metrics,) = published("agent.metrics", "kinds")
    assert (metrics["metrics"], metrics["action_count"], metrics["thought_count"]) == ({"loss": 0.25}, 1, 1)
    (other,) = published("agent.brandnew", "kinds")
    assert (other["any"], other["session_id"]) == ({"thing": 1}, "other")
    assert ids == [m["event_id"] for m in (action, thought, learning, metrics, other)]
    assert len(set(ids)) == 5
    assert list(project.iterdir()) == [], "nothing stays behind"


def test_action_is_timed_and_tells_what_was_raised(project: Path, settings: Settings, published: Published) -> None:
    own = publisher(project, settings, "spans")
    with own.action("grep", "search", context={"q": "x"}, step=3) as fine:
        fine.result = "found"
    with pytest.raises(KeyError, match="lost"), own.action("read"):
        raise KeyError("lost")
    with own.action("rate") as rated:
        rated.reward = 0.0
    own.close()
    messages = published("agent.actions", "spans")
    assert [m["type"] for m in messages] == ["action_started", "agent_action"] * 3
    assert all(a["span_id"] == b["span_id"] for a, b in zip(messages[::2], messages[1::2], strict=True))
    ends = messages[1::2]
    assert [(m.get("success"), m.get("error")) for m in ends] == [
        (True, None),
        (False, "KeyError: 'lost'"),
        (None, None),
    ]
    assert ends[0]["result"] == "found"
    assert ends[0]["step"] == 3
    assert all(0 <= m["duration_ms"] < 60_000 for m in ends)


def test_without_kafka_it_starts_keeps_all_and_the_next_one_sends_it_in_order(
    project: Path, settings: Settings, published: Published, caplog: pytest.LogCaptureFixture
) -> None:
    away = publisher(project, replace(settings, kafka_bootstrap_servers=NOWHERE), "away")
    for n in range(500):
        assert away.publish_thought(f"{n}")
    with caplog.at_level(logging.WARNING):
        assert away.close(0.2) is False
    assert f"500 messages wait in {project / FOLDER}" in caplog.text
    stats = away.stats()
    assert (stats.accepted, stats.sent, stats.spilled, stats.dropped) == (500, 0, 500, 0)
    with publisher(project, settings, "away") as back:
        back.publish_thought("500")
        assert back.flush(20)
        assert back.stats().recovered == 500
    found = published("agent.thoughts", "away", 501)
    assert [m["thought"] for m in found] == [f"{n}" for n in range(501)]
    assert not any(m["_marked"] for m in found), "none was ever on its way"
    assert not (project / FOLDER).exists()


def test_threads_asyncio_and_forks_lose_and_double_nothing(
    project: Path, settings: Settings, published: Published
) -> None:
    own = publisher(project, settings, "many")

    def work(name: str) -> None:
        for n in range(200):
            own.publish_thought(f"{name}-{n}")

    async def steps() -> None:
        async def step(name: str) -> None:
            for n in range(50):
                own.publish_thought(f"{name}-{n}")
                await asyncio.sleep(0)

        await asyncio.gather(*(step(f"task{k}") for k in range(4)))

    threads = [threading.Thread(target=work, args=(f"thread{k}",)) for k in range(3)]
    for thread in threads:
        thread.start()
    children = []
    for k in range(2):  # while the threads publish
        child = os.fork()
        if child == 0:
            try:
                work(f"child{k}")
                os._exit(0 if own.close(20) and own.stats().sent == 200 else 1)
            finally:
                os._exit(2)
        children.append(child)
    asyncio.run(steps())
    for thread in threads:
        thread.join()
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    assert own.flush(20)
    stats = own.stats()
    assert (stats.accepted, stats.sent) == (800, 800)
    own.close()
    found = published("agent.thoughts", "many", 1200)
    assert len({m["event_id"] for m in found}) == len(found) == 1200
    expected = {f"thread{k}-{n}" for k in range(3) for n in range(200)} | {
        f"task{k}-{n}" for k in range(4) for n in range(50)
    }
    expected |= {f"child{k}-{n}" for k in range(2) for n in range(200)}
    assert {m["thought"] for m in found} == expected
    for name in ("thread1", "child0", "task2"):
        numbers = [int(m["thought"].split("-")[1]) for m in found if m["thought"].startswith(f"{name}-")]
        assert numbers == sorted(numbers)


def test_a_fork_waits_for_what_is_being_imported(project: Path, settings: Settings, published: Published) -> None:
    env = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap, "AGENTMON_HOME": str(settings.home)}
    subprocess.run([sys.executable, "-c", _FORKS_MEANWHILE, str(project)], env=env, check=True, timeout=100)
    assert {m["thought"] for m in published("agent.thoughts", "forks", 2)} == {"parent", "child"}


def test_what_an_agent_hands_over_is_never_its_problem(project: Path, settings: Settings, published: Published) -> None:
    with publisher(project, settings, "untidy") as own:
        assert own.publish_action(None, 5, "no number", {"a": object()}, result=float("nan"))  # type: ignore[arg-type]
        assert own.publish_thought("x" * 3_000_000)
        assert own.publish_action("t", context={"password": "hunter2", "url": "https://a:b@c"}, agent_id="untidy")
        assert own.stats().accepted == 3
    actions = published("agent.actions", "untidy")
    assert actions[1]["context"] == {"password": "[redacted]", "url": "https://a:[redacted]@c"}
    (thought,) = published("agent.thoughts", "untidy")
    assert thought["thought"].endswith("[cut, 3000000 characters]")


def test_filter_and_sample(project: Path, settings: Settings, published: Published) -> None:
    def keep(topic: str, message: dict[str, Any]) -> Any:
        if message.get("tool") == "boom":
            raise RuntimeError("the filter's own")
        return message | {"seen": topic} if message.get("tool") != "private" else None

    own = publisher(project, replace(settings, thought_sample=0.0), "filtered", keep=keep)
    assert own.publish_action("private") is None
    assert own.publish_action("boom") is None
    assert own.publish_thought("not sampled") is None
    assert own.publish_action("public")
    own.close()
    (action,) = published("agent.actions", "filtered")
    assert (action["tool"], action["seen"]) == ("public", "agent.actions")
    stats = own.stats()
    assert (stats.accepted, stats.filtered) == (1, 3)


@pytest.mark.parametrize("codec", ["zstd", "lz4", "gzip", "none"])
def test_codecs(project: Path, settings: Settings, published: Published, codec: str) -> None:
    with publisher(project, replace(settings, codec=codec), f"codec-{codec}") as own:
        own.publish_thought("compressed " * 100)
    assert len(published("agent.thoughts", f"codec-{codec}")) == 1


def test_wrong_arguments_are_told(project: Path, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        AgentStreamingPublisher(tmp_path / "nowhere", settings=settings)
    own = publisher(project, settings, "wrong")
    for topic in ("actions", "agent.monitor.frontend", "agent.", "agent.a b"):
        with pytest.raises(UsageError, match="can't be published to"):
            own.publish(topic, {})
    with pytest.raises(UsageError, match="a message is a mapping"):
        own.publish("agent.tasks", "text")  # type: ignore[arg-type]
    own.close()


def test_names_are_the_environments_or_sensible(
    project: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = AgentStreamingPublisher(project, settings=settings, reports=False)
    two = AgentStreamingPublisher(project, settings=settings, reports=False)
    assert one.agent_id == "myagent"
    assert one.session_id != two.session_id
    for own in (one, two):
        own.close()
    monkeypatch.setenv("AGENTMON_AGENT_ID", "from-env")
    monkeypatch.setenv("AGENTMON_SESSION_ID", "session-env")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", NOWHERE)
    third = AgentStreamingPublisher(str(project), reports=False)
    assert (third.agent_id, third.session_id) == ("from-env", "session-env")
    third.close(0)


def test_process_is_reported(project: Path, settings: Settings, published: Published) -> None:
    own = AgentStreamingPublisher(project, agent_id="measured", settings=replace(settings, metrics_interval_s=2.0))
    own.publish_action("t", duration_ms=10, error="E")
    for _ in range(2):
        own.publish_action("t", duration_ms=20)
    own.publish_thought("x", agent_id="other")
    found = published("agent.metrics", "measured", 2)
    own.close()
    told = next(m for m in found if "response_time_p50_ms" in m["metrics"])
    assert (told["type"], told["action_count"]) == ("agent_metrics", 3)
    assert told["metrics"]["error_rate"] == pytest.approx(1 / 3)
    assert told["metrics"]["response_time_p95_ms"] == pytest.approx(20, rel=0.02)
    assert told["metrics"]["memory_bytes"] > 1_000_000
    assert any(m["metrics"].get("cpu_percent", -1) >= 0 for m in found)


def test_metrics_cover_children(project: Path) -> None:
    import subprocess
    import sys

    from agentmon.publish.measure import Process

    alone = Process()
    before = alone.read()["memory_bytes"]
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert json.dumps(before)
        assert (alone.read()["memory_bytes"] or 0) > (before or 0)
    finally:
        child.kill()
        child.wait()
