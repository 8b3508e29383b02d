"""Histograms of durations, per agent: those of its tools added up, once a window.

An agent has many tools, and its durations with each fill much the same buckets. A reader of an agent's figures takes a
sixteenth of the entries this way (docs/decisions.md).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def with_agents(summaries: pa.Table) -> pa.Table:
    """Rows of summaries with the columns agent_duration_count and agent_duration_buckets (contracts/tables.py)."""
    carriers, group_of = _groups(summaries)
    tools = summaries["duration_buckets"].combine_chunks()
    groups = np.repeat(group_of, np.diff(tools.offsets.to_numpy()))
    buckets, counts = tools.keys.to_numpy(), tools.items.to_numpy().astype(np.int64)
    # In order of group and bucket, equal ones side by side.
    order = np.lexsort((buckets, groups))
    groups, buckets, counts = groups[order], buckets[order], counts[order]
    first = np.flatnonzero(_changes(groups) | _changes(buckets))
    groups, buckets, counts = groups[first], buckets[first], np.add.reduceat(counts, first) if len(first) else counts

    entries, durations = (np.zeros(len(summaries), np.int64) for _ in range(2))
    np.add.at(entries, carriers[groups], 1)
    np.add.at(durations, carriers[groups], counts)
    offsets = pa.array(np.concatenate(([0], np.cumsum(entries))), pa.int32())
    histograms = pa.MapArray.from_arrays(offsets, pa.array(buckets), pa.array(counts))
    return summaries.append_column("agent_duration_count", pa.array(durations)).append_column(
        "agent_duration_buckets", histograms
    )


def _groups(summaries: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """(first row of each window and agent, in order; which of these each row belongs to)."""
    agents = summaries["agent_id"].combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy()
    starts = np.unique(summaries["window_start"].cast(pa.int64()).to_numpy(), return_inverse=True)[1]
    _, first, group_of = np.unique(starts * (len(summaries) + 1) + agents, return_index=True, return_inverse=True)
    in_order = np.argsort(first)
    places = np.empty_like(in_order)
    places[in_order] = np.arange(len(first))
    return first[in_order], places[group_of]


def _changes(values: np.ndarray) -> np.ndarray:
    """Where a value differs from the one before; the first one does."""
    return np.concatenate((np.ones(min(1, len(values)), bool), values[1:] != values[:-1]))
