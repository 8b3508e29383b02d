"""Spark SQL's types, as contracts/ writes them, in Arrow's words."""

from __future__ import annotations

import pyarrow as pa

from agentmon.contracts.types import parts_of

_NAMES = {
    "string": pa.string(),
    "binary": pa.binary(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}


def arrow_type(spark_type: str) -> pa.DataType:
    """The Arrow type that holds what a Delta column of this Spark type does.

    >>> arrow_type("map<int,bigint>"), arrow_type("struct<value:double>")
    (MapType(map<int32, int64>), StructType(struct<value: double>))
    """
    outer, parts = parts_of(spark_type)
    if outer in _NAMES:
        return _NAMES[outer]
    if outer == "array":
        return pa.list_(pa.field("element", arrow_type(parts[0])))
    if outer == "map":
        return pa.map_(arrow_type(parts[0]), arrow_type(parts[1]))
    if outer == "struct":
        fields = [part.partition(":") for part in parts]
        return pa.struct({name: arrow_type(of) for name, _, of in fields})
    raise ValueError(f"no Arrow type for {spark_type}")
