"""Whatever an agent hands over becomes JSON of a bounded size."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmon.publish.clean import MAX_DEPTH, Cleaner
from agentmon.publish.redact import Redactor

CLEAN = Cleaner(1_000, Redactor())


class Hostile:
    """Raises whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __str__(self) -> str:
        raise RuntimeError("str")

    __repr__ = __str__


def circle() -> list[Any]:
    one: list[Any] = [1]
    one.append(one)
    return one


@pytest.mark.parametrize(
    "value",
    [
        Hostile(), {Hostile(): Hostile()}, circle(), {1, "a"}, b"\xff\x00", object, float("nan"), float("-inf"), 10**5000,
        datetime(2026, 1, 1, tzinfo=UTC), "\ud800", {"a": {(1, 2): [None, True]}}, range(3), iter([1]), lambda: 1,
        [[]] * 10_000, {str(n): n for n in range(5_000)}, ValueError("x"),
    ],
    ids=range(18),
)  # fmt: skip
def test_anything_becomes_json(value: Any) -> None:
    data = CLEAN.encoded(CLEAN.message({"type": "t", "context": value}), 1_000_000)
    assert json.loads(data)["type"] == "t"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), values, max_size=8))
def test_any_message_becomes_strict_json(message: dict[str, Any]) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    json.loads(CLEAN.encoded(CLEAN.message(message), 1_000_000), parse_constant=refuse)


@pytest.mark.parametrize("most", [2_000, 50_000])
def test_size_is_bounded_and_what_matters_stays(most: int) -> None:
    big = {"context": {f"k{n}": "x" * 900 for n in range(900)}, "result": "y" * 10_000, "tool": "grep", "reward": 0.5}
    data = CLEAN.encoded(CLEAN.message(big), most)
    assert len(data) <= most
    told = json.loads(data)
    assert (told["tool"], told["reward"]) == ("grep", 0.5)


def test_long_text_is_cut_with_a_mark() -> None:
    told = CLEAN.message({"thought": "a" * 5_000})["thought"]
    assert told == "a" * 1_000 + "… [cut, 5000 characters]"


def test_deep_nesting_ends() -> None:
    deep: Any = 1
    for _ in range(500):
        deep = {"a": deep}
    text = json.dumps(CLEAN.message({"context": deep}))
    assert text.count("{") <= MAX_DEPTH + 2
    assert "nested deeper" in text
