"""What all tests share: an environment without the user's settings, and one real broker for the whole run."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from agentmon.live.client import Connection
from agentmon.live.topics import TopicSpec, ensure
from agentmon.settings import Settings
from agentmon.stack.addresses import LOOPBACK, free_port
from agentmon.stack.broker import Broker

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_numbers = itertools.count(1)

# Two busy cores may stall for longer than hypothesis lets an example take.
hypothesis.settings.register_profile("agentmon", parent=hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("agentmon")


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("KAFKA_", "AGENT_", "AGENTMON_", "FRONTEND_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings whose home has a real embedded broker running, on a port of its own."""
    settings = Settings(home=tmp_path_factory.mktemp("broker"))
    own, port = Broker(settings), free_port()
    own.start(f"localhost:{port}", LOOPBACK, port)
    yield settings
    own.stop()


@pytest.fixture(scope="session")
def connection(broker: Settings) -> Iterator[Connection]:
    """A connection to the session's broker."""
    with Connection(broker) as opened:
        yield opened


@pytest.fixture
def new_topic(connection: Connection) -> Callable[..., str]:
    """Makes a topic that no other test has: new_topic("agent.actions", partitions=3)."""

    def make(prefix: str = "agent.test", partitions: int = 1) -> str:
        name = f"{prefix}.{os.getpid()}.{next(_numbers)}"
        ensure(connection, [TopicSpec(name, partitions, 1)])
        return name

    return make


@pytest.fixture
def home_settings(broker: Settings, tmp_path: Path) -> Settings:
    """Settings with a home of this test's own, on the session's broker."""
    return Settings(home=tmp_path / "home", kafka_bootstrap_servers=broker.bootstrap)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One session for the whole run, made as the job makes it."""
    for name in ("SPARK_HOME", "SPARK_CONF_DIR"):
        os.environ.pop(name, None)
    # Else Spark leaves a folder where the tests are run from.
    warehouse = f"--conf spark.sql.warehouse.dir={tmp_path_factory.mktemp('warehouse')} pyspark-shell"
    os.environ.update(SPARK_LOCAL_IP=LOOPBACK, SPARK_LOCAL_HOSTNAME="localhost", PYSPARK_SUBMIT_ARGS=warehouse)
    # Else Spark's Python workers are whatever python3 is on PATH.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from agentmon.stream.session import start_session

    session = start_session("agentmon-tests")
    yield session
    session.stop()
