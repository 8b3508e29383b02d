"""What tests share: one real broker, one Spark session, and a fresh home for whoever asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentmon.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Variables of the shell around the tests that must not reach them.
_FOREIGN = ("SPARK_HOME", "SPARK_CONF_DIR", "PYSPARK_SUBMIT_ARGS")


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> None:
    """No setting of the developer's own shell decides what a test finds."""
    for name in (*(spec.metadata["env"] for spec in fields(Settings)), *_FOREIGN):
        os.environ.pop(name, None)
    os.environ.update(SPARK_LOCAL_IP="127.0.0.1", SPARK_LOCAL_HOSTNAME="localhost")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A fresh home, and no Kafka named."""
    return Settings(home=tmp_path / "home")


@pytest.fixture
def on_broker(broker: str, tmp_path: Path) -> Settings:
    """A fresh home on the suite's broker. Topics stay there: a test uses names of its own."""
    return Settings(home=tmp_path / "home", kafka_bootstrap_servers=broker)


@pytest.fixture(scope="session")
def broker(clean_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real broker that lives as long as the suite."""
    from agentmon.stack.addresses import LOOPBACK, free_port
    from agentmon.stack.broker import Broker

    embedded = Broker(Settings(home=tmp_path_factory.mktemp("broker")))
    port = free_port()
    address = f"{LOOPBACK}:{port}"
    try:
        embedded.start(address, LOOPBACK, port)
        yield address
    finally:
        embedded.stop()


@pytest.fixture(scope="session")
def spark(clean_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One session for the suite, made as the job makes it."""
    from agentmon.stream.session import start_session

    # Else Spark leaves a folder where the tests are run from.
    warehouse = f"--conf spark.sql.warehouse.dir={tmp_path_factory.mktemp('warehouse')} pyspark-shell"
    os.environ["PYSPARK_SUBMIT_ARGS"] = warehouse
    session = start_session("agentmon-tests")
    yield session
    session.stop()
