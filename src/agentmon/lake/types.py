"""Spark SQL's types, as contracts/ writes them, in DuckDB's words."""

from __future__ import annotations

from agentmon.contracts.types import parts_of

_NAMES = {
    "timestamp": "TIMESTAMPTZ",
    "string": "VARCHAR",
    "int": "INTEGER",
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "binary": "BLOB",
}


def duckdb_type(spark_type: str) -> str:
    """The DuckDB type that a Delta column of this Spark type is read as.

    >>> duckdb_type("map<int,bigint>"), duckdb_type("array<struct<reward:double,event_time:timestamp>>")
    ('MAP(INTEGER, BIGINT)', 'STRUCT("reward" DOUBLE, "event_time" TIMESTAMPTZ)[]')
    """
    outer, parts = parts_of(spark_type)
    if outer in _NAMES:
        return _NAMES[outer]
    if outer == "array":
        return f"{duckdb_type(parts[0])}[]"
    if outer == "map":
        return f"MAP({duckdb_type(parts[0])}, {duckdb_type(parts[1])})"
    if outer == "struct":
        fields = [part.partition(":") for part in parts]
        return "STRUCT(" + ", ".join(f'"{name}" {duckdb_type(of)}' for name, _, of in fields) + ")"
    raise ValueError(f"no DuckDB type for {spark_type}")
