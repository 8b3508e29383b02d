"""Which messages the reader of many leaves to the reader of one, among others and alone."""

from __future__ import annotations

import pyarrow as pa
import pytest

from agentmon.contracts.message import Limits
from agentmon.stream.usual import usual

ONES = "1" * 230


OWN_WAY = ["1e400", "-1e+400", "1.5E0400", "1e308", "2E999", "[0,9e999]", "-0", "[-0,1]", '{"a":-0}', "[1,-0]"]
USUAL = [
    "1e99",
    "1e-400",
    "-0.0",
    "-0e3",
    "[-1,0]",
    '"a3e456"',
    '"-0"',
    '"e400"',
    '"2026-01-02"',
    '"550e8400-e29b-41d4-a716-33e446655440"',
]


@pytest.mark.parametrize(
    "number", [*OWN_WAY, ONES, f"{ONES}.0e99", f"0.{ONES}", f"12.{'1' * 190}e999", f"{'1' * 30}e300"]
)
def test_numbers_that_contracts_writes_in_its_own_way(number: str) -> None:
    assert told_apart(number) == {"alone": False, "among others": False}


@pytest.mark.parametrize("value", [*USUAL, f'"{"1" * 150}"'])
def test_names_ids_and_usual_numbers(value: str) -> None:
    assert told_apart(value) == {"alone": True, "among others": True}


def told_apart(value: str) -> dict[str, bool]:
    message = f'{{"context":{{"n": {value} }}}}'.encode()
    among, _ = usual(pa.array([b"{}", message, b'{"context":1}'], pa.binary()), "actions", Limits())
    alone, _ = usual(pa.array([message], pa.binary()), "actions", Limits())
    assert among[0]
    assert among[2]
    return {"alone": bool(alone[0]), "among others": bool(among[1])}
