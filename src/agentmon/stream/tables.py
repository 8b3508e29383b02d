"""Create the lake's tables from contracts/, and add the columns that a newer version brings."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from delta.tables import DeltaTable
from pyspark.sql import SparkSession

from agentmon.contracts.tables import PROPERTIES, TABLES, Table


def path_of(lake: str, table: str) -> str:
    """Where a table lies: a path or URI below the lake's."""
    return f"{lake}/{table}"


def create_missing(spark: SparkSession, lake: str) -> None:
    """Make every table that is not there yet, and bring older ones up to today's columns."""

    def ensure(table: Table) -> None:
        path = path_of(lake, table.name)
        if DeltaTable.isDeltaTable(spark, path):
            _add_columns(spark, path, table)
        else:
            _create(spark, path, table)

    # Side by side: on a cold JVM one after the other takes most of the start.
    with ThreadPoolExecutor(4) as makers:
        list(makers.map(ensure, TABLES.values()))


def _create(spark: SparkSession, path: str, table: Table) -> None:
    builder = DeltaTable.createIfNotExists(spark).location(path).comment(table.comment)
    for column in table.columns:
        builder = builder.addColumn(column.name, column.type, comment=column.comment)
    for key, value in PROPERTIES.items():
        builder = builder.property(key, value)
    builder.partitionedBy(table.partition).execute()


def _add_columns(spark: SparkSession, path: str, table: Table) -> None:
    have = {name.lower() for name in spark.read.format("delta").load(path).columns}
    missing = [column for column in table.columns if column.name.lower() not in have]
    if missing:
        columns = ", ".join(
            f"`{c.name}` {c.type} COMMENT '{c.comment.replace(chr(39), chr(92) + chr(39))}'" for c in missing
        )
        spark.sql(f"ALTER TABLE delta.`{path}` ADD COLUMNS ({columns})")
