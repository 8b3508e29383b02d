"""The lake's tables as the job writes them: made from contracts/, brought up to today's columns, appended to.

With deltalake (Rust) rather than Spark's own sink: an append is some 30 ms instead of a Spark job, and on a cold JVM
nine CREATE TABLEs alone take longer than the rest of the start (docs/decisions.md).
"""

from __future__ import annotations

import pyarrow as pa
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    Field,
    Schema,
    Transaction,
    WriterProperties,
    write_deltalake,
)

from agentmon.contracts.tables import MESSAGE_TABLES, TABLES, Table
from agentmon.lake.files import is_local, local_path
from agentmon.stream.batch import Batch
from agentmon.stream.types import arrow_type

#: How files are written, also those that others are merged into. DuckDB reads the row groups of a file side by side.
PARQUET = WriterProperties(compression="ZSTD", statistics_truncate_length=64, max_row_group_size=122_880)
#: Of whole numbers and times, which this encoding keeps small: a dictionary is a second page to read.
_DIFFERENCES = frozenset(("int", "bigint", "timestamp"))


def path_of(lake: str, table: str) -> str:
    """Where a table lies: a path or URI below the lake's."""
    return f"{lake}/{table}"


def create_missing(lake: str) -> None:
    """Make every table that is not there yet, and bring older ones up to today's columns and properties.

    Needs to be alone with the lake.
    """
    for table in TABLES.values():
        place = _place(lake, table.name)
        if DeltaTable.is_deltatable(place):
            _bring_up(DeltaTable(place), table)
        else:
            DeltaTable.create(
                place,
                schema_of(table),
                partition_by=[table.partition],
                description=table.comment,
                configuration=table.properties,
            )


def schema_of(table: Table) -> Schema:
    """The columns with their comments."""
    fields = [pa.field(c.name, arrow_type(c.type), metadata={"comment": c.comment}) for c in table.columns]
    return Schema.from_arrow(pa.schema(fields))


def appended_as(table: Table) -> WriterProperties:
    """How the files of one batch are written; those of its figures, until they are merged, for readers of a thousand.

    Neither compression nor dictionaries there, and no statistics but those that the log takes from them.
    """
    if table.name in MESSAGE_TABLES:
        return PARQUET
    return WriterProperties(
        compression="UNCOMPRESSED",
        statistics_truncate_length=64,
        default_column_properties=ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE"),
        column_properties={
            column.name: ColumnProperties(
                dictionary_enabled=False,
                statistics_enabled="CHUNK" if column.name in table.found_by else "NONE",
                encoding="DELTA_BINARY_PACKED" if column.type in _DIFFERENCES else "PLAIN",
            )
            for column in table.columns
            if column.type in _DIFFERENCES or column.name in table.found_by
        },
    )


class Appender:
    """One table, open for appending by one thread at a time."""

    def __init__(self, lake: str, table: Table) -> None:
        self._columns = table.column_names
        self._properties = appended_as(table)
        self._table = DeltaTable(_place(lake, table.name))
        self._schema = pa.schema(self._table.schema().to_arrow())

    def append(self, rows: pa.Table, batch: Batch) -> None:
        """Add rows as the batch's transaction; nothing if the table has it already.

        `rows` has the table's columns, in any order, of types that can be cast to the table's; those of `batch` itself
        (query_id, batch_id) are filled in. The batch's description goes into the commit (see resume.py).
        """
        if self.has(batch):
            return
        write_deltalake(
            self._table,
            self._fitted(rows, batch),
            mode="append",
            writer_properties=self._properties,
            commit_properties=CommitProperties(
                custom_metadata={"userMetadata": batch.to_json()},
                app_transactions=[Transaction(batch.query_id, batch.batch_id)],
            ),
        )

    def has(self, batch: Batch) -> bool:
        """Whether the batch's transaction is in the table."""
        version = self._table.transaction_version(batch.query_id)
        return version is not None and version >= batch.batch_id

    def _fitted(self, rows: pa.Table, batch: Batch) -> pa.Table:
        constants = {"query_id": batch.query_id, "batch_id": batch.batch_id}
        columns = []
        for name in self._columns:
            type_ = self._schema.field(name).type
            if name in rows.column_names:
                columns.append(rows[name].cast(type_))
            else:
                columns.append(pa.repeat(pa.scalar(constants[name], type_), len(rows)))
        return pa.table(columns, names=self._columns)


def _place(lake: str, table: str) -> str:
    place = path_of(lake, table)
    return str(local_path(place)) if is_local(place) else place.replace("s3a://", "s3://", 1)


def _bring_up(there: DeltaTable, table: Table) -> None:
    """To today's columns and properties; a property that somebody set is left as it is."""
    have = {field.name.lower() for field in there.schema().fields}
    missing: list[Field] = [field for field in schema_of(table).fields if field.name.lower() not in have]
    if missing:
        there.alter.add_columns(missing)
    unset = table.properties.keys() - there.metadata().configuration.keys()
    if unset:
        there.alter.set_table_properties({name: table.properties[name] for name in unset})
