"""Figures over time as lines of blocks, under the table of `history`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from agentmon_cli.render import cell, console

SPARKS = "▁▂▃▄▅▆▇█"
_CHARTED = ("actions", "success_rate", "avg_reward", "errors", "p95_ms")


def spark(values: Sequence[float | None]) -> str:
    """Values as blocks, from the lowest to the highest of them; a gap where there is none.

    >>> spark([0, 0.5, None, 1]), spark([1, 1]), spark([])
    ('▁▅ █', '▄▄', '')
    """
    # Halves, as the largest doubles are too far apart; what is not finite is a gap too.
    halves = [value / 2 if value is not None and math.isfinite(value) else None for value in values]
    known = [half for half in halves if half is not None]
    low, high = min(known, default=0), max(known, default=0)
    if not high > low:
        return "".join(" " if half is None else SPARKS[3] for half in halves)
    return "".join(" " if half is None else SPARKS[round((half - low) / (high - low) * 7 + 1e-9)] for half in halves)


def show_chart(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A line per figure, its lowest and highest value beside it; the newest buckets where not all fit."""
    from rich.text import Text

    if len(rows) < 2:
        return
    out = console()
    for name in _CHARTED:
        values = [row[columns.index(name)] for row in rows][-(out.size.width - 40) :]
        known = [value for value in values if value is not None]
        if known and max(known) > 0:
            text = Text(f"{name:>12} ").append(spark(values), "green")
            out.print(text.append(f"  {cell(min(known))} to {cell(max(known))}", "dim"), no_wrap=True)
