"""Which messages the reader of many leaves to the reader of one, among others and alone."""

from __future__ import annotations

import pyarrow as pa
import pytest

from agentmon.contracts.message import Limits
from agentmon.stream.usual import usual

LIMITS = Limits(max_bytes=6000, max_depth=3)


@pytest.mark.parametrize(
    "message",
    [
        '{"tool":"t","action_id":7,"reward":1,"context":{"a":[1e400,-0]},"zz":1e999}',
        '{"context":%s}' % ("1" * 5000),
        '{"action_id":%s}' % ("1" * 4300),
        '{"reward":%s}' % ("1" * 300),
        '{"zz":[[1]]}',
        " { } ",
        '{"reward":1,"reward":null}',
        '{"success":1,"error":false}',
        '{"reward":true}',
        '{"success":"True","error":"x"}',
    ],
)
def test_usual_messages(message: str) -> None:
    assert usual_ones(message) == {"alone": True, "among others": True}


@pytest.mark.parametrize(
    "message",
    [
        '{"tool":1.5}',
        '{"tool":["t"]}',
        '{"action_id":%s}' % ("1" * 4301),
        '{"reward":1e400}',
        '{"reward":"1"}',
        '{"success":[1]}',
        '{"error":{}}',
        '{"reward":{"score":1}}',
        '{"error":1.5}',
        '{"event":{}}',
        '{"context":NaN}',
        '{"zz":"\\ud800"}',
        '{"zz":[[[1]]]}',
        '{"zz":"%s"}' % ("x" * 6000),
        "{} x",
        "[]",
        "",
    ],
)
def test_messages_that_are_not_usual(message: str) -> None:
    assert usual_ones(message) == {"alone": False, "among others": False}


def test_no_value_and_what_is_not_utf8_are_not_usual() -> None:
    values = pa.array([None, b'{"zz":"\xff"}', b"{}"], pa.binary())
    mask, structs = usual(values, "actions", LIMITS)
    assert mask.tolist() == [False, False, True]
    assert len(structs) == 1
    assert usual(values.slice(0, 1), "actions", LIMITS)[0].tolist() == [False]


def usual_ones(message: str) -> dict[str, bool]:
    value = message.encode()
    among, structs = usual(pa.array([b"{}", value, b'{"context":1}'], pa.binary()), "actions", LIMITS)
    alone, _ = usual(pa.array([value], pa.binary()), "actions", LIMITS)
    assert among[0]
    assert among[2]
    assert len(structs) == among.sum()
    return {"alone": bool(alone[0]), "among others": bool(among[1])}
