"""Small additive tables that the running figures need besides summaries: which actions, and the newest metrics.

In: rows of a micro-batch side by side (`table` and the columns of lake/partials.py's COUNTED).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agentmon.contracts.running import MAX_NAMES, OTHER
from agentmon.stream.newest import newest_of_each

#: What a metric is newer by.
ORDER = ("event_time", "kafka_partition", "kafka_offset")
_ACTIONS = pa.schema({"agent_id": pa.string(), "action": pa.string(), "count": pa.int64()})
_METRICS = pa.schema({"agent_id": pa.string(), "metric": pa.string(), "event_us": pa.int64(), "value": pa.float64()})
#: Of micro-batches that have none.
NO_ACTIONS, NO_METRICS = _ACTIONS.empty_table(), _METRICS.empty_table()


def action_counts(counted: pa.Table) -> pa.Table:
    """How often each agent did each action: agent_id, action, count.

    At most MAX_NAMES names of an agent, the most frequent; all others are OTHER.
    """
    acted = _rows_of(counted, "actions", ["agent_id", "action"])
    counts = acted.filter(acted["action"].is_valid()).group_by(["agent_id", "action"]).aggregate([([], "count_all")])
    counts = counts.rename_columns(_ACTIONS.names).cast(_ACTIONS)
    agents = counts["agent_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    if len(agents) and np.bincount(agents).max() > MAX_NAMES:
        counts = counts.take(pc.sort_indices(counts, [("count", "ascending"), ("action", "descending")]))
        agents = counts["agent_id"].combine_chunks().dictionary_encode().indices.to_numpy()
        is_kept = np.zeros(len(counts), bool)
        is_kept[newest_of_each(agents, np.arange(len(counts)), most=MAX_NAMES)] = True
        names = pc.if_else(pa.array(is_kept), counts["action"], OTHER)
        counts = counts.set_column(1, "action", names).group_by(["agent_id", "action"]).aggregate([("count", "sum")])
        counts = counts.rename_columns(_ACTIONS.names)
    return counts


def newest_metrics(counted: pa.Table) -> pa.Table:
    """The newest value of each metric of each agent: agent_id, metric, event_us (since 1970), value."""
    rows = _rows_of(counted, "metrics", ["agent_id", *ORDER, "metrics"])
    if not len(rows):
        return NO_METRICS
    measured = rows["metrics"].combine_chunks()
    offsets = measured.offsets.to_numpy()
    row_of = np.repeat(np.arange(len(rows)), np.diff(offsets))
    entries = slice(offsets[0], offsets[-1])
    agents, names = rows["agent_id"].combine_chunks().dictionary_encode(), measured.keys[entries].dictionary_encode()
    pairs = agents.indices.to_numpy()[row_of] * len(names.dictionary) + names.indices.to_numpy()
    order = [rows[name].cast(pa.int64()).to_numpy()[row_of] for name in ORDER]
    newest = pa.array(newest_of_each(np.unique(pairs, return_inverse=True)[1], *order, most=1))
    columns = (agents.take(pa.array(row_of)), names, pa.array(order[0]), measured.items[entries])
    texts = [pc.cast(column.take(newest), type_) for column, type_ in zip(columns, _METRICS.types, strict=True)]
    return pa.table(texts, schema=_METRICS)


def _rows_of(counted: pa.Table, table: str, columns: list[str]) -> pa.Table:
    return counted.select(columns).filter(pc.equal(counted["table"], table))
