"""A lake of any size without Spark: actions over 30 days, and the summaries, sessions and ledger that belong to them.

As after the nightly job: a file per closed day, summaries and sessions of closed days collapsed to one row
a day and key. The open day has commits as the running job makes them: each of the actions that come after those of the
commit before, with the job's own figures per window. Their files are merged as the job does it, or left, one each.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
from deltalake import write_deltalake

from agentmon.contracts.tables import TABLES
from agentmon.lake.partials import Partials
from agentmon.lake.types import duckdb_type
from agentmon.settings import Settings
from agentmon.stream.compact import compact
from agentmon.stream.tables import PARQUET, appended_as

DAYS = 30
AGENTS = 50
TOOLS = 26
#: Actions of one session.
STEPS = 20
RUN = "bench"

#: Everything about an action follows from its number of the day, and how many the day has.
_ACTIONS = """
CREATE OR REPLACE TEMP TABLE made AS
SELECT
    $day::TIMESTAMPTZ + to_microseconds((number * $span_us / $rows)::BIGINT) AS event_time,
    'agent-' || lpad((number % $agents)::VARCHAR, 2, '0') AS agent_id,
    $day::VARCHAR || '-' || number % $agents || '-' || number // ($agents * $steps) AS session_id,
    'topic-id' AS kafka_topic_id, (number % 6)::INT AS kafka_partition, $offset + number // 6 AS kafka_offset,
    'tool-' || chr((97 + hash(number + $offset * 7) % $tools)::INT) AS tool, 'call' AS "action",
    hash(number + 1 + $offset * 7) % 10 < 9 AS success, (hash(number + 2 + $offset * 7) % 1000) / 1000 AS reward,
    exp(3 + (hash(number + 3 + $offset * 7) % 100000) / 20000) AS duration_ms,
    CASE WHEN success THEN 'ok' END AS result, CASE WHEN NOT success THEN 'timeout' END AS error,
    'agent.actions' AS kafka_topic, 'message' AS time_source, event_time AS kafka_timestamp, event_time AS ingest_time,
    '{}' AS payload, $day AS event_date
FROM (SELECT unnest(range($first, $next)) AS number)
"""

#: What the job counts, of `made`.
_COUNTED = """
SELECT
    'actions' AS "table", * EXCLUDE (event_date),
    NULL::BIGINT AS input_tokens, NULL::BIGINT AS output_tokens, NULL::DOUBLE AS cost_usd,
    NULL::MAP(VARCHAR, DOUBLE) AS metrics
FROM made
"""

_LEDGER = """
SELECT
    $query_id AS query_id, $batch_id AS batch_id, 'stored' AS kind, kafka_topic, kafka_topic_id, kafka_partition,
    min(kafka_offset) AS start_offset, max(kafka_offset) + 1 AS end_offset, 'cluster' AS cluster_id,
    max(event_time) AS committed_at, max(event_date) AS event_date
FROM made
GROUP BY ALL
"""


class Maker:
    """Writes a lake day by day. `today` is the open day; the closed ones lie before it."""

    def __init__(self, lake: Path, today: date) -> None:
        self._lake = lake
        self._today = today
        self._con = duckdb.connect(config={"threads": 2})
        self._con.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        self._windows, self._whole_days = Partials(Settings().window_s), Partials(timedelta(days=1).total_seconds())
        self._offset = 0
        self._batch = 0
        for table in TABLES.values():
            columns = ", ".join(f'"{c.name}" {duckdb_type(c.type)}' for c in table.columns)
            self._con.execute(f"CREATE TABLE {table.name} ({columns})")
            self._write(table.name, f"SELECT * FROM {table.name}", {})

    def closed_days(self, rows: int, days: int) -> None:
        """`rows` actions on each of the days before today, as the nightly job leaves them."""
        for back in range(days - 1, 0, -1):
            self._day(self._today - timedelta(days=back), rows, 1, self._whole_days, collapsed=True)

    def open_day(self, rows: int, commits: int, *, merged: bool = False) -> None:
        """`rows` actions of today in so many commits, as the job writes them, and merges them where asked."""
        self._day(self._today, rows, commits, self._windows, collapsed=False)
        for table in TABLES if merged else ():
            compact(str(self._lake / table), small_files=2)

    def _day(self, day: date, rows: int, commits: int, partials: Partials, *, collapsed: bool) -> None:
        start = datetime.combine(day, datetime.min.time(), UTC)
        span = min(datetime.now(UTC) - start, timedelta(days=1))
        for nth in range(commits):
            each = rows // commits
            self._con.execute(
                _ACTIONS,
                {
                    "day": day, "span_us": span // timedelta(microseconds=1), "rows": rows,
                    "first": nth * each, "next": (nth + 1) * each, "offset": self._offset, "agents": AGENTS, "tools": TOOLS, "steps": STEPS,
                },
            )  # fmt: skip
            self._batch += 1
            self._store(partials, collapsed=collapsed)
        self._offset += rows // 6 + 1

    def _store(self, partials: Partials, *, collapsed: bool) -> None:
        sealed = {"query_id": RUN, "batch_id": self._batch}
        named = {"query_id": None, "batch_id": None} if collapsed else sealed
        batch = self._con.execute(_COUNTED).to_arrow_table()
        self._write("actions", "FROM made", {}, collapsed=collapsed)
        for table, figures in (("summaries", partials.summaries(batch)), ("sessions", partials.sessions(batch))):
            self._con.register("figures", figures)
            named_figures = "SELECT *, $query_id AS query_id, $batch_id AS batch_id FROM figures"
            self._write(table, named_figures, named, collapsed=collapsed)
        self._write("ledger", _LEDGER, sealed, collapsed=collapsed)

    def _write(self, table: str, select: str, parameters: Mapping[str, Any], *, collapsed: bool = False) -> None:
        """One commit; columns that the query does not have are null."""
        self._con.execute(f"CREATE OR REPLACE TEMP TABLE written AS FROM {table} LIMIT 0")
        self._con.execute(f"INSERT INTO written BY NAME {select}", dict(parameters))
        rows = self._con.execute("FROM written").to_arrow_reader()
        wanted = TABLES[table]
        write_deltalake(
            str(self._lake / table), rows, mode="append", partition_by=[wanted.partition],
            description=wanted.comment, configuration=wanted.properties,
            writer_properties=PARQUET if collapsed else appended_as(wanted),
        )  # fmt: skip


def make(
    lake: Path, actions: int, *, days: int = DAYS, commits: int = 1, merged: bool = False, today: date | None = None
) -> None:
    """A lake of so many actions over so many days; those of today lie in `commits` commits, their files merged or not."""
    maker = Maker(lake, today or datetime.now(UTC).date())
    maker.closed_days(actions // days, days)
    maker.open_day(actions // days, commits, merged=merged)
