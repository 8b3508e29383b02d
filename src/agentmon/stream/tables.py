"""Create the lake's tables from contracts/, and add the columns that a newer version brings.

With deltalake rather than Spark: on a cold JVM nine CREATE TABLEs take longer than the rest of the start.
"""

from __future__ import annotations

import json
from typing import Any

from deltalake import DeltaTable, Field, Schema
from pyspark.sql.types import StructType, _parse_datatype_string

from agentmon.contracts.tables import PROPERTIES, TABLES, Table
from agentmon.lake.files import is_local, local_path


def path_of(lake: str, table: str) -> str:
    """Where a table lies: a path or URI below the lake's."""
    return f"{lake}/{table}"


def create_missing(lake: str) -> None:
    """Make every table that is not there yet, and bring older ones up to today's columns.

    Needs a running Spark session (for its types only), and nobody else who writes.
    """
    for table in TABLES.values():
        place = path_of(lake, table.name)
        if is_local(place):
            place = str(local_path(place))
        if DeltaTable.is_deltatable(place):
            _add_columns(DeltaTable(place), table)
        else:
            DeltaTable.create(
                place,
                schema_of(table),
                partition_by=[table.partition],
                description=table.comment,
                configuration=dict(PROPERTIES),
            )


def schema_of(table: Table) -> Schema:
    """The columns with their comments. Delta keeps a schema in the JSON that Spark gives its own."""
    spark_schema = _parse_datatype_string(table.ddl())
    assert isinstance(spark_schema, StructType)
    told: dict[str, Any] = json.loads(spark_schema.json())
    for field, column in zip(told["fields"], table.columns, strict=True):
        field["metadata"] = {"comment": column.comment}
    return Schema.from_json(json.dumps(told))


def _add_columns(there: DeltaTable, table: Table) -> None:
    have = {field.name.lower() for field in there.schema().fields}
    missing: list[Field] = [field for field in schema_of(table).fields if field.name.lower() not in have]
    if missing:
        there.alter.add_columns(missing)
