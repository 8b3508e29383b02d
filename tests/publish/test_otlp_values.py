"""OpenTelemetry in, without Kafka: what requests hold, and what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from agentmon.gateway.app import partial
from agentmon.gateway.otlp import decode, translate
from agentmon.publish.usage import tokens

TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t"}


def value(of: Any) -> dict[str, Any]:
    kinds = {str: "stringValue", bool: "boolValue", int: "intValue", float: "doubleValue"}
    return {kinds[type(of)]: of}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value(of)} for key, of in attributes.items()]


def span(attributes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    begin = 1796119200000000000
    times = {"startTimeUnixNano": str(begin), "endTimeUnixNano": str(begin + 1_000_000_000)}
    return {"traceId": "0a" * 16, "spanId": "0b" * 8, "name": "s", **times, "attributes": pairs(attributes), **fields}


def traces(*spans: Any) -> dict[str, Any]:
    resource = {"attributes": pairs({"service.name": "agent"})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}


def record(name: str, attributes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"timeUnixNano": "1796119200000000000", "eventName": name, "attributes": pairs(attributes), **fields}


def messages_of_spans(*spans: Any) -> list[dict[str, Any]]:
    request = decode.spans(json.dumps(traces(*spans)).encode(), as_json=True)
    return [message for _, message in translate.from_spans(request)]


def outgoing_of_logs(*records: Any, service: str = "agent") -> list[translate.Outgoing]:
    resource = {"attributes": pairs({"service.name": service})}
    request = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": list(records)}]}]}
    return translate.from_logs(decode.logs(json.dumps(request).encode(), as_json=True))


BAD_IN_JSON: dict[str, Any] = {
    "half a surrogate pair": {"attributes": pairs({**TOOL, "gen_ai.tool.call.result": "party \ud83e"})},
    "in a name": {"name": "\udc00"},
    "in a key": {"attributes": pairs({**TOOL, "\ud83e": "x"})},
    "id": {"spanId": "zz"},
    "id of base64's letters": {"traceId": "CgoKCgoKCgoKCgoKCgoKCg=="},
    "id that is a number": {"spanId": 5},
    "link": {"links": [{"traceId": "no"}, 7, {"traceId": "0c" * 16, "spanId": "0d" * 8}]},
    "links that are no list": {"links": "none"},
    "int that is a text": {"attributes": [*pairs(TOOL), {"key": "n", "value": {"intValue": "many"}}]},
    "int beyond 64 bits": {"attributes": [*pairs(TOOL), {"key": "n", "value": {"intValue": str(2**63)}}]},
    "int with a fraction": {"droppedAttributesCount": 1.5},
    "two values": {"attributes": [*pairs(TOOL), {"key": "n", "value": {"intValue": "1", "stringValue": "a"}}]},
    "bool that is a text": {"attributes": [*pairs(TOOL), {"key": "n", "value": {"boolValue": "yes"}}]},
    "attribute that is no object": {"attributes": [*pairs(TOOL), 5]},
    "status that is a list": {"status": {"code": [2]}},
    "name that is a number": {"name": 5},
    "event": {"events": [{"timeUnixNano": "yesterday", "name": "e"}]},
}


@pytest.mark.parametrize("bad", BAD_IN_JSON.values(), ids=BAD_IN_JSON)
def test_bad_value_in_json_refuses_no_neighbour(bad: dict[str, Any]) -> None:
    good = span({**TOOL, "gen_ai.tool.call.result": "ok"})
    request = decode.spans(json.dumps(traces(good, span(TOOL) | bad, good)).encode(), as_json=True)
    first, mended, last = (message for _, message in translate.from_spans(request))
    assert first == last
    assert (first["result"], mended["tool"], len(mended["problems"]) >= 1, "problems" in first) == (
        "ok",
        "t",
        True,
        False,
    )
    answer = partial(ExportTraceServiceResponse(), request, 0).partial_success
    assert (answer.rejected_spans, answer.error_message.startswith("Stored without a bad value: ")) == (0, True)


def test_half_a_surrogate_pair_is_replaced() -> None:
    (action,) = messages_of_spans(span({**TOOL, "gen_ai.tool.call.result": "party \ud83e"}))
    assert action["result"] == "party \ufffd"
    assert action["problems"] == ["stringValue: half a character (surrogate) was replaced"]


def test_span_that_is_none_is_set_aside_and_rejected() -> None:
    request = decode.spans(json.dumps(traces(span(TOOL), 5, None, ["a"], span(TOOL))).encode(), as_json=True)
    topics = [topic for topic, _ in translate.from_spans(request)]
    assert topics == ["agent.actions", "agent.actions", "agent.otel", "agent.otel", "agent.otel"]
    refused = translate.from_spans(request)[2].message
    assert (refused["type"], refused["reason"], refused["value"]) == ("otel_refused", "spans is no object", 5)
    answer = partial(ExportTraceServiceResponse(), request, 0).partial_success
    assert (answer.rejected_spans, "Not readable: spans is no object." in answer.error_message) == (3, True)


@pytest.mark.parametrize("digits", [400, 5_000])
def test_number_of_many_digits(digits: int) -> None:
    body = json.dumps(traces(span(TOOL), span(TOOL))).replace('"name": "s"', f'"kind": {"9" * digits}', 1)
    assert [m["tool"] for _, m in translate.from_spans(decode.spans(body.encode(), as_json=True))] == ["t", "t"]


def test_value_nested_too_deep_for_protobuf() -> None:
    deep: dict[str, Any] = {"stringValue": "x"}
    for _ in range(150):
        deep = {"arrayValue": {"values": [deep]}}
    spans = span(TOOL), {**span(TOOL), "attributes": [*pairs(TOOL), {"key": "deep", "value": deep}]}
    assert [m["tool"] for m in messages_of_spans(*spans)] == ["t", "t"]


def test_json_that_is_no_utf8() -> None:
    body = json.dumps(traces(span({**TOOL, "gen_ai.tool.call.result": "AB"}))).encode().replace(b"AB", b"A\xc3")
    request = decode.spans(body, as_json=True)
    assert translate.from_spans(request)[0].message["result"] == "A\ufffd"
    assert request.problems == ["bytes of the body that are no UTF-8 were replaced"]


def protobuf(*spans: Any) -> bytes:
    return bytes(ParseDict(decode._with_bytes(traces(*spans)), ExportTraceServiceRequest()).SerializeToString())


@pytest.mark.parametrize("bad", [b"A\xc3", b"\xff\xfe", b"\xed\xa0"])
@pytest.mark.parametrize("place", ["value", "key", "name"])
def test_half_a_character_in_protobuf_refuses_no_neighbour(bad: bytes, place: str) -> None:
    more = {"gen_ai.tool.call.result": "QQ"} if place == "value" else {"QQ": "x"} if place == "key" else {}
    other = span({**TOOL, **more}, **({"name": "QQ"} if place == "name" else {}))
    body = protobuf(span(TOOL), other, span(TOOL)).replace(b"QQ", bad)
    request = decode.spans(body, as_json=False)
    first, mended, last = (message for _, message in translate.from_spans(request))
    assert (first["tool"], mended["tool"], last["tool"]) == ("t", "t", "t")
    assert ("problems" in first, len(mended["problems"]), "problems" in last) == (False, 1, False)


def test_protobuf_span_that_breaks_off_is_set_aside() -> None:
    good = ParseDict(decode._with_bytes(traces(span(TOOL))), ExportTraceServiceRequest())
    scope = good.resource_spans[0].scope_spans[0]
    half = scope.spans[0].SerializeToString()[:-3]
    spans = scope.SerializeToString() + b"\x12" + bytes([len(half) & 0x7F | 0x80, len(half) >> 7]) + half
    group = b"\x12" + bytes([len(spans) & 0x7F | 0x80, len(spans) >> 7]) + spans
    body = b"\x0a" + bytes([len(group) & 0x7F | 0x80, len(group) >> 7]) + group
    request = decode.spans(body, as_json=False)
    assert [topic for topic, _ in translate.from_spans(request)] == ["agent.actions", "agent.otel"]
    assert request.refused[0][0] == "spans breaks off"


@pytest.mark.parametrize("data", [b"no json", b"[]", b'{"resourceSpans": 5}', b"[" * 100_000, b'"a"', b"", b"{} {}"])
def test_json_that_can_not_be_read_is_one_plain_sentence(data: bytes) -> None:
    with pytest.raises(decode.UnreadableError) as refusal:
        decode.spans(data, as_json=True)
    text = str(refusal.value)
    assert text.startswith("The body is no OTLP request")
    assert (text.count("\n"), text[-1], "Error" in text) == (0, ".", False)


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x0a\x05a", b"\x0b", b"\x00\x00"])
def test_protobuf_that_can_not_be_read_is_one_plain_sentence(data: bytes) -> None:
    with pytest.raises(decode.UnreadableError, match=r"^The body is no OTLP request in protobuf: it [a-z ]+\.$"):
        decode.logs(data, as_json=False)


CARRIED: dict[str, Any] = {
    "parent_agent_id": "a", "query_source": "repl", "gen_ai.input.messages": "[]", "x.n": 5, "x.f": 0.5, "x.b": False,
    "gen_ai.request.temperature": 0.25, "": "no name",
}  # fmt: skip


@pytest.mark.parametrize(
    "known",
    [
        TOOL,
        {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"},
        {"gen_ai.operation.name": "embeddings"},
        {"gen_ai.operation.name": "invoke_agent"},
        {"openinference.span.kind": "RERANKER"},
        {"openinference.span.kind": "LLM"},
        {"openinference.span.kind": "AGENT"},
    ],
)
def test_mapped_span_keeps_what_has_no_column(known: dict[str, Any]) -> None:
    event = {"name": "gen_ai.choice", "timeUnixNano": "1796119201000000000", "attributes": pairs({"message": "Error"})}
    more = {"parentSpanId": "0e" * 8, "events": [event], "links": [{"traceId": "0c" * 16, "spanId": "0d" * 8}]}
    first, *_ = messages_of_spans(span({**known, **CARRIED}, **more))
    rest = first["context"]["otlp"]
    assert rest["attributes"].items() >= CARRIED.items()
    assert (rest["name"], rest["parentSpanId"], rest["resource"]) == ("s", "0e" * 8, {"service.name": "agent"})
    assert (rest["events"][0]["name"], len(rest["links"])) == ("gen_ai.choice", 1)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("claude_code.api_request", {"model": "m"}),
        ("claude_code.api_error", {"model": "m", "error": "e"}),
        ("claude_code.tool_result", {"tool_name": "Bash", "success": "true"}),
        ("claude_code.user_prompt", {"prompt": "p"}),
        ("claude_code.assistant_response", {"response": "r"}),
        ("codex.tool_result", {"tool_name": "shell"}),
        ("codex.sse_event", {"input_token_count": "1"}),
        ("codex.user_prompt", {"prompt": "p"}),
        ("gen_ai.evaluation.result", {"gen_ai.evaluation.score.value": 1.0}),
    ],
)
def test_mapped_record_keeps_what_has_no_column(name: str, known: dict[str, Any]) -> None:
    ((topic, message),) = outgoing_of_logs(record(name, {**known, **CARRIED}, severityText="INFO"))
    assert topic != "agent.otel"
    assert message["context"]["otlp"]["attributes"].items() >= CARRIED.items()
    assert message["context"]["otlp"]["severityText"] == "INFO"


def test_what_a_column_could_not_take_is_carried() -> None:
    odd = {"gen_ai.usage.input_tokens": "many", "gen_ai.response.model": "a", "gen_ai.request.model": "b"}
    (call,) = messages_of_spans(span({"gen_ai.operation.name": "chat", **odd}))
    assert "input_tokens" not in call
    kept = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": "many", "gen_ai.request.model": "b"}
    assert (call["tool"], call["context"]["otlp"]["attributes"]) == ("a", kept)


@pytest.mark.parametrize(
    "record",
    [
        record("gen_ai.client.inference.operation.details", {"gen_ai.output.messages": "forty-two"}),
        record("gen_ai.client.inference.operation.details", {"gen_ai.output.messages": '[{"parts": 5}, 1]'}),
        record("claude_code.assistant_response", {}),
        record("codex.sse_event", {"event.kind": "response.created"}),
        record("codex.api_request", {}),
        record("", {}),
        {},
    ],
)
def test_no_record_vanishes(record: dict[str, Any]) -> None:
    ((topic, message),) = outgoing_of_logs(record)
    assert (topic, message["type"], message["agent_id"]) == ("agent.otel", "otel_log", "agent")


def test_answer_in_an_event_is_kept() -> None:
    said = json.dumps(
        [{"role": "assistant", "parts": [{"type": "reasoning", "content": "r"}, {"type": "text", "content": "t"}]}]
    )
    thought, event = outgoing_of_logs(
        record("gen_ai.client.inference.operation.details", {"gen_ai.output.messages": said})
    )
    assert (thought.topic, thought.message["thought"], event.topic) == ("agent.thoughts", "r", "agent.otel")
    assert event.message["attributes"][0]["value"]["stringValue"] == said


def exception(kind: str = "ValueError", message: str = "bad", **more: Any) -> dict[str, Any]:
    told = {"exception.type": kind, "exception.message": message, **more}
    return {"name": "exception", "timeUnixNano": "1796119200500000000", "attributes": pairs(told)}


OK, FAILED = {"status": {"code": 1}}, {"status": {"code": 2}}
CHOICE = {"name": "gen_ai.choice", "attributes": pairs({"message": "card declined"})}
MCP = json.dumps({"content": [{"type": "text", "text": "no funds"}], "isError": True})


@pytest.mark.parametrize(
    ("attributes", "fields", "error"),
    [
        ({}, {}, None),
        ({}, OK, None),
        ({}, FAILED, "error"),
        ({}, {"status": {"code": 2, "message": "too slow"}}, "too slow"),
        ({"error.type": "Timeout"}, {}, "Timeout"),
        ({"error.type": "Timeout", "error.message": "5 s"}, {}, "Timeout: 5 s"),
        ({"error.type": "Timeout"}, OK, "Timeout"),
        ({"gen_ai.tool.status": "error"}, OK, "error"),
        ({"gen_ai.tool.status": "ERROR"}, {**OK, "events": [CHOICE]}, "card declined"),
        ({"gen_ai.tool.status": "failed", "gen_ai.tool.call.result": "declined"}, OK, "declined"),
        ({"gen_ai.tool.status": "success"}, OK, None),
        ({"gen_ai.tool.status": "success"}, {"events": [exception()]}, None),
        ({"gen_ai.tool.call.result": MCP}, {}, "no funds"),
        ({"gen_ai.tool.call.result": MCP.replace("true", "false")}, {}, None),
        ({"gen_ai.tool.call.result": '{"isError": true, "content": 5}'}, {}, '{"isError": true, "content": 5}'),
        ({}, {"events": [exception()]}, "ValueError: bad"),
        ({}, {**OK, "events": [exception()]}, None),
        ({}, {**FAILED, "events": [exception(), exception("KeyError", "last")]}, "KeyError: last"),
        ({}, {"events": [exception(**{"exception.escaped": "False"})]}, None),
        ({}, {**FAILED, "events": [{"name": "exception"}]}, "error"),
        ({"http.response.status_code": 429}, {}, "HTTP 429"),
        ({"http.response.status_code": "503"}, {}, "HTTP 503"),
        ({"http.response.status_code": 404}, OK, None),
        ({"http.response.status_code": 200}, {}, None),
        ({"gen_ai.tool.status": 5, "http.response.status_code": "none"}, {}, None),
    ],
)
@pytest.mark.parametrize("known", [TOOL, {"gen_ai.operation.name": "chat"}])
def test_failure_of_a_span(known: Any, attributes: dict[str, Any], fields: dict[str, Any], error: str | None) -> None:
    (action,) = messages_of_spans(span({**known, **attributes}, **fields))
    assert (action["success"], action.get("error")) == (error is None, error)


@pytest.mark.parametrize(
    ("name", "attributes", "success", "error"),
    [
        ("codex.tool_result", {"success": "false", "output": "No such file"}, False, "No such file"),
        ("codex.tool_result", {"success": False, "output": ""}, False, "failed"),
        ("codex.tool_result", {"success": "true", "output": "fine", "error": "old"}, True, None),
        ("codex.tool_result", {"output": "fine"}, None, None),
        ("claude_code.tool_result", {"success": "false", "error": "gone", "output": "o"}, False, "gone"),
        ("codex.sse_event", {"event.kind": "response.failed", "error.message": "too long"}, False, "too long"),
        ("codex.sse_event", {"error.message": "idle timeout"}, False, "idle timeout"),
        ("codex.sse_event", {"event.kind": "response.failed"}, False, "response.failed"),
        ("codex.sse_event", {"event.kind": "response.completed", "input_token_count": "5"}, True, None),
        ("codex.api_request", {"http.response.status_code": 429}, False, "HTTP 429"),
        ("codex.api_request", {"error.message": "refused"}, False, "refused"),
        ("claude_code.api_error", {}, False, "api_error"),
        ("claude_code.api_error", {"status_code": "529"}, False, "HTTP 529"),
        ("claude_code.api_error", {"status_code": "529", "error": "Overloaded"}, False, "Overloaded"),
        ("claude_code.api_request", {"status_code": "200"}, True, None),
    ],
)
def test_failure_of_a_record(name: str, attributes: dict[str, Any], success: bool | None, error: str | None) -> None:
    ((topic, action),) = outgoing_of_logs(record(name, attributes))
    assert (topic, action.get("success"), action.get("error")) == ("agent.actions", success, error)


def figures(message: dict[str, Any]) -> tuple[int | None, ...]:
    names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
    return tuple(message.get(name) for name in names)


@pytest.mark.parametrize(
    ("name", "attributes", "expected"),
    [
        (
            "claude_code.api_request",
            {"input_tokens": "4", "cache_read_tokens": "40", "cache_creation_tokens": "18200", "output_tokens": "310"},
            (18244, 310, 40, 18200, None),
        ),
        ("claude_code.api_request", {"input_tokens": "10", "output_tokens": "20"}, (10, 20, None, None, None)),
        ("claude_code.api_request", {"cache_read_tokens": 7}, (7, None, 7, None, None)),
        ("claude_code.api_request", {"input_tokens": "-5", "output_tokens": "NaN"}, (None, None, None, None, None)),
        (
            "codex.sse_event",
            {
                "input_token_count": "12000", "output_token_count": "300", "cached_token_count": 9000,
                "reasoning_token_count": 120,
            },
            (12000, 300, 9000, None, 120),
        ),
        ("codex.sse_event", {"input_token_count": "1", "cached_token_count": "x"}, (1, None, None, None, None)),
    ],
)  # fmt: skip
def test_tokens_of_a_record(name: str, attributes: dict[str, Any], expected: tuple[int | None, ...]) -> None:
    ((_, action),) = outgoing_of_logs(record(name, attributes))
    assert figures(action) == expected


GENAI = "gen_ai.usage"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({f"{GENAI}.input_tokens": 100, f"{GENAI}.cache_read.input_tokens": 60}, (100, None, 60, None, None)),
        (
            {f"{GENAI}.input_tokens": 16, f"{GENAI}.cache_read.input_tokens": 90, f"{GENAI}.cache_creation.input_tokens": 4},
            (110, None, 90, 4, None),
        ),
        ({f"{GENAI}.output_tokens": 9, f"{GENAI}.reasoning.output_tokens": 5}, (None, 9, None, None, 5)),
        (
            {"llm.token_count.prompt": 5, "llm.token_count.prompt_details.cache_read": 2,
             "llm.token_count.completion_details.reasoning": 1},
            (5, None, 2, None, 1),
        ),
        ({f"{GENAI}.input_tokens": -1, f"{GENAI}.output_tokens": 2**63 - 1}, (None, None, None, None, None)),
        ({f"{GENAI}.cache_read.input_tokens": 60}, (None, None, 60, None, None)),
    ],
)  # fmt: skip
def test_tokens_of_a_span(attributes: dict[str, Any], expected: tuple[int | None, ...]) -> None:
    (call,) = messages_of_spans(span({"gen_ai.operation.name": "chat", **attributes}))
    assert figures(call) == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 11, "output_tokens": 2, "input_token_details": {"cache_read": 5, "cache_creation": 3},
          "output_token_details": {"reasoning": 1}}, (11, 2, 5, 3, 1)),
        ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4},
          "completion_tokens_details": {"reasoning_tokens": 2}}, (9, 2, 4, None, 2)),
        ({"input_tokens": 16, "cache_read_input_tokens": 37040, "cache_creation_input_tokens": 19050}, (56106, None, 37040, 19050, None)),
        ({"prompt_tokens": None, "prompt_tokens_details": None, "completion_tokens": "many"}, (None,) * 5),
        ({"prompt_tokens": -1, "prompt_tokens_details": [1]}, (None,) * 5),
        (None, (None,) * 5),
        (5, (None,) * 5),
    ],
)  # fmt: skip
def test_tokens_of_a_usage(usage: Any, expected: tuple[int | None, ...]) -> None:
    assert figures(tokens(usage)) == expected


NOW = 1796119200000000000


@pytest.mark.parametrize(
    ("start", "end", "duration"),
    [
        (NOW, NOW + 3_000_000_000, 3000.0),
        (NOW, NOW, 0.0),
        (NOW + 4_000_000_000, NOW, None),
        (NOW, 0, None),
        (0, NOW, None),
        (1, NOW, None),
        (NOW, 2**64 - 1, None),
        (2**64 - 1, 1, None),
        (NOW, NOW + 30 * 86_400 * 10**9, 30 * 86_400_000.0),
    ],
)
def test_duration_of_a_span(start: int, end: int, duration: float | None) -> None:
    times = {"startTimeUnixNano": str(start), "endTimeUnixNano": str(end)}
    (action,) = messages_of_spans(span(TOOL, **times))
    assert action.get("duration_ms") == duration
    assert {name: action["context"]["otlp"].get(name, "0") for name in times} == times
    (run,) = messages_of_spans(span({"gen_ai.operation.name": "invoke_agent"}, **times))
    assert run["metrics"].get("run_duration_ms") == duration


@pytest.mark.parametrize(
    ("sent", "duration"),
    [("12", 12.0), (0, 0.0), (-1, None), ("-0.5", None), (1796119200000, None), ("NaN", None), (float("inf"), None)],
)
@pytest.mark.parametrize("name", ["claude_code.api_request", "claude_code.tool_result", "codex.tool_result"])
def test_duration_of_a_record(name: str, sent: Any, duration: float | None) -> None:
    ((_, action),) = outgoing_of_logs(record(name, {"duration_ms": sent}))
    assert action.get("duration_ms") == duration
    kept = action["context"]["otlp"]["attributes"].get("duration_ms")
    assert (kept is None) == (duration is not None)


ODD: list[Any] = [
    None, True, 5, -1, 2**70, 1.5, float("nan"), float("-inf"), "", "zz", "\ud800", "1e3", "0b0b", [], [None], [[]], {}, {"key": 5},
    {"value": {}}, {"stringValue": "\udfff"}, {"kvlistValue": [1]}, {"arrayValue": {"values": "no"}},
]  # fmt: skip


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every place of a value in a tree: its container, and its key there."""
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, value in entries for place in ((tree, key), *places(value))]


def test_any_odd_value_at_any_place_leaves_the_other_spans() -> None:
    event, link = {"name": "exception", "attributes": pairs({"exception.type": "E"})}, {"traceId": "0c" * 16}
    odd_span = span({**TOOL, "n": 1, "f": 0.5, "b": True}, events=[event], links=[link], status={"code": 2})
    for place in range(len(places(odd_span))):
        for odd in ODD:
            copy = json.loads(json.dumps(odd_span))
            holder, key = places(copy)[place]
            holder[key] = odd
            made = messages_of_spans(span({**TOOL, "first": 1}), copy, span({**TOOL, "last": 1}))
            assert (made[0]["tool"], made[-1]["tool"], len(made)) == ("t", "t", 3), (holder, key, odd)
            json.dumps(made)


@pytest.mark.parametrize("depth", [20, 40, 43, 44, 45, 46, 47, 48, 49, 50, 60, 200])
def test_deep_value_at_every_limit(depth: int) -> None:
    deep: dict[str, Any] = {"stringValue": "x"}
    for _ in range(depth):
        deep = {"kvlistValue": {"values": [{"key": "k", "value": deep}]}}
    odd = {**span(TOOL), "attributes": [*pairs(TOOL), {"key": "deep", "value": deep}]}
    assert [message["tool"] for message in messages_of_spans(span(TOOL), odd)] == ["t", "t"]


def test_any_cut_or_changed_byte_of_protobuf_ends_in_messages_or_one_sentence() -> None:
    body = protobuf(span(TOOL), span({**TOOL, "gen_ai.tool.call.result": "grün"}), span(TOOL))
    for at in range(len(body)):
        for changed in (body[:at], body[:at] + b"\xff" + body[at + 1 :], body[:at] + b"\x00" + body[at + 1 :]):
            try:
                topics = {topic for topic, _ in translate.from_spans(decode.spans(changed, as_json=False))}
            except decode.UnreadableError:
                continue
            assert topics <= {"agent.actions", "agent.otel"}
