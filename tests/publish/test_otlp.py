"""OpenTelemetry in: the real SDK's exporters against the real gateway and a real broker."""

from __future__ import annotations

import gzip
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import uvicorn
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode

from agentmon.gateway.app import create_app
from agentmon.gateway.otlp import decode
from agentmon.settings import Settings
from agentmon.stack.addresses import free_port

Published = Callable[..., list[dict[str, Any]]]


def serve(settings: Settings) -> Iterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=port, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    end = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < end
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def gateway(broker: Settings, topics: None) -> Iterator[str]:
    """The gateway on the session's broker."""
    yield from serve(broker)


@pytest.fixture
def gateway_without_kafka(broker: Settings) -> Iterator[str]:
    yield from serve(replace(broker, kafka_bootstrap_servers="localhost:1"))


def tracer(gateway: str, agent: str) -> TracerProvider:
    provider = TracerProvider(resource=Resource.create({"service.name": agent}))
    exporter = OTLPSpanExporter(f"{gateway}/v1/traces", compression=Compression.Gzip)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def post(url: str, data: bytes, kind: str = "application/json", **headers: str) -> tuple[int, str, dict[str, str]]:
    named = {"Content-Type": kind} | {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, named)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), dict(error.headers)


def test_genai_spans_of_the_real_sdk(gateway: str, published: Published) -> None:
    provider = tracer(gateway, "otel-genai")
    spans = provider.get_tracer("test")
    names = {"gen_ai.conversation.id": "conv-1", "gen_ai.agent.name": "otel-genai"}
    with spans.start_as_current_span("invoke_agent", attributes={"gen_ai.operation.name": "invoke_agent", **names}):
        output = [
            {
                "role": "assistant",
                "parts": [{"type": "reasoning", "content": "look it up"}, {"type": "text", "content": "one moment"}],
            }
        ]
        with spans.start_as_current_span("chat gpt") as chat:
            chat.set_attributes(
                {
                    "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 12,
                    "gen_ai.usage.output_tokens": 5, "gen_ai.output.messages": json.dumps(output),
                }
            )  # fmt: skip
            chat.add_event(
                "gen_ai.evaluation.result",
                {"gen_ai.evaluation.name": "helpful", "gen_ai.evaluation.score.value": 0.75},
            )
        with spans.start_as_current_span("execute_tool search") as tool:
            tool.set_attributes(
                {
                    "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search",
                    "gen_ai.tool.call.arguments": '{"q": "x"}', "gen_ai.tool.call.result": "found",
                }
            )  # fmt: skip
        with spans.start_as_current_span("execute_tool broken") as broken:
            broken.set_attributes(
                {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "broken", "error.type": "Timeout"}
            )
            broken.set_status(Status(StatusCode.ERROR, "too slow"))
        with spans.start_as_current_span("GET /somewhere"):
            pass
    provider.shutdown()
    actions = {m["tool"]: m for m in published("agent.actions", "otel-genai", 3)}
    assert (actions["gpt-4o"]["input_tokens"], actions["gpt-4o"]["output_tokens"]) == (12, 5)
    assert (actions["gpt-4o"]["result"], actions["gpt-4o"]["action"]) == ("one moment", "chat")
    assert (actions["search"]["context"]["arguments"], actions["search"]["result"]) == ({"q": "x"}, "found")
    assert (actions["search"]["success"], actions["search"]["duration_ms"] >= 0) == (True, True)
    assert (actions["broken"]["success"], actions["broken"]["error"]) == (False, "Timeout: too slow")
    (thought,) = published("agent.thoughts", "otel-genai")
    assert thought["thought"] == "look it up"
    (learning,) = published("agent.learning", "otel-genai")
    assert (learning["reward"], learning["data"]) == (0.75, {"evaluation": "helpful"})
    (run,) = published("agent.metrics", "otel-genai")
    assert run["metrics"]["run_duration_ms"] >= 0
    (other,) = published("agent.otel", "otel-genai")
    assert (other["type"], other["name"]) == ("otel_span", "GET /somewhere")
    assert {m["session_id"] for m in (*actions.values(), thought, learning, run, other)} == {"conv-1"}


def test_openinference_spans(gateway: str, published: Published) -> None:
    provider = tracer(gateway, "otel-inference")
    spans = provider.get_tracer("test")
    for kind, more in (
        (
            "LLM",
            {"llm.model_name": "m", "llm.token_count.prompt": 3, "llm.token_count.completion": 4, "output.value": "o"},
        ),
        ("TOOL", {"tool.name": "calc", "input.value": '{"a": 1}', "output.value": "2"}),
        ("RETRIEVER", {"input.value": "query"}),
    ):
        with spans.start_as_current_span(kind.lower(), attributes={"openinference.span.kind": kind, **more}):
            pass
    provider.shutdown()
    found = {m["tool"]: m for m in published("agent.actions", "otel-inference", 3)}
    assert (found["m"]["input_tokens"], found["m"]["output_tokens"], found["m"]["result"]) == (3, 4, "o")
    assert (found["calc"]["context"]["arguments"], found["calc"]["result"]) == ({"a": 1}, "2")
    assert found["retriever"]["action"] == "retrieve"


def test_events_of_claude_code_and_codex(gateway: str, published: Published) -> None:
    for service, event, attributes in (
        ("claude-code", "claude_code.tool_result", {"tool_name": "Bash", "success": "true", "duration_ms": "12", "tool_parameters": '{"command": "ls"}'}),
        ("claude-code", "claude_code.tool_result", {"tool_name": "Edit", "success": "false", "error": "no such file"}),
        ("claude-code", "claude_code.api_request", {"model": "opus", "cost_usd": "0.02", "input_tokens": "10", "output_tokens": "20"}),
        ("claude-code", "claude_code.user_prompt", {"prompt": "fix it", "prompt_length": "6"}),
        ("codex", "codex.tool_result", {"tool_name": "shell", "arguments": "{}", "success": "true", "output": "ok"}),
        ("codex", "codex.sse_event", {"event.kind": "response.completed", "model": "gpt", "input_token_count": 7, "output_token_count": 8}),
        ("codex", "codex.something_new", {"a": 1}),
    ):  # fmt: skip
        provider = LoggerProvider(resource=Resource.create({"service.name": service}))
        provider.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(f"{gateway}/v1/logs")))
        provider.get_logger("x").emit(
            timestamp=time.time_ns(), event_name=event, attributes={"session.id": "s-1", **attributes}
        )
        provider.shutdown()
    claude = {m["tool"]: m for m in published("agent.actions", "claude-code", 3)}
    assert (claude["Bash"]["success"], claude["Bash"]["duration_ms"]) == (True, 12)
    assert claude["Bash"]["context"]["arguments"] == {"command": "ls"}
    assert (claude["Edit"]["success"], claude["Edit"]["error"]) == (False, "no such file")
    assert (claude["opus"]["cost_usd"], claude["opus"]["input_tokens"]) == (0.02, 10)
    (prompt,) = published("agent.tasks", "claude-code", 1)
    assert (prompt["prompt"], prompt["session_id"]) == ("fix it", "s-1")
    codex = {m["tool"]: m for m in published("agent.actions", "codex", 2)}
    assert (codex["shell"]["result"], codex["gpt"]["output_tokens"]) == ("ok", 8)
    (other,) = published("agent.otel", "codex", 1)
    assert other["eventName"] == "codex.something_new"


SPAN = {
    "traceId": "0af7651916cd43dd8448eb211c80319c",
    "spanId": "b7ad6b7169203331",
    "name": "execute_tool t",
    "startTimeUnixNano": "1763000000000000000",
    "endTimeUnixNano": "1763000000250000000",
    "attributes": [
        {"key": "gen_ai.operation.name", "value": {"stringValue": "execute_tool"}},
        {"key": "gen_ai.tool.name", "value": {"stringValue": "t"}},
        {"key": "gen_ai.tool.call.result", "value": {"stringValue": "password=hunter2hunter"}},
        {"key": "gen_ai.agent.name", "value": {"stringValue": "otel-json"}},
    ],
}
REQUEST = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}], "unknownField": 1}).encode()


def test_json_gzip_and_a_second_sending(gateway: str, published: Published) -> None:
    assert post(f"{gateway}/v1/traces", gzip.compress(REQUEST), Content_Encoding="gzip")[:2] == (200, "{}")
    assert post(f"{gateway}/v1/traces", REQUEST)[0] == 200
    one, two = published("agent.actions", "otel-json", 2)
    assert one["event_id"] == two["event_id"] == "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"
    assert two["_marked"]
    assert (one["duration_ms"], one["timestamp"], one["result"]) == (250.0, 1763000000.25, "password=[redacted]")


@pytest.mark.parametrize(
    ("data", "kind", "headers", "code"),
    [
        (b"no json", "application/json", {}, 400),
        (b'{"resourceSpans": 5}', "application/json", {}, 400),
        (b"[" * 100_000, "application/json", {}, 400),
        (b"\xff\xff\xff", "application/x-protobuf", {}, 400),
        (b"not gzip", "application/json", {"Content_Encoding": "gzip"}, 400),
        (gzip.compress(REQUEST)[:-12], "application/json", {"Content_Encoding": "gzip"}, 400),
        (REQUEST, "application/json", {"Content_Encoding": "br"}, 400),
        (REQUEST, "text/plain", {}, 415),
    ],
)
def test_what_can_not_be_read_is_said(gateway: str, data: bytes, kind: str, headers: dict[str, str], code: int) -> None:
    status, text, _ = post(f"{gateway}/v1/traces", data, kind, **headers)
    assert status == code
    assert len(text.strip().splitlines()[0]) > 10


def test_bomb_is_refused_before_it_unfolds(gateway: str) -> None:
    bomb = gzip.compress(b" " * (decode.MAX_BYTES + 1))
    assert post(f"{gateway}/v1/logs", bomb, Content_Encoding="gzip")[0] == 413


def test_without_kafka_503_with_retry_after(gateway_without_kafka: str) -> None:
    status, text, headers = post(f"{gateway_without_kafka}/v1/traces", REQUEST)
    assert (status, headers["retry-after"]) == (503, "5")
    assert "Kafka at localhost:1" in text
    assert urllib.request.urlopen(f"{gateway_without_kafka}/healthz").status == 200
    assert post(f"{gateway_without_kafka}/v1/logs", b"{}")[0] == 503
