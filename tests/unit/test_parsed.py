"""Parsed rows, in pieces as they came."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from agentmon.stream.parsed import taken


@given(st.lists(st.integers(0, 4), max_size=6), st.data())
def test_rows_are_taken_by_number_in_the_order_asked_for(pieces: list[int], data: st.DataObject) -> None:
    count = sum(pieces)
    numbers = data.draw(st.lists(st.integers(0, count - 1), max_size=9)) if count else []
    texts = pa.array([str(n) for n in range(count)], pa.string())
    begins = [sum(pieces[:n]) for n in range(len(pieces))]
    rows = pa.table(
        {"text": pa.chunked_array([texts.slice(b, n) for b, n in zip(begins, pieces, strict=True)], pa.string())}
    )
    assert taken(rows, numbers).to_pylist() == [{"text": str(n)} for n in numbers]
