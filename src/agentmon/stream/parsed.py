"""Parsed messages: by the name of their table, rows with that table's columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from agentmon.contracts.tables import MESSAGE_TABLES
from agentmon.stream.types import arrow_type

#: Columns of each table of messages.
SCHEMAS = {name: pa.schema({c.name: arrow_type(c.type) for c in t.columns}) for name, t in MESSAGE_TABLES.items()}
_NO_ROWS = {name: schema.empty_table() for name, schema in SCHEMAS.items()}
_ALL = pa.unify_schemas(list(SCHEMAS.values()))

#: Every table of messages, those without rows too.
Parsed = Mapping[str, pa.Table]


def joined(parts: Iterable[Parsed]) -> dict[str, pa.Table]:
    """The rows of all parts."""
    found: dict[str, list[pa.Table]] = {name: [] for name in SCHEMAS}
    for part in parts:
        for name, rows in part.items():
            if rows.num_rows:
                found[name].append(rows)
    return {name: pa.concat_tables(rows) if rows else _NO_ROWS[name] for name, rows in found.items()}


def taken(rows: pa.Table, numbers: Sequence[int]) -> pa.Table:
    """A few rows by their numbers, in that order. (`Table.take` copies all of each column first, where it is in pieces.)"""
    wanted = np.asarray(numbers, np.int64)
    order = np.argsort(wanted, kind="stable")
    in_order = wanted[order]
    found, begin = [rows.schema.empty_table()], 0
    for piece in rows.to_batches():
        end = begin + len(piece)
        first, last = np.searchsorted(in_order, (begin, end))
        if first < last:
            found.append(pa.Table.from_batches([piece.take(pa.array(in_order[first:last] - begin))]))
        begin = end
    return pa.concat_tables(found).combine_chunks().take(pa.array(np.argsort(order)))


def side_by_side(parsed: Parsed, columns: Sequence[str]) -> pa.Table:
    """One table of all rows: `table`, and these columns, null where a row's table has none."""
    fields = [_ALL.field(name) for name in columns]
    parts = []
    for name, rows in parsed.items():
        if rows.num_rows:
            values = [rows[f.name] if f.name in rows.column_names else pa.nulls(len(rows), f.type) for f in fields]
            parts.append(pa.table([pa.repeat(name, len(rows)), *values], names=["table", *columns]))
    schema = pa.schema([pa.field("table", pa.string()), *fields])
    return pa.concat_tables(parts) if parts else schema.empty_table()
