"""A broker of these tests' own: they delete topics and wipe it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.stream.life import Life, audited, quick

from agentmon.contracts.topics import FRONTEND
from agentmon.settings import Settings
from agentmon.stack.addresses import LOOPBACK, free_port
from agentmon.stack.broker import Broker

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings whose home has a broker that only this module uses."""
    settings = Settings(home=tmp_path_factory.mktemp("own-broker"))
    broker, port = Broker(settings), free_port()
    try:
        broker.start(f"localhost:{port}", LOOPBACK, port)
        yield settings
    finally:
        broker.stop()


@pytest.fixture(scope="module")
def life(spark: SparkSession, own_broker: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """One lake for all tests of a module: they follow one another through its life."""
    home = tmp_path_factory.mktemp("life") / "home"
    made = Life(spark, quick(Settings(home=home, kafka_bootstrap_servers=own_broker.bootstrap)))
    made.make_topic(FRONTEND)  # else the job's producer waits for it, again and again
    yield made
    made.connection.close()


@pytest.fixture
def audit(
    life: Life, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], tuple[int, dict[str, list[dict[str, Any]]]]]:
    """`agentmon audit` of the module's lake: exit code, and rows by topic."""
    return lambda: audited(life, monkeypatch, capsys)
