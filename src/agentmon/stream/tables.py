"""The lake's tables as the job writes them: made from contracts/, brought up to today's columns, appended to.

With deltalake (Rust) rather than Spark's own sink: an append is some 30 ms instead of a Spark job, and on a cold JVM
nine CREATE TABLEs alone take longer than the rest of the start (docs/decisions.md). Files of messages, the large ones, are
written by stream/files.py.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    Field,
    PostCommitHookProperties,
    Schema,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.transaction import AddAction
from pyarrow.fs import FileSystem

from agentmon.contracts.tables import FORMER_PROPERTIES, MESSAGE_TABLES, TABLES, Table
from agentmon.lake.files import is_local, local_path
from agentmon.stream.batch import Batch
from agentmon.stream.files import LONGEST_BOUND, ROW_GROUP_ROWS, filesystem_of, remove, write_files
from agentmon.stream.types import arrow_type

#: How files are written that others are merged into, and a batch's where deltalake writes them.
PARQUET = WriterProperties(
    compression="ZSTD", statistics_truncate_length=LONGEST_BOUND, max_row_group_size=ROW_GROUP_ROWS
)
#: Version of Delta's protocol that asks nothing of a writer but what its properties say; later ones have constraints, and more.
_PLAIN_WRITER = 2
#: Commits between two checkpoints where a table doesn't say: deltalake's.
_DELTAS_INTERVAL = 100
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


#: Files that were written, or what deltalake writes as it commits.
Written = list[AddAction] | Any  # of pyarrow's types mypy knows nothing


class Appender:
    """One table, open for appending by one thread at a time."""

    def __init__(self, lake: str, table: Table) -> None:
        self._kind = table
        self._columns = table.column_names
        self._properties = appended_as(table)
        self._table = DeltaTable(_place(lake, table.name))
        self._schema = pa.schema(self._table.schema().to_arrow())
        self._files = _files(self._table, lake, table)
        configured = self._table.metadata().configuration
        self._checkpoint_interval = int(configured.get("delta.checkpointInterval", _DELTAS_INTERVAL))

    def append(self, rows: pa.Table, batch: Batch) -> None:
        """Add rows as the batch's transaction; nothing if the table has it already.

        `rows` has the table's columns, in any order, of types that can be cast to the table's; those of `batch` itself
        (query_id, batch_id) are filled in. The batch's description goes into the commit (see resume.py).
        """
        self.commit(self.write(rows, batch), batch)

    def write(self, rows: pa.Table, batch: Batch) -> Written:
        """The first half of `append`: put rows into files, which are no part of the table yet. From any thread."""
        if self.has(batch):
            return []
        fitted = self._fitted(rows, batch)
        return fitted if self._files is None else write_files(fitted, self._kind, self._files)

    def commit(self, written: Written, batch: Batch) -> None:
        """The second half."""
        if self.has(batch):
            return
        properties = CommitProperties(
            custom_metadata={"userMetadata": batch.to_json()},
            app_transactions=[Transaction(batch.query_id, batch.batch_id)],
        )
        if isinstance(written, pa.Table):
            write_deltalake(
                self._table,
                written,
                mode="append",
                writer_properties=self._properties,
                commit_properties=properties,
                post_commithook_properties=self._hooks(),
            )
        else:
            self._table.create_write_transaction(
                [*written],
                mode="append",
                schema=self._table.schema(),
                partition_by=[self._kind.partition],
                commit_properties=properties,
                post_commithook_properties=self._hooks(),
            )
            self._table.update_incremental()

    def discard(self, written: Written) -> None:
        """Remove what was written and will not be committed."""
        if self._files is not None:
            remove(written, self._files)

    def has(self, batch: Batch) -> bool:
        """Whether the batch's transaction is in the table."""
        version = self._table.transaction_version(batch.query_id)
        return version is not None and version >= batch.batch_id

    def _hooks(self) -> PostCommitHookProperties:
        """The log is cleaned with each checkpoint, as Delta's own writer does it.

        deltalake does it with each commit, and looks at all files of the log for it: 40 ms where it has an hour of them.
        """
        due = (self._table.version() + 2) % self._checkpoint_interval == 0
        return PostCommitHookProperties(cleanup_expired_logs=None if due else False)

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


def _files(there: DeltaTable, lake: str, table: Table) -> FileSystem | None:
    """Where our own writer puts a table's files; none for one that has figures, or that asks more of who writes it."""
    protocol = there.protocol()
    if table.name not in MESSAGE_TABLES or protocol.min_writer_version > _PLAIN_WRITER or protocol.writer_features:
        return None
    return filesystem_of(there, _place(lake, table.name) if is_local(lake) else None)


def _place(lake: str, table: str) -> str:
    place = path_of(lake, table)
    return str(local_path(place)) if is_local(place) else place.replace("s3a://", "s3://", 1)


def _bring_up(there: DeltaTable, table: Table) -> None:
    """To today's columns and properties; a property that somebody set to a value of their own is left as it is."""
    have = {field.name.lower() for field in there.schema().fields}
    missing: list[Field] = [field for field in schema_of(table).fields if field.name.lower() not in have]
    if missing:
        there.alter.add_columns(missing)
    stands = there.metadata().configuration
    ours = {name for name in table.properties if stands.get(name) in (None, FORMER_PROPERTIES.get(name))}
    if ours:
        there.alter.set_table_properties({name: table.properties[name] for name in ours})
