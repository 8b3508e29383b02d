"""Real Delta tables, made by Spark as the job makes them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.lake.rows import Row, append

from agentmon.stream.tables import create_missing

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Makes a lake that holds these rows, a commit a table: lake(summaries=[…], ledger=[…])
MakeLake = Callable[..., str]


@pytest.fixture(scope="session")
def empty_lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A lake as a job leaves it that has started and received nothing."""
    lake = str(tmp_path_factory.mktemp("lake") / "lake")
    create_missing(lake)
    return lake


@pytest.fixture(scope="session")
def make_lake(spark: SparkSession, empty_lake: str, tmp_path_factory: pytest.TempPathFactory) -> MakeLake:
    """A lake with the given rows; what is not given is empty."""

    def make(**tables: list[Row]) -> str:
        lake = str(tmp_path_factory.mktemp("lake") / "lake")
        shutil.copytree(Path(empty_lake), lake)
        for table, rows in tables.items():
            append(spark, lake, table, rows)
        return lake

    return make
