"""docs/sql.md: each query runs, and the tables are open to other readers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from tests.lake.conftest import MakeLake
from tests.lake.rows import message, sealed

from agentmon.lake.adhoc import run_sql
from agentmon.lake.connection import _delta_extension
from agentmon.settings import project_root

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PAGE = (project_root() / "docs" / "sql.md").read_text()
OURS, OTHERS = PAGE.split("## The same tables without agentmon")
QUERIES = re.findall(r"```sql\n(.*?)```", OURS, re.DOTALL)
TOOLS = [("search", 2), ("book", 1)]


@pytest.fixture(scope="module")
def lake(make_lake: MakeLake) -> str:
    rows = [message(offset=n, tool=tool, session_id="s") for n, tool in enumerate(("search", "search", "book"))]
    return make_lake(actions=rows, ledger=[sealed(1)])


def test_there_are_queries() -> None:
    assert len(QUERIES) >= 10


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_it_runs(lake: str, query: str) -> None:
    run_sql(lake, query).dicts()


def test_plain_duckdb_reads_the_tables(lake: str) -> None:
    (query,) = re.findall(r'duckdb\.sql\(f"(SELECT .*?)"\)', OTHERS)
    with duckdb.connect(config={"allow_unsigned_extensions": True}) as con:
        con.execute(f"LOAD '{_delta_extension()}'")  # INSTALL would take it from the network
        assert con.execute(query.format(lake=lake)).fetchall() == TOOLS


def test_deltalake_reads_the_tables(lake: str) -> None:
    (example,) = [text for text in re.findall(r"```python\n(.*?)```", OTHERS, re.DOTALL) if "deltalake" in text]
    names: dict[str, Any] = {"lake": lake}
    exec(example, names)
    assert sorted(names["rows"]["tool"].to_pylist()) == ["book", "search", "search"]


def test_spark_sql_reads_the_tables(spark: SparkSession, lake: str) -> None:
    (query,) = re.findall(r"```sql\n(.*?)```", OTHERS, re.DOTALL)
    assert [tuple(row) for row in spark.sql(query.format(lake=lake)).collect()] == TOOLS
