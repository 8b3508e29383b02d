"""Messages as untidy as hypothesis can make them.

JSON is put together as text, because no library writes it so badly.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

INGEST_TIME = datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC)
MAX_DEPTH = 5
MAX_BYTES = 8000

TEXT_FIELDS = (
    "type", "tool", "name", "action", "result", "error", "reasoning", "thought", "learning_trend", "agent_id",
    "session_id", "event_id", "container", "hostname", "action_id", "thought_id", "span_id",
)  # fmt: skip
NUMBER_FIELDS = (
    "reward", "success", "duration_ms", "input_tokens", "output_tokens", "cache_read_tokens", "cost_usd",
    "confidence", "total_events", "success_rate", "avg_reward", "action_count", "thought_count", "n", "memory_bytes",
)  # fmt: skip
OBJECT_FIELDS = ("context", "data", "metrics", "event")
#: Names that are nobody's, or nearly somebody's, or that the parser itself uses.
ODD_FIELDS = (
    "Tool",
    "tool ",
    "",
    "_unreadable",
    "_corrupt_record",
    "a.b",
    "a`b",
    "\ud800",
    "\ud801",
    "é",
    "😀",
    "x" * 70,
)

_TOPICS = ("agent.actions", "agent.thoughts", "agent.learning", "agent.metrics", "agent.tasks", "agent.metrics.x")
_ODD_NUMBERS = (
    "0", "-0", "-0.0", "0.0", "1", "1.0", "1.5", "-1", "1E5", "1e-7", "0.001", "9999999.9", "1e7", "1.0e+22",
    "5e-324", "1e400", "-1e400", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "9.3e18",
    "-9223372036854775809", "18446744073709551616", "1" * 40, "1" * 309, "1" * 310, "1" * 399, "1" * 400, "1" * 4300,
    "1" * 4301, "-" + "1" * 4301, "1" * 6000, "1." + "1" * 999, "0." + "1" * 5000, "-0." + "1" * 1000, "1e308", "1e309",
    "-0e3", "0e999", "1e" + "0" * 998 + "1", "1" * 600 + "." + "1" * 600, "1" * 600 + "e" + "0" * 600,
    "0." + "0" * 400 + "1e500", "1E+" + "0" * 30 + "400", "NaN", "Infinity", "-Infinity", "+Infinity", "+INF", "-INF",
)  # fmt: skip
_NOT_JSON = (
    "INF", "-NaN", "+NaN", "+1", "01", "-01", "1.", ".5", "1e", "1e+", "-", "--1", "-+INF", "+-INF", "+INFx", "NaNx",
    "truex", "True", "nul", "'a'", "0x10", "1_0", "1d", "[1,]", "[,1]", '{"a":1,}', "{a:1}", '{"a" 1}', '"\x01"',
    '"\n"', '"\\x"', '"\\u12"', '"\\u+123"', '"abc', "[", "{", "]", "/*x*/1", "1 #x", "0" + "1" * 5000, "1" * 5000 + ".",
    "\ufeff1", "\xa01", "\x0b1", "1\x0c", '"\\"\\"\\"', "[+INF", "+Inf", "INFINITY", "[-INF,]",
)  # fmt: skip
_NUMBER_TEXTS = (
    "5", " 5 ", "-5.5", "+5", "5.", ".5", "1e3", "1E-3", "1e400", "9223372036854775808", "NaN", "Infinity",
    "-Infinity", "inf", "1d", "1f", "5L", "0x10", "0x1p3", "1_000", "1,5", "٣", "\uff15", "\t5", "5\n", "5\xa0",
    "\u20035", "", " ", ".", "+", "e5", "1e", "1 2", "--5", "5-5", "5/2", "+.e1", "5\x00", "00005", "true", "True",
    " FALSE ", "\ttrue", "yes", "1.0", "0", "1", "fal\u017fe", "null",
)  # fmt: skip
_TIMES = (
    "1763000004.1", "1763000004", "1763000004100", "1763000004100123", '"1763000004.1"', '" 1763000004 "', "1e11",
    "99999999999.9", "1e14", "99999999999999.5", "-1e11", "946684800", "946684799.999999", "9.46684800e8",
    "1793534400", "1793534700", "1793534700.2", "1e18", "2.5e17", "2.4e17", "-1", "0", "1e300", "-1e300",
    "9223372036854775808", "1763000004123456789", "1763000004123456000", "1763000004123456789.0", "1.763e18",
    '"1763000004123456789"', "1793534400000000000", "99999999999999999", "100000000000000000", "9007199254740993",
    "-1763000004123456789", "111111111111111111111111111111", '"0000000000000000000000000000001763000004123456789"', "NaN", "Infinity", "true", "{}", "[1]", "null", '""', '"soon"',
)  # fmt: skip
_ISO_TIMES = (
    "2025-11-13", "2025-11-13T02:13", "2025-11-13 02:13:24", "2025-11-13T02:13:24.1Z",
    "2025-11-13T02:13:24.123456789z", "2025-11-13t02:13", "2025-11-13T02:13:24+05:30", "2025-11-13T02:13:24-0530",
    "2025-11-13T02:13+05", "2025-11-13T02:13:24+18:00", "2025-11-13T02:13:24-1800", "2025-11-13T02:13:24+18:01",
    "2025-11-13T02:13:24+19:00", "2025-11-13T02:13:24+05:60", "2025-11-13T02:13:24-00:00", "2025-02-29", "2024-02-29",
    "2025-02-30T01:00", "2025-13-01", "2025-00-10", "2025-11-00", "2025-11-31", "2025-11-13T24:00",
    "2025-11-13T23:60", "2025-11-13T23:59:60", "2025-11-13T2:13", "2025-11-13T02", "2025-11-13Z", "0000-01-01",
    "0001-01-01", "9999-12-31T23:59:59.999999", "9999-12-31T23:59:59-18:00", "1999-12-31T23:59:59.999999",
    "2000-01-01T00:00:00+00:00", "2000-01-01T00:00:00+00:01", "2026-11-01T12:05:00Z", "2026-11-01T12:05:01Z",
    "2026-11-01T12:05:00.123456Z", " 2025-11-13", "2025-11-13\n", "2025-11-13T02:13:24.Z",
    "2025-11-13T02:13:24.1234567890Z", "20251113", "12025-11-13", "+2025-11-13", "-2025-11-13", "epoch", "now",
    "T02:13", "02:13", "\uff12025-11-13", "2025-11-13T02:13:24 UTC", "2025-11-13T02:13:24 +05:00",
    "2025-11-13 02:13:24.25+00", "2025-11-13T02:13:24-05", "2025-11-13 02:13:24,123", "2025-11-13T02:13:24,123+0000",
    "2025-11-13 02:13:24 Z", "20251113T021324Z", "20251113T021324.5+0530", "2025-1113", "2025-11-13T02:13:24\u221205:00",
    "2025-11-13T02:13:24+18", "2025-11-13T02:13:24+19", "2025-11-13T02:13:24+5", "2025-11-13T02:13:24+005",
    "2025-11-13T02:13:24,", "2025-11-13T02:13,5", "2025-11-13T02:13:24  Z", "2025-11-13+00", "Thu, 13 Nov 2025 02:13:24 +0000",
)  # fmt: skip

_characters = st.characters(codec=None) | st.sampled_from('\ud800\udfff😀\x00\x1b\x7f\u2028"\\/é{}[]<> 5')
# hypothesis wants its bounds without a time zone
_FROM, _TO = datetime(1999, 12, 1), datetime(2027, 1, 1)  # noqa: DTZ001
_any_text = st.text(_characters, max_size=8)
_names = ("agent_action", "action_started", "read_file", "a", "")


def _weighted(*choices: tuple[int, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """One of several, so often each. (one_of would give each alternative of each alternative the same weight.)"""
    return st.sampled_from([choice for weight, choice in choices for _ in range(weight)]).flatmap(lambda chosen: chosen)


def _quoted(text: str) -> st.SearchStrategy[str]:
    """A JSON text, with escapes or without where it can do without."""
    plain = json.dumps(text, ensure_ascii=False)
    return st.sampled_from(
        [json.dumps(text), plain] if plain.encode(errors="replace").decode() == plain else [json.dumps(text)]
    )


_numbers = st.one_of(
    st.sampled_from(_ODD_NUMBERS), st.integers().map(str), st.floats().map(json.dumps), st.integers(-3, 3).map(str)
)
_strings = st.one_of(_any_text, st.sampled_from(_NUMBER_TEXTS), st.sampled_from(_names)).flatmap(_quoted)
_scalars = st.one_of(_strings, _numbers, st.sampled_from(["true", "false", "null"]))
_blanks = st.sampled_from(["", "", "", " ", "\n", "\t\r "])
_anybody = st.sampled_from([*TEXT_FIELDS, *NUMBER_FIELDS, *OBJECT_FIELDS, *ODD_FIELDS, "timestamp", "ts", "alert"])
_times = st.one_of(
    st.sampled_from(_TIMES),
    st.sampled_from(_ISO_TIMES).flatmap(_quoted),
    st.datetimes(timezones=st.just(UTC)).map(lambda t: json.dumps(t.isoformat())),
    st.datetimes(_FROM, _TO, timezones=st.just(UTC)).map(lambda t: repr(t.timestamp())),
)


def _listed(items: list[str]) -> str:
    return f"[{','.join(items)}]"


def _joined(fields: list[tuple[str, str]]) -> st.SearchStrategy[str]:
    return _blanks.map(
        lambda b: "{" + ",".join(f"{b}{json.dumps(name)}{b}:{b}{value}{b}" for name, value in fields) + "}"
    )


def _object(names: st.SearchStrategy[str], values: st.SearchStrategy[str], most: int) -> st.SearchStrategy[str]:
    return st.lists(st.tuples(names, values), max_size=most).flatmap(_joined)


_deep = st.integers(1, MAX_DEPTH + 1).flatmap(
    lambda n: st.sampled_from(
        ["[" * n + "]" * n, '{"a":' * n + "1" + "}" * n, '[{"metrics":' * (n // 2) + "[]" + "}]" * (n // 2)]
    )
)
#: What some producers say where nothing went wrong, and what is near to it.
_ERRORS = (
    "null", "false", "true", "0", "-0", "0.0", "1", '""', '" "', '"\\n"', "{}", "{ }", "[]", "[ ]", '"{}"', '"[ ]"', '"false"',
    '" False"', '"None"', "+INF", '{"a":0}', '[""]', '"0"', '"0.00"', '"x"', '"\\u00a0"',
)  # fmt: skip
_REWARDS = (
    "true", "false", "1", "-0.5", '"true"', '" False"', '"0.5"', "{}", '{"score":1}', '{"score":true,"feedback":"f"}',
    '{"score":" 2 "}', '{"score":null}', '{"score":NaN}', '{"score":+INF}', '{"score":1,"score":0}', '{"score":{"score":1}}',
    '[{"score":1}]', '"{\\"score\\":1}"', "NaN", "1e400",
)  # fmt: skip
_SUCCESSES = (
    "true",
    "false",
    "1",
    "0",
    "1.0",
    "0.0",
    "-0",
    "2",
    "0.5",
    '"True"',
    '"1.0"',
    '" 0 "',
    '"yes"',
    "[]",
    "{}",
    "null",
)
_trees = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3).map(_listed) | _object(_anybody, inner, 3), max_leaves=5
)
_shallow = st.sampled_from(["[]", "{}", "[[]]", '{"a":{}}'])
_values = _weighted((8, _scalars), (3, _trees), (2, _shallow), (1, _deep))
_encoded_twice = (
    _object(_anybody, _scalars, 4)
    .flatmap(lambda text: st.sampled_from([text, " " + text, text + "x", text[:-1], f"[{text}]"]))
    .map(json.dumps)
)


def _field(inner: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, str]]:
    """A field with a value that mostly suits it."""
    return _weighted(
        (4, st.tuples(st.sampled_from(TEXT_FIELDS), _weighted((2, _strings), (1, _values)))),
        (4, st.tuples(st.sampled_from(NUMBER_FIELDS), _weighted((2, _numbers), (1, _values)))),
        (4, st.tuples(st.sampled_from(OBJECT_FIELDS), _weighted((4, inner), (1, _encoded_twice), (1, _values)))),
        (3, st.tuples(st.sampled_from(["timestamp", "ts"]), _times)),
        (1, st.tuples(st.just("error"), st.sampled_from(_ERRORS))),
        (1, st.tuples(st.just("reward"), st.sampled_from(_REWARDS))),
        (1, st.tuples(st.just("success"), st.sampled_from(_SUCCESSES))),
        (1, st.tuples(_anybody, _values)),
    )


_flat = st.lists(_field(_object(_anybody, _values, 4)), max_size=5).flatmap(_joined)
_message = st.lists(_field(_flat), max_size=9).flatmap(_joined)
_before = st.sampled_from([*[""] * 30, " ", "\n\t\r ", "\ufeff", "\x0c", "\xa0"])
_after = st.sampled_from(
    [*[""] * 30, " ", "\r\n", " x", "{", "]", "}", ",", "\x00", "\xa0", ' {"tool":"second"}', "\n{}", " +INF", " NaN"]
)
_surrounded = st.tuples(_before, _message, _after).map("".join)
_broken = st.tuples(st.sampled_from([*TEXT_FIELDS, *OBJECT_FIELDS, "x"]), st.sampled_from(_NOT_JSON)).map(
    lambda f: f'{{"tool":"t",{json.dumps(f[0])}:{f[1]},"reward":1}}'
)
_cut = st.tuples(_message, st.integers(0, 40)).map(lambda m: m[0][: -m[1] or None])
_no_object = st.one_of(_scalars, _trees, st.sampled_from(_NOT_JSON), _blanks, _deep)
_too_large = st.integers(-8, 8).map(lambda n: '{"a":"' + "x" * (MAX_BYTES + n) + '"}')

#: JSON as a library writes it, of any names and values.
_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_any_text | _anybody, inner, max_size=5),
    max_leaves=8,
)
_tidy = st.tuples(_anything, st.booleans()).map(lambda drawn: json.dumps(drawn[0], ensure_ascii=drawn[1]))
_texts = _weighted((24, _surrounded), (4, _tidy), (3, _broken), (1, _cut), (3, _no_object), (1, _too_large))
_utf8 = _texts.map(lambda text: text.encode("utf-8", "surrogatepass"))
_bytes = st.one_of(
    st.binary(max_size=12),
    st.binary(max_size=200),
    st.binary(min_size=1, max_size=3).map(lambda b: b'{"tool":"' + b + b'"}'),
)
values = _weighted((24, _utf8), (2, _bytes), (1, st.none()))

keys = st.one_of(
    st.none(),
    st.sampled_from([b"", b"agent-7", "é".encode(), b"\xff\xfe", b"\xed\xa0\x80", b" "]),
    st.binary(max_size=80),
)
_header = st.tuples(
    st.sampled_from(["agentmon-again", "", 'é"\\']), st.one_of(st.none(), st.just(b"\xff" * 70), st.binary(max_size=6))
)
_kafka_times = st.sampled_from(
    [
        INGEST_TIME.replace(microsecond=0),
        INGEST_TIME.replace(microsecond=123000) + timedelta(seconds=300),
        INGEST_TIME.replace(microsecond=124000) + timedelta(seconds=300),
        INGEST_TIME.replace(microsecond=0) - timedelta(days=400),
        datetime(2000, 1, 1, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC) - timedelta(milliseconds=1),
        datetime(9000, 1, 1, tzinfo=UTC),
    ]
)

#: One message as Kafka's source hands it over, without its offset.
_messages: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "key": keys,
        "value": values,
        "topic": st.sampled_from(_TOPICS),
        "partition": st.integers(0, 2),
        "timestamp": _kafka_times,
        "headers": st.one_of(st.none(), st.lists(_header, max_size=3)),
    }
)


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """One message. Composite for its short repr: hypothesis writes it down when another thread uses `random`."""
    return draw(_messages)
