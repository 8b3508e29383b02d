"""The newest rows of each group of many, all groups at once."""

from __future__ import annotations

from typing import Any

import numpy as np

Numbers = Any  # an array of numpy's, of whole numbers


def newest_of_each(groups: Numbers, *order: Numbers, most: int) -> Numbers:
    """Row numbers: of each group the last rows in order of (the first of `order`, the next, …), at most `most` of them.

    groups: a number from 0 on for each row. Group by group, the oldest row first.
    """
    ordered = np.lexsort((*reversed(order), groups))
    ends = np.cumsum(np.bincount(groups))
    return ordered[ends[groups[ordered]] - np.arange(len(ordered)) <= most]
