"""Sets of offsets as lists of half-open ranges [start, end): in order, without overlap, none empty."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

Range = tuple[int, int]
Ranges = list[Range]


def united(ranges: Iterable[Range]) -> Ranges:
    """Any ranges as a set.

    >>> united([(5, 7), (0, 2), (2, 3), (6, 9), (4, 4)])
    [(0, 3), (5, 9)]
    """
    found: Ranges = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def without(ranges: Ranges, taken: Ranges) -> Ranges:
    """What of a set is not in another.

    >>> without([(0, 10), (20, 30)], [(2, 3), (8, 25)])
    [(0, 2), (3, 8), (25, 30)]
    """
    return list(_without(ranges, taken))


def within(ranges: Ranges, others: Ranges) -> Ranges:
    """What two sets have in common.

    >>> within([(0, 10), (20, 30)], [(2, 3), (8, 25)])
    [(2, 3), (8, 10), (20, 25)]
    """
    return without(ranges, without(ranges, others))


def size(ranges: Iterable[Range]) -> int:
    """How many offsets these are.

    >>> size([(0, 3), (5, 9)])
    7
    """
    return sum(end - start for start, end in ranges)


def of_bits(bits: str, start: int) -> Iterator[Range]:
    """The ones of a bitmap whose first digit stands for `start`.

    >>> list(of_bits("11010", 100))
    [(100, 102), (103, 104)]
    """
    return ((start + run.start(), start + run.end()) for run in re.finditer("1+", bits))


def _without(ranges: Ranges, taken: Ranges) -> Iterator[Range]:
    at = 0
    for start, end in ranges:
        left = start
        while at < len(taken) and taken[at][1] <= start:
            at += 1
        look = at  # a taken range may reach into the next one too
        while look < len(taken) and taken[look][0] < end:
            if left < taken[look][0]:
                yield left, taken[look][0]
            left = max(left, taken[look][1])
            look += 1
        if left < end:
            yield left, end
