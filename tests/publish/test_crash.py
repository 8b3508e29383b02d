"""Publisher and broker killed with -9 while messages flow: what was accepted is in Kafka, and a second copy is marked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.publish.conftest import _all

from agentmon import AgentStreamingPublisher
from agentmon.live.client import Connection
from agentmon.live.topics import ensure, wanted_topics
from agentmon.settings import Settings
from agentmon.stack.addresses import LOOPBACK, free_port
from agentmon.stack.broker import Broker

AGENT = """
import sys, time
from agentmon import AgentStreamingPublisher
own = AgentStreamingPublisher(sys.argv[1], agent_id="crash", reports=False)
for n in range(100_000):
    own.publish_thought(f"{sys.argv[2]}-{n}")
    sys.stdout.write(f"{sys.argv[2]}-{n}\\n")
    sys.stdout.flush()
    time.sleep(0.001)
"""


class Fragile:
    """A broker that is killed and comes back."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home)
        self._broker, self._port = Broker(self.settings), free_port()

    def start(self) -> None:
        self._broker.start(f"localhost:{self._port}", LOOPBACK, self._port)
        with Connection(self.settings) as connection:
            ensure(connection, wanted_topics())

    def kill(self) -> None:
        process = self._broker.process()
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)

    def stop(self) -> None:
        self._broker.stop()


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fragile]:
    own = Fragile(tmp_path_factory.mktemp("fragile") / "home")
    own.start()
    yield own
    own.stop()


def run_and_kill(fragile: Fragile, project: Path, name: str, messages: int) -> list[str]:
    """An agent that is killed with -9 once it has published so many; what it knew to be accepted."""
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT, str(project), name],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "AGENTMON_HOME": str(fragile.settings.home)},
    )
    assert agent.stdout is not None
    told = [agent.stdout.readline().strip() for _ in range(messages)]
    agent.kill()
    told += [line.strip() for line in agent.stdout if line.endswith("\n")]
    agent.wait()
    return told


def test_what_was_accepted_is_in_kafka_and_copies_are_marked(fragile: Fragile, project: Path) -> None:
    accepted = run_and_kill(fragile, project, "up", 1_500)
    fragile.kill()
    accepted += run_and_kill(fragile, project, "away", 500)
    fragile.start()
    accepted += run_and_kill(fragile, project, "back", 1_500)
    with AgentStreamingPublisher(project, agent_id="crash", settings=fragile.settings, reports=False) as last:
        end = time.monotonic() + 60
        while not last._delivery.outbox.is_empty() or last.stats().recovered == 0:
            assert time.monotonic() < end
            time.sleep(0.05)
    found = [m for m in _all(fragile.settings, "agent.thoughts") if m["agent_id"] == "crash"]
    assert set(accepted) <= {m["thought"] for m in found}
    seen: Counter[str] = Counter()
    for message in found:
        assert message["_marked"] or not seen[message["event_id"]], "a second copy without a mark"
        seen[message["event_id"]] += 1
    # Each life's messages are in the order in which they were published, second copies left out.
    for life in ("up", "away", "back"):
        firsts = dict.fromkeys(int(m["thought"].split("-")[1]) for m in found if m["thought"].startswith(f"{life}-"))
        assert list(firsts) == sorted(firsts)


def test_broker_that_is_restarted_costs_nothing(fragile: Fragile, project: Path) -> None:
    with AgentStreamingPublisher(project, agent_id="steady", settings=fragile.settings, reports=False) as own:
        for n in range(300):
            own.publish_thought(f"{n}")
        assert own.flush(20)
        fragile.kill()
        for n in range(300, 600):
            own.publish_thought(f"{n}")
        assert own.stats().spilled > 0
        fragile.start()
        assert own.flush(60)
        stats = own.stats()
    assert (stats.accepted, stats.sent, stats.spilled, stats.dropped) == (600, 600, 0, 0)
    found = [m for m in _all(fragile.settings, "agent.thoughts") if m["agent_id"] == "steady"]
    assert [m["thought"] for m in found if not m["_marked"]][:300] == [f"{n}" for n in range(300)]
    assert {m["thought"] for m in found} == {f"{n}" for n in range(600)}
