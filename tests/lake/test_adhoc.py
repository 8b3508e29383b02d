"""A user's SQL reads the lake's tables, and does nothing else."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from tests.lake.conftest import MakeLake
from tests.lake.rows import message, sealed

from agentmon.contracts.tables import TABLES
from agentmon.errors import QueryError
from agentmon.lake.adhoc import run_sql


@pytest.fixture(scope="module")
def lake(make_lake: MakeLake) -> str:
    return make_lake(actions=[message(offset=n, tool="t") for n in range(3)], ledger=[sealed(1)])


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(*) AS n FROM actions",
        "  -- how many\n select count(*) AS n from actions;",
        "WITH a AS (FROM actions) SELECT count(*) AS n FROM a",
        "/* explain */ SELECT count(*) AS n FROM actions",
    ],
)
def test_a_query_is_answered(lake: str, query: str) -> None:
    assert run_sql(lake, query).dicts() == [{"n": 3}]


@pytest.mark.parametrize(
    "query",
    [
        "EXPLAIN SELECT 1",
        "explain analyze select count(*) from actions",
        "EXPLAIN (FORMAT json) SELECT 1",
        "EXPLAIN(ANALYZE, FORMAT 'json')SELECT 1;",
        "/* hi */ EXPLAIN -- how\n ANALYZE /* it */ SELECT 1",
        "EXPLAIN (SELECT 1) UNION ALL (SELECT 2)",
        "DESCRIBE actions",
        "SHOW TABLES",
        "SUMMARIZE actions",
    ],
)
def test_explain_describe_and_show_work(lake: str, query: str) -> None:
    assert run_sql(lake, query).dicts()


@pytest.mark.parametrize("table", TABLES)
def test_every_example_runs(lake: str, table: str) -> None:
    run_sql(lake, TABLES[table].example).dicts()


def test_a_column_that_comes_twice_keeps_both_values(lake: str) -> None:
    assert run_sql(lake, "SELECT 1 AS n, 2 AS n").dicts() == [{"n": 1, "n_2": 2}]


ATTACKS = [
    "COPY (SELECT 1) TO '{lake}/actions/x.csv'",
    "COPY (SELECT 1) TO '{outside}/x.csv'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{lake}/x.csv'",
    "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{lake}/x.csv'",
    "EXPLAIN (ANALYZE, FORMAT json) COPY (SELECT 1) TO '{lake}/x.csv'",
    "/* hi */ EXPLAIN ANALYZE COPY (SELECT 1) TO '{lake}/x.csv'",
    "EXPLAIN --\r ANALYZE COPY (SELECT 1) TO '{lake}/x.csv' /*\n SELECT nope -- */",
    "/* /* */ EXPLAIN */ ANALYZE COPY (SELECT 1) TO '{lake}/x.csv'",
    "EXPLAIN (ANALYZE) SELECT * FROM delta_scan('{outside}')",
    "EXPLAIN (FORMAT json) SELECT 1; DROP VIEW actions",
    "EXPLAIN ANALYZE",
    "EXPLAIN EXPLAIN SELECT 1",
    "EXPORT DATABASE '{lake}/x'",
    "DROP VIEW actions",
    "CREATE TABLE x AS SELECT 1",
    "INSERT INTO actions SELECT * FROM actions",
    "INSERT INTO delta_actions SELECT * FROM actions",
    "DELETE FROM delta_actions",
    "ATTACH '{outside}/x.db'",
    "DETACH delta_actions",
    "USE delta_actions",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "PRAGMA database_list",
    "PRAGMA enable_profiling='json'",
    "CALL pragma_version()",
    "CHECKPOINT",
    "VACUUM",
    "PREPARE p AS SELECT 1",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP VIEW actions",
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM '{secret}'",
    "SELECT * FROM read_blob('{lake}/../secret.txt')",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM delta_scan('{outside}')",
    "SELECT * FROM system.main.\"delta_scan\"('{outside}')",
    "SELECT * FROM delta_list_files('{outside}')",
    "SELECT * FROM query('SELECT * FROM delta_scan(''{outside}'')')",
    "SELECT (SELECT count(*) FROM delta_scan('{outside}'))",
    "EXPLAIN SELECT * FROM delta_scan('{outside}')",
    "DESCRIBE SELECT * FROM delta_scan('{outside}')",
    "WITH x AS (FROM delta_scan('{outside}')) FROM x",
    "SELECT delta_set_transaction_version('{lake}/actions', 'a', 1, 1)",
    "",
    "-- nothing",
    "SELECT",
    "SELECT nope FROM actions",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_anything_else_is_refused_in_one_line(lake: str, empty_lake: str, attack: str) -> None:
    secret = Path(lake).parent / "secret.txt"
    secret.write_text("secret")
    before = sorted(p for p in Path(lake).rglob("*"))
    with pytest.raises(QueryError) as raised:
        run_sql(lake, attack.format(lake=lake, outside=f"{empty_lake}/actions", secret=secret)).dicts()
    assert "\n" not in str(raised.value)
    assert sorted(p for p in Path(lake).rglob("*")) == before


def test_the_callers_variables_are_out_of_reach(lake: str) -> None:
    secret = duckdb.sql("SELECT 42 AS answer")
    with pytest.raises(QueryError):
        run_sql(lake, "SELECT * FROM secret").dicts()
    assert secret is not None


def test_what_is_explained_is_what_was_checked(lake: str) -> None:
    """DuckDB's remark ends at the carriage return, the check's at the new line."""
    copy = f"EXPLAIN --\r ANALYZE COPY (SELECT 1) TO '{lake}/x.csv' /*\n SELECT 1 -- */"
    assert "COPY" not in str(run_sql(lake, copy).dicts())
    assert not Path(lake, "x.csv").exists()


@pytest.mark.parametrize(
    "query", ["SELECT CAST('x' || kafka_offset AS INT) FROM actions", "SELECT INTERVAL 5000000 YEARS"]
)
def test_an_error_while_the_rows_stream_is_ours_too(lake: str, query: str) -> None:
    with pytest.raises(QueryError):
        run_sql(lake, query).dicts()
