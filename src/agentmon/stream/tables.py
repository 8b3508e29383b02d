"""The lake's tables as the job commits to them: made from contracts/, brought up to today's columns, appended to.

With deltalake (Rust) rather than Spark's own sink: an append is some 10 to 30 ms instead of a Spark job, and on a cold JVM
nine CREATE TABLEs alone take longer than the rest of the start (docs/decisions.md). Files of messages are written by the
tasks (stream/files.py); a commit names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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

from agentmon.contracts.tables import FORMER_PROPERTIES, MESSAGE_TABLES, TABLES, Table
from agentmon.errors import AgentmonError
from agentmon.stream.batch import Batch
from agentmon.stream.files import LONGEST_BOUND, ROW_GROUP_ROWS, files_of, place_of, remove
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


def create_missing(lake: str) -> None:
    """Make every table that is not there yet, and bring older ones up to today's columns and properties.

    Needs to be alone with the lake.
    """
    for table in TABLES.values():
        place = place_of(lake, table.name)
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
    """One table, open for appending by one thread at a time.

    Raises AgentmonError where the table asks for more than our files promise (a writer version above 2, say constraints).
    """

    def __init__(self, lake: str, table: Table) -> None:
        self._kind = table
        self._properties = appended_as(table)
        self._place = place_of(lake, table.name)
        self._table = DeltaTable(self._place)
        self._schema = pa.schema(self._table.schema().to_arrow())
        self._files = files_of(lake, table.name)
        protocol = self._table.protocol()
        if protocol.min_writer_version > _PLAIN_WRITER or protocol.writer_features:
            raise AgentmonError(
                f"the table {table.name} in {lake} asks for Delta's writer version {protocol.min_writer_version}, and agentmon "
                f"writes version {_PLAIN_WRITER}: remove what was added to it (constraints, generated columns, features)"
            )
        configured = self._table.metadata().configuration
        self._checkpoint_interval = int(configured.get("delta.checkpointInterval", _DELTAS_INTERVAL))

    def append(self, rows: pa.Table, batch: Batch) -> None:
        """Add rows as the batch's transaction; nothing if the table has it already.

        `rows` has the table's columns, in any order, of types that can be cast to the table's; those of `batch` itself
        (query_id, batch_id) are filled in. The batch's description goes into the commit (see resume.py).
        """
        if not self.has(batch):
            write_deltalake(
                self._table,
                self._fitted(rows, batch),
                mode="append",
                writer_properties=self._properties,
                commit_properties=_commit_properties(batch),
                post_commithook_properties=self._hooks(),
            )

    def commit(self, files: Sequence[AddAction], batch: Batch) -> None:
        """Make files that a task wrote part of the table, as the batch's transaction; they are deleted if it has that already."""
        if self.has(batch):
            remove([file.path for file in files], self._files)
            return
        self._table.create_write_transaction(
            [*files],
            mode="append",
            schema=self._table.schema(),
            partition_by=[self._kind.partition],
            commit_properties=_commit_properties(batch),
            post_commithook_properties=self._hooks(),
        )
        self._table.update_incremental()

    def discard(self, batch: Batch) -> None:
        """Delete the batch's files, unless it was committed. Local only. Raises DeltaError where that can't be known."""
        self._table.update_incremental()
        if not self.has(batch):
            for path in Path(self._place).glob(f"{self._kind.partition}=*/part-{batch.name}-*"):
                path.unlink(missing_ok=True)

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
        for name in self._kind.column_names:
            type_ = self._schema.field(name).type
            if name in rows.column_names:
                columns.append(rows[name].cast(type_))
            else:
                columns.append(pa.repeat(pa.scalar(constants[name], type_), len(rows)))
        return pa.table(columns, names=self._kind.column_names)


def _commit_properties(batch: Batch) -> CommitProperties:
    return CommitProperties(
        custom_metadata={"userMetadata": batch.to_json()},
        app_transactions=[Transaction(batch.query_id, batch.batch_id)],
    )


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
