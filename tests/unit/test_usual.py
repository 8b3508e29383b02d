"""Which messages the reader of many leaves to the reader of one, among others and alone."""

from __future__ import annotations

import pyarrow as pa
import pytest

from agentmon.contracts.message import Limits
from agentmon.stream.usual import usual

ONES = b"1" * 230


@pytest.mark.parametrize(
    "number",
    [b"1e400", b"-1e+400", b"1.5E0400", b"1e308", b" 2E999 ", b"[0,9e999]", ONES, ONES + b".0e99", b"0." + ONES]
    + [b"12." + b"1" * 190 + b"e999", b"1" * 30 + b"e300", b"-0", b"[-0,1]", b'{"a": -0 }'],
)
def test_numbers_that_contracts_writes_in_its_own_way(number: bytes) -> None:
    assert told_apart(b'{"context":{"n":%s}}' % number) == {"alone": False, "among others": False}


@pytest.mark.parametrize(
    "value",
    [b"1e99", b"1e-400", b"-0.0", b"-0e3", b"[-1, 0]", b'"550e8400-e29b-41d4-a716-33e446655440"', b'"a3e456"', b'"-0"']
    + [b'"2026-01-02"', b'"%s"' % (b"1" * 150), b'"e400"', b'"the 400"'],
)
def test_names_ids_and_usual_numbers(value: bytes) -> None:
    assert told_apart(b'{"context":{"n":%s}}' % value) == {"alone": True, "among others": True}


def told_apart(message: bytes) -> dict[str, bool]:
    among, _ = usual(pa.array([b"{}", message, b'{"context":1}'], pa.binary()), "actions", Limits())
    alone, _ = usual(pa.array([message], pa.binary()), "actions", Limits())
    assert among[0] and among[2]
    return {"alone": bool(alone[0]), "among others": bool(among[1])}
