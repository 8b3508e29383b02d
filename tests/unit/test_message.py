"""What a message means, in plain Python: one case per rule of wire-formats.md."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentmon.contracts.message import Limits, read
from agentmon.contracts.tables import MESSAGE_TABLES

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
LIMITS = Limits(max_bytes=1000, max_depth=5, max_ahead_s=300)


def row(value: Any, topic: str = "agent.actions", **origin: Any) -> dict[str, Any]:
    """A message as a row; `value` as JSON unless it is bytes or text already."""
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogatepass")
    elif value is not None and not isinstance(value, bytes):
        value = json.dumps(value).encode()
    at = {"kafka_timestamp": NOW, "ingest_time": NOW, "partition": 1, "offset": 7, "limits": LIMITS}
    return read(value, topic=topic, **at | origin)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b'"' + b"x" * 999 + b'"', "too_large"),
        (b'{"a":"\xff"}', "not_utf8"),
        (b" \t\r\n", "not_json"),
        ("\ufeff{}", "not_json"),
        ('{"a":1', "not_json"),
        ("{'a':1}", "not_json"),
        ('{"z":[[[[[]]]]]}', "not_json"),
        ('{"z":[[[[[]]]]],"z":1}', "not_json"),
        ("[1]", "not_object"),
        (" null", "not_object"),
        ("hello", "not_json"),
        *[
            (text, "not_json")
            for text in (
                '{"a":1} x',
                '{"a":1}{"a":2}',
                '{"a":1}\n{"a":2}\n',
                '{"a":1}{',
                '{"a":1}}',
                '{"a":1},',
                "{} {}",
                "{}x",
                '{"a":NaN} NaN',
                '{"a":+INF} +INF',
                '{"a":1}\x00',
                '{"a":1}\xa0',
                '{"a":1}\x0c',
                '{"a":1} // done',
                "{'a':'b'}",
                "{a:1}",
                '{"a":True}',
                '{"a":None}',
                '{"a":1,}',
                '```json\n{"a":1}\n```',
                'data: {"a":1}',
                '{"a":1};',
                '{"a":1}\ufeff',
            )
        ],
    ],
)
def test_quarantine_says_why(value: Any, reason: str) -> None:
    filled = row(value, key=b"agent-1")
    assert (filled["table"], filled["reason"], filled["payload"]) == ("quarantine", reason, None)
    assert (filled["agent_id"], filled["time_source"], filled["event_time"]) == ("agent-1", "kafka", NOW)
    assert filled["raw"] == (value.encode() if isinstance(value, str) else value)
    assert filled["error"]


def test_quarantine_takes_no_field_of_a_broken_message() -> None:
    filled = row('{"agent_id":"a","session_id":"s","tool":"t"')
    assert (filled["agent_id"], filled["session_id"], filled["tool"]) == ("unknown", None, None)


@pytest.mark.parametrize("value", ['{"a":1} \r\n\t', " \n{} \n", '{"z":[[[[]]]]}', '{"a":[NaN,+INF,-INF,-Infinity]}'])
def test_json_may_be_untidy(value: str) -> None:
    filled = row(value)
    assert (filled["table"], filled["payload"]) == ("actions", value)


@pytest.mark.parametrize(
    "value", ["INF", "-NaN", "+1", "01", "1.", ".5", "1e", "truex", "NaNx", '"\\x"', '"\n"', "[1,]", "-+INF"]
)
def test_json_is_not_anything(value: str) -> None:
    assert row(f'{{"a":{value}}}')["reason"] == "not_json"


@pytest.mark.parametrize(
    ("digits", "reward", "tokens"),
    [
        ("1" * 5000, None, None),
        ("-" + "1" * 5000, None, None),
        ("1" * 309, 1.1111111111111112e308, None),
        ("1" * 310, None, None),
        ("0." + "1" * 5000, 0.1111111111111111, 0),
        ("1e400", None, None),
        ("9223372036854775808", 2.0**63, None),
    ],
)
def test_json_has_numbers_of_any_length(digits: str, reward: float | None, tokens: int | None) -> None:
    filled = row(f'{{"reward":{digits},"input_tokens":{digits},"tool":{digits}}}', limits=Limits())
    assert (filled["reward"], filled["input_tokens"], filled["tool"]) == (reward, tokens, digits)


def test_json_lets_the_last_of_repeated_names_win() -> None:
    filled = row('{"tool":"a","tool":"b","action":"c","action":null}')
    assert (filled["tool"], filled["action"]) == ("b", None)


def test_json_survives_nesting_that_python_does_not() -> None:
    assert row("[" * 100_000, limits=Limits())["reason"] == "not_object"
    assert row('{"a":' * 100_000, limits=Limits())["reason"] == "not_json"


@pytest.mark.parametrize("value", ['"' + '\\"' * 500_000, '{"b":"' + '\\"' * 500_000, '"' + "1" * 1_000_000 + 'x"}'])
def test_json_is_read_in_a_time_that_grows_with_its_length(value: str) -> None:
    """Texts that a regular expression could look at from each of their characters on: that would take hours."""
    filled = row(f'{{"reward":{value}', limits=Limits())
    assert (filled["reward"], filled["reason"]) == (None, None if value.endswith("}") else "not_json")


def test_columns_fills_those_of_the_rows_table_only() -> None:
    everything = {name: 1 for table in MESSAGE_TABLES.values() for name in table.own_column_names}
    for topic in ("agent.actions", "agent.thoughts", "agent.learning", "agent.metrics", "agent.tasks"):
        filled = row(everything, topic)
        own = set(MESSAGE_TABLES[filled["table"]].own_column_names)
        others = {name for table in MESSAGE_TABLES.values() for name in table.own_column_names} - own
        assert all(filled[name] is not None for name in own)
        assert all(filled[name] is None for name in others)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("16", "16"),
        ("-0", "0"),
        ("true", "true"),
        ("1.50", "1.50"),
        ("1e7", "1e7"),
        ('"a"', "a"),
        ("NaN", "NaN"),
        ("-INF", "-INF"),
        ("1e400", "1e400"),
        ('[ +INF,"\\u0061", -0 ]', '[ +INF,"\\u0061", -0 ]'),
        ('{ "a":1,"a":+Infinity}', '{ "a":1,"a":+Infinity}'),
        ("null", None),
    ],
)
def test_columns_of_text_have_json_as_it_came(value: str, expected: str | None) -> None:
    assert row(f'{{"tool":{value}}}')["tool"] == expected


def test_columns_replaces_lone_surrogates() -> None:
    filled = row(r'{"tool":"a\ud800","context":["\ud800"]}')
    assert (filled["tool"], filled["context"]) == ("a?", r'["\ud800"]')


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[(2, 2.0), ("2", 2.0), (" 1e3 ", 1000.0), ("5.", 5.0), (".5", 0.5), ("+5", 5.0)],
        *[
            (text, None)
            for text in (
                "1d",
                "0x10",
                "1_0",
                "٣",
                "\t5",
                "5\n",
                "NaN",
                "",
                True,
                {},
                [1],
                "1e400",
                10**400,
                {"score": 1},
            )
        ],
    ],
)
def test_columns_reads_numbers_and_numbers_as_text(value: Any, expected: float | None) -> None:
    assert row({"cost_usd": value})["cost_usd"] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[("0.93", 0.93), ('" -2 "', -2.0), ("true", 1.0), ("false", 0.0), ('"True"', 1.0), ('"false"', 0.0)],
        *[('{"score":0.75,"feedback":"because"}', 0.75), ('{"score":true}', 1.0), ('{"score":"0.5"}', 0.5)],
        *[('{ "value":3, "score" :-1e2 }', -100.0), ('{"score":0,"score":1}', 1.0), ('{"score":false,"n":[{}]}', 0.0)],
        *[(value, None) for value in ("NaN", '{"score":NaN}', '{"score":+INF}', '{"score":null}', "{}", "[1]")],
        *[
            (value, None)
            for value in ('{"score":{"score":1}}', '{"Score":1}', '{"score":[1]}', '{"score":1e400}', '"good"')
        ],
        *[(value, None) for value in ('"yes"', "null", '""', "1e400", '"1,5"', '{"scores":{"score":1}}')],
    ],
)
def test_a_reward_is_a_number_a_boolean_or_an_object_with_a_score(value: str, expected: float | None) -> None:
    """A row's reward, also that of a run, which ends its session."""
    for topic in ("agent.actions", "agent.learning"):
        assert row(f'{{"reward":{value}}}', topic)["reward"] == expected
    assert row(f'{{"reward":{value}}}')["success"] is (None if expected is None else expected > 0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.9, 1), ("33.0", 33), ("12", 12), ("1,200", None), (2**63, None), (-(2**63), None), ("x", None)],
)
def test_columns_cuts_whole_numbers_off(value: Any, expected: int | None) -> None:
    assert row({"input_tokens": value})["input_tokens"] == expected


@pytest.mark.parametrize(
    ("value", "duration", "tokens"),
    [
        *[("-1", None, None), ('"-1"', None, None), ('" -1e3 "', None, None), ("-0.5", None, None)],
        *[("-5e-324", None, None), ("-1.7e308", None, None), ("-9223372036854775809", None, None)],
        *[
            ("-Infinity", None, None),
            ("-0", 0.0, 0),
            ("-0.0", 0.0, 0),
            ('"-0"', 0.0, 0),
            ("0", 0.0, 0),
            ("0.9", 0.9, 0),
        ],
    ],
)
def test_columns_have_no_negative_times_and_tokens(value: str, duration: float | None, tokens: int | None) -> None:
    """Of clocks that were set back, and of counters' -1 for unknown; the payload has what was said."""
    filled = row('{"duration_ms":#,"input_tokens":#,"output_tokens":#}'.replace("#", value))
    assert repr(filled["duration_ms"]) == repr(duration), "0.0 has no sign either"
    assert (filled["input_tokens"], filled["output_tokens"]) == (tokens, tokens)
    assert f'"duration_ms":{value}' in filled["payload"]
    progress = row('{"total_events":#,"data":{}}'.replace("#", value), "agent.learning")
    assert progress["total_events"] == tokens
    counts = row('{"action_count":#}'.replace("#", value), "agent.metrics")
    assert counts["action_count"] == tokens


@pytest.mark.parametrize("value", ["-1", "-0.25", '"-3"'])
def test_what_may_be_negative_stays(value: str) -> None:
    """Rewards, refunds, and whatever agents measure."""
    filled = row('{"reward":#,"cost_usd":#}'.replace("#", value))
    assert filled["reward"] == filled["cost_usd"] == float(value.strip('"'))
    assert row('{"metrics":{"x":#}}'.replace("#", value), "agent.metrics")["metrics"] == {"x": float(value.strip('"'))}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"success": True, "reward": -1}, True),
        ({"success": " FALSE ", "reward": 1}, False),
        ({"success": 1}, True),
        ({"success": 1.0}, True),
        ({"success": 0.0, "reward": 1}, False),
        ({"success": "True"}, True),
        ({"success": " 1.0 "}, True),
        ({"success": "0"}, False),
        ({"success": "-0"}, False),
        ({"success": 2}, None),
        ({"success": 0.5}, None),
        ({"success": -1}, None),
        ({"success": float("nan")}, None),
        ({"success": float("inf"), "reward": 1}, True),
        ({"success": 10**400}, None),
        ({"success": ""}, None),
        ({"success": [True]}, None),
        ({"success": {"ok": True}}, None),
        ({"success": "ok"}, None),
        ({"success": "yes", "reward": 0}, False),
        ({"reward": "0.5"}, True),
        ({}, None),
    ],
)
def test_columns_knows_an_actions_outcome(fields: dict[str, Any], expected: bool | None) -> None:
    assert row(fields)["success"] is expected


@pytest.mark.parametrize(
    "value",
    [
        *["null", '""', '" "', r'"\n"', r'"\u00a0"', "false", '"false"', '"False"', "0", "-0", "0.0", "0.00", '"0"'],
        *["{}", "{ }", "{\n}", '"{}"', "[]", "[ ]", '" [] "', '" false "'],
    ],
)
def test_an_error_that_says_there_was_none_is_none(value: str) -> None:
    sent = f'{{"tool":"t","error":{value}}}'
    assert (row(sent)["error"], row(sent)["payload"]) == (None, sent)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[('"None"', "None"), ('" x "', " x "), ("true", "true"), ("1", "1"), ("1e-9", "1e-9"), ("NaN", "NaN")],
        *[('{"code":0}', '{"code":0}'), ('[""]', '[""]'), ("[{}]", "[{}]"), ("+INF", "+INF"), ("-INF", "-INF")],
        *[('"falsehood"', "falsehood"), ('"0x0"', "0x0"), ('"no"', "no"), (r'"\ud800"', "?"), ("500", "500")],
    ],
)
def test_any_other_error_is_one(value: str, expected: str) -> None:
    assert row(f'{{"error":{value}}}')["error"] == expected


def test_columns_falls_back() -> None:
    filled = row({"name": "read", "context": {"result": {"a": 1}}})
    assert (filled["tool"], filled["result"]) == ("read", '{"a": 1}')
    assert row({"tool": "t", "name": "n", "result": "r", "context": {"result": "c"}})["result"] == "r"
    assert row({"context": '{"result": [1.0,  NaN]}'})["result"] == "[1.0,  NaN]"
    assert row({"context": '{"result": "r"'})["result"] is None


def test_columns_reads_learning_reports_from_data_first() -> None:
    filled = row(
        {"data": {"total_events": 3, "learning_trend": "up"}, "total_events": 9, "avg_reward": 0.5},
        "agent.learning",
    )
    assert (filled["total_events"], filled["learning_trend"], filled["avg_reward"]) == (3, "up", 0.5)
    assert json.loads(filled["data"]) == {"total_events": 3, "learning_trend": "up"}


def test_columns_puts_announced_actions_among_the_events() -> None:
    assert row({"type": "action_started"})["table"] == "events"
    assert row({"event": {"type": "action_started"}})["table"] == "events"
    assert row({"type": "action_started"}, "agent.thoughts")["table"] == "thoughts"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            {"metrics": {"a": 1, "b": "2", "c": {"d": 1}, "e": None, "f": "x", "g": float("nan")}, "n": 5},
            {"a": 1.0, "b": 2.0},
        ),
        ({"type": "training", "avg_reward": 0.5, "n": 3, "timestamp": 1}, {"avg_reward": 0.5, "n": 3.0}),
        ({"container": "c", "n": 1, "event": {"m": 2, "ts": 3}}, {"m": 2.0}),
        ({"event": "started", "n": 1}, {"n": 1.0}),
        ({"metrics": [1]}, {}),
    ],
)
def test_metrics_takes_numbers(message: dict[str, Any], expected: dict[str, float]) -> None:
    assert row(message, "agent.metrics")["metrics"] == expected


def test_metrics_lets_the_last_of_repeated_names_win() -> None:
    assert row('{"metrics":{"a":1,"a":2,"b":1,"b":null}}', "agent.metrics")["metrics"] == {"a": 2.0}


def test_envelopes_lets_the_events_fields_win() -> None:
    filled = row({"tool": "outer", "session_id": "s", "container": "c", "event": {"tool": "inner", "session_id": None}})
    assert (filled["tool"], filled["session_id"], filled["agent_id"]) == ("inner", "s", "c")


def test_envelopes_opens_one_only() -> None:
    assert row({"event": {"event": {"tool": "t"}}})["tool"] is None


def test_envelopes_opens_an_event_that_was_encoded_twice() -> None:
    assert row({"event": '{"tool":"t"}'})["tool"] == "t"
    assert row({"event": '{"tool":"t"} and more'})["tool"] is None


@pytest.mark.parametrize(
    ("message", "key", "expected"),
    [
        ({"agent_id": "a", "container": "c"}, b"k", "a"),
        ({"agent_id": 16}, b"k", "16"),
        ({"agent_id": "", "container": "c"}, b"k", "k"),
        ({"container": "c", "hostname": "h"}, b"\xff", "c"),
        ({"container": "", "hostname": "h"}, b"", "h"),
        ({}, None, "unknown"),
    ],
)
def test_agent_is_named_or_the_key_or_where_it_ran(message: dict[str, Any], key: bytes | None, expected: str) -> None:
    assert row(message, key=key)["agent_id"] == expected


@pytest.mark.parametrize(
    "value",
    [
        *[1793534390.25, "1793534390.25", " 1793534390.25 ", 1793534390250, 1793534390250000],
        *[
            "2026-11-01T11:59:50.25Z",
            "2026-11-01 11:59:50.250",
            "2026-11-01T13:59:50.25+0200",
            "2026-11-01t11:59:50.250000999z",
        ],
    ],
)
def test_time_comes_in_many_forms(value: Any) -> None:
    filled = row({"timestamp": value})
    assert (filled["event_time"], filled["time_source"]) == (NOW - timedelta(seconds=9.75), "message")
    assert filled["event_date"] == NOW.date()


@pytest.mark.parametrize(
    "value",
    [
        *["2026-11-01 11:59:50.25+00", "2026-11-01T06:59:50.250-05", "2026-11-01T11:59:50.25+0000"],
        *["2026-11-01 11:59:50,25", "2026-11-01 11:59:50,250000z", "2026-11-01T17:29:50,25+0530"],
        *["2026-11-01 11:59:50.25 Z", "2026-11-01 11:59:50.25 UTC", "2026-11-01 11:59:50.25 +0000"],
        *["20261101T115950.25Z", "20261101T135950,25+02", "2026-11-01T06:59:50.25\u221205:00"],
        *["2026-11-01T11:59:50.250000000000Z", " 2026-11-01T11:59:50.25Z ", "2026-11-02T05:59:50.25+18"],
        *[1793534390250000000, "1793534390250000000", 1793534390250000999, 1.79353439025e18, "1.79353439025e18"],
    ],
)
def test_time_is_understood_as_tools_write_it(value: Any) -> None:
    """Postgres' offset, Python's logging, Ruby, the compact form, ISO's own minus, and nanoseconds."""
    filled = row({"timestamp": value})
    assert (filled["event_time"], filled["time_source"]) == (NOW - timedelta(seconds=9.75), "message")


def test_time_in_nanoseconds_loses_nothing() -> None:
    """A double of such a size is off by up to 128 ns, which may be the microsecond before."""
    times = [1793534390000000000 + us * 1000 for us in range(0, 1_000_000, 997)]
    assert [row({"ts": ns})["event_time"].microsecond for ns in times] == list(range(0, 1_000_000, 997))


@pytest.mark.parametrize(
    "value",
    [
        *["2026-11-01T11:59:50+5", "2026-11-01T11:59:50+19", "2026-11-01T11:59:50+005", "2026-11-01T11:59:50,"],
        *["2026-11-01T11:59,5", "2026-1101", "2026-11-01+00", "2026-11-01T11:59:50  Z", "20261101"],
        *["Sun, 01 Nov 2026 11:59:50 +0000", [2026, 11, 1, 11, 59, 50], "2026-W44-7", "2026-305"],
    ],
)
def test_time_is_not_guessed(value: Any) -> None:
    filled = row({"timestamp": value})
    assert filled["event_time"] == NOW
    assert filled["time_source"] == ("clamped" if value == "20261101" else "kafka"), "a number counts seconds"


@pytest.mark.parametrize(
    ("value", "source"),
    [
        *[
            (value, "kafka")
            for value in (None, "soon", "", True, {}, "2026-02-30", "2026-11-01T25:00", "0000-01-01", float("nan"))
        ],
        *[(value, "clamped") for value in (0, -1, 946684799, 1793534701, 1e300, -1e300, "1999-12-31", "9999-12-31")],
        *[(value, "message") for value in (946684800, 1793534700, "2000-01-01")],
    ],
)
def test_time_is_kafkas_where_the_messages_is_of_no_use(value: Any, source: str) -> None:
    filled = row({"ts": value})
    assert filled["time_source"] == source
    assert (filled["event_time"] == NOW) == (source != "message")


def test_time_is_the_events_before_the_envelopes() -> None:
    assert row({"timestamp": 1793534000, "event": {"ts": 1793534001}})["event_time"].second == 21


@pytest.mark.parametrize("kafka", [datetime(1970, 1, 1, tzinfo=UTC), NOW + timedelta(seconds=301), None])
def test_time_is_the_time_of_reading_where_kafkas_is_absurd_too(kafka: datetime | None) -> None:
    filled = row({}, kafka_timestamp=kafka)
    assert (filled["event_time"], filled["kafka_timestamp"]) == (NOW, kafka)


def test_time_of_kafka_is_none_where_it_says_minus_one() -> None:
    assert (
        row({}, kafka_timestamp=datetime(1970, 1, 1, tzinfo=UTC) - timedelta(milliseconds=1))["kafka_timestamp"] is None
    )


@pytest.mark.parametrize(("key", "expected"), [(None, None), (b"", ""), ("é".encode(), "é"), (b"\xff\xfe", "//4=")])
def test_origin_shows_the_key(key: bytes | None, expected: str | None) -> None:
    assert row({}, key=key)["kafka_key"] == expected


def test_origin_shows_the_headers() -> None:
    headers = [("again", b"1"), ("odd", b"\xff"), ("none", None)]
    shown = json.loads(row({}, headers=headers)["kafka_headers"])
    assert shown == [{"key": "again", "value": "1"}, {"key": "odd", "base64": "/w=="}, {"key": "none"}]
    assert row({})["kafka_headers"] is None


def test_origin_keeps_the_position() -> None:
    filled = row({}, topic_id="id")
    position = [filled[name] for name in ("kafka_topic", "kafka_topic_id", "kafka_partition", "kafka_offset")]
    assert position == ["agent.actions", "id", 1, 7]
