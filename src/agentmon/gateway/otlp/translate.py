"""What spans and log records mean: actions, thoughts, metrics and learning; the rest goes to agent.otel as it is.

Names: OpenTelemetry's GenAI conventions (gen_ai.*), OpenInference (openinference.span.kind), and the log events of
Claude Code (claude_code.*) and Codex (codex.*).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from agentmon.contracts.topics import ACTIONS, LEARNING, METRICS, THOUGHTS
from agentmon.contracts.values import number, truth, whole
from agentmon.gateway.otlp.decode import Item, Request, descend
from agentmon.publish.usage import count, with_cached

#: Where spans and records go that nobody here knows.
OTEL = "agent.otel"
TASKS = "agent.tasks"

_MODEL_CALLS = ("chat", "text_completion", "generate_content")
_RUNS = ("invoke_agent", "create_agent", "invoke_workflow")
_INFERENCE = {"TOOL": "call", "RETRIEVER": "retrieve", "EMBEDDING": "embed", "RERANKER": "rerank"}
_LABELS = {"pass": 1.0, "passed": 1.0, "true": 1.0, "fail": 0.0, "failed": 0.0, "false": 0.0}
#: A year: what is said to take longer began on a clock that was not set.
_LONGEST_MS = 366 * 86_400_000.0
#: Where a tool's output may be.
_RESULTS = ("gen_ai.tool.call.result", "output.value")
#: gen_ai.tool.status, as frameworks write it.
_ILL = ("error", "failed", "failure")
_WELL = ("success", "ok", "completed")
#: Codex: kinds of events of a stream that failed.
_STREAM_FAILURES = ("response.failed", "response.error", "error")


class Outgoing(NamedTuple):
    """A message and its topic."""

    topic: str
    message: dict[str, Any]


def from_spans(request: Request) -> list[Outgoing]:
    """Messages of spans, in their order, then those of spans that can't be read."""
    return [one for item, ancestors in descend(request.items) for one in _told(item, ancestors, _of_span(item))] + [
        _refused(*pair) for pair in request.refused
    ]


def from_logs(request: Request) -> list[Outgoing]:
    """Messages of log records, in their order, then those of records that can't be read."""
    return [one for item in request.items for one in _told(item, [], _of_record(item))] + [
        _refused(*pair) for pair in request.refused
    ]


def _refused(reason: str, value: Any) -> Outgoing:
    identity = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
    message = {"type": "otel_refused", "agent_id": "unknown", "reason": reason, "value": value}
    return Outgoing(OTEL, message | {"event_id": f"{identity}-0"})


def _told(item: Item, ancestors: list[Item], messages: Iterable[Outgoing]) -> Iterator[Outgoing]:
    """With who, when and which: a span always gives the same event_ids, however often it is exported."""
    family = [item, *ancestors]
    identity = f"{item.trace_id}-{item.span_id}" if item.span_id and item.raw.get("name") else _digest(item)
    made = list(messages) or [_as_it_came(item)]
    is_whole = any(topic == OTEL for topic, _ in made)
    for place, (topic, message) in enumerate(made):
        told = {
            "timestamp": item.end or item.start,
            "agent_id": _agent(family),
            "session_id": _session(family),
            "trace_id": item.trace_id or None,
            **message,
            "event_id": f"{identity}-{place}",
            "problems": item.problems or None,
        }
        if place == 0 and not is_whole:
            told["context"] = {**told.get("context", {}), "otlp": item.remainder()}
        yield Outgoing(topic, {name: value for name, value in told.items() if value is not None})


def _as_it_came(item: Item) -> Outgoing:
    return Outgoing(OTEL, {"type": "otel_span" if item.raw.get("name") else "otel_log", **item.raw})


def _of_span(item: Item) -> Iterator[Outgoing]:
    get = item.attributes.get
    operation, kind = get("gen_ai.operation.name"), str(get("openinference.span.kind") or "").upper()
    is_known = True
    if operation == "execute_tool" or kind in _INFERENCE:
        yield Outgoing(ACTIONS, _tool_call(item, _INFERENCE.get(kind, "call")))
    elif operation in _MODEL_CALLS or operation == "embeddings" or kind == "LLM":
        yield Outgoing(ACTIONS, _model_call(item, str(operation or "chat")))
        yield from _reasoning(item)
    elif operation in _RUNS or kind == "AGENT":
        yield Outgoing(METRICS, {"type": "agent_run", "metrics": _run(item), "name": item.name})
    else:
        is_known = False
    known_events = [found for event in item.events if (found := _evaluation(*event)) is not None]
    yield from known_events
    if not is_known:
        yield Outgoing(OTEL, {"type": "otel_span", **item.raw})


def _of_record(item: Item) -> Iterator[Outgoing]:
    evaluation = _evaluation(item.name, item.start, item.attributes)
    product, _, event = item.name.rpartition(".")
    if not product and str(item.resource.get("service.name", "")).startswith("claude-code"):
        product = "claude_code"
    translate = _PRODUCTS.get((product, event))
    found = translate(item) if translate else None
    if evaluation is not None:
        yield evaluation
    elif found is not None:
        yield found
    elif item.name == "gen_ai.client.inference.operation.details":
        yield from _reasoning(item)
        yield Outgoing(OTEL, {"type": "otel_log", **item.raw})  # the call itself is a span
    else:
        yield Outgoing(OTEL, {"type": "otel_log", **item.raw})


def _tool_call(item: Item, action: str) -> dict[str, Any]:
    take = item.take
    error = _error(item)
    return {
        "type": "agent_action",
        "tool": _first(take("gen_ai.tool.name", "tool.name"), item.name),
        "action": action,
        "success": error is None,
        "error": error,
        "result": take(*_RESULTS),
        "duration_ms": _duration(item),
        "context": _some(
            arguments=take("gen_ai.tool.call.arguments", "tool.parameters", "input.value", read=_opened),
            call_id=take("gen_ai.tool.call.id"),
            tool_type=take("gen_ai.tool.type"),
        ),
        "span_id": item.span_id,
    }


def _model_call(item: Item, action: str) -> dict[str, Any]:
    take = item.take
    error = _error(item)
    return {
        "type": "agent_action",
        "tool": _first(take("gen_ai.response.model", "gen_ai.request.model", "llm.model_name"), item.name),
        "action": action,
        "success": error is None,
        "error": error,
        "duration_ms": _duration(item),
        **_tokens(item),
        "cost_usd": take("llm.cost.total", read=number),
        "result": _first(_spoken(item), take("output.value")),
        "context": _some(
            provider=take("gen_ai.provider.name", "gen_ai.system", "llm.provider"),
        ),
        "span_id": item.span_id,
    }


def _tokens(item: Item) -> dict[str, int | None]:
    take = item.take
    read = take(
        "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens",
        "llm.token_count.prompt_details.cache_read", read=count,
    )  # fmt: skip
    written = take(
        "gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens",
        "llm.token_count.prompt_details.cache_write", read=count,
    )  # fmt: skip
    total = take("gen_ai.usage.input_tokens", "llm.token_count.prompt", read=count)
    return {
        "input_tokens": with_cached(total, read, written),
        "output_tokens": take("gen_ai.usage.output_tokens", "llm.token_count.completion", read=count),
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "reasoning_tokens": take(
            "gen_ai.usage.reasoning.output_tokens", "llm.token_count.completion_details.reasoning", read=count
        ),
    }


def _product_tokens(item: Item, is_codex: bool) -> dict[str, int | None]:
    """Claude Code's input tokens are those that no cache had; Codex's are all of them."""
    take = item.take
    read = take("cache_read_tokens", "cached_token_count", read=count)
    written = take("cache_creation_tokens", read=count)
    total = take("input_tokens", "input_token_count", read=count)
    if not is_codex and not (total is None and read is None and written is None):
        total = (total or 0) + (read or 0) + (written or 0)
    return {
        "input_tokens": total,
        "output_tokens": take("output_tokens", "output_token_count", read=count),
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "reasoning_tokens": take("reasoning_token_count", read=count),
    }


def _run(item: Item) -> dict[str, Any]:
    return _some(
        run_duration_ms=_duration(item),
        run_input_tokens=item.take("gen_ai.usage.input_tokens", read=count),
        run_output_tokens=item.take("gen_ai.usage.output_tokens", read=count),
        run_failed=1.0 if _error(item) else 0.0,
    )


def _parts(item: Item) -> Iterator[dict[str, Any]]:
    """Parts of the model's messages: on the span, in its events, or in a record's body."""
    places = [item.attributes, *(attributes for _, _, attributes in item.events)]
    if isinstance(item.body, dict):
        places.append(item.body)
    for place in places:
        messages = _opened(place.get("gen_ai.output.messages"))
        for message in messages if isinstance(messages, list) else []:
            parts = message.get("parts") if isinstance(message, dict) else None
            yield from (part for part in parts if isinstance(part, dict)) if isinstance(parts, list) else ()


def _reasoning(item: Item) -> Iterator[Outgoing]:
    for part in _parts(item):
        if part.get("type") == "reasoning" and part.get("content"):
            yield Outgoing(THOUGHTS, {"type": "agent_thought", "thought": part["content"], "span_id": item.span_id})


def _spoken(item: Item) -> str | None:
    texts = [str(part["content"]) for part in _parts(item) if part.get("type") == "text" and part.get("content")]
    return "\n".join(texts) or None


def _evaluation(name: str, moment: float | None, attributes: dict[str, Any]) -> Outgoing | None:
    """gen_ai.evaluation.result: a score is a reward; a label that says so is 1 or 0."""
    if name != "gen_ai.evaluation.result":
        return None
    label = attributes.get("gen_ai.evaluation.score.label")
    score = number(attributes.get("gen_ai.evaluation.score.value"))
    reward = score if score is not None else _LABELS.get(str(label).lower())
    data = {
        "evaluation": attributes.get("gen_ai.evaluation.name"),
        "label": label,
        "explanation": attributes.get("gen_ai.evaluation.explanation"),
        "response_id": attributes.get("gen_ai.response.id"),
    }
    told = {"type": "evaluation", "reward": reward, "data": _some(**data)}
    return Outgoing(LEARNING, told | ({"timestamp": moment} if moment else {}))


def _product_tool(item: Item) -> Outgoing:
    take = item.take
    success = take("success", read=truth)
    error = None if success is True else take("error", "error.message", "error_type")
    result = take("output", "tool_result")
    if success is False and error is None:
        error = _first(result, "failed")
    told = {
        "type": "agent_action",
        "tool": take("tool_name") or "unknown",
        "action": "call",
        "success": success,
        "error": error,
        "duration_ms": take("duration_ms", read=_milliseconds),
        "result": result,
        "context": _some(
            arguments=take("tool_parameters", "tool_input", "arguments", read=_opened),
            call_id=take("tool_use_id", "call_id"),
            prompt_id=take("prompt.id"),
        ),
    }
    return Outgoing(ACTIONS, told)


def _product_model(item: Item) -> Outgoing | None:
    get, take = item.attributes.get, item.take
    error = _first(take("error", "error.message"), _http_failure(item))
    if error is None and item.name.endswith("api_error"):
        error = "api_error"
    elif error is None and get("event.kind") in _STREAM_FAILURES:
        error = get("event.kind")
    is_codex = item.name.startswith("codex.")
    if is_codex and item.name.endswith("sse_event") and error is None and get("input_token_count") is None:
        return None  # one of the many events of a stream
    if is_codex and item.name.endswith("api_request") and error is None:
        return None  # its end, with the tokens, comes as sse_event
    told = {
        "type": "agent_action",
        "tool": take("model") or "model",
        "action": "chat",
        "success": error is None,
        "error": error,
        "duration_ms": take("duration_ms", read=_milliseconds),
        **_product_tokens(item, is_codex),
        "cost_usd": take("cost_usd", read=number),
        "context": _some(
            status_code=take("status_code", "http.response.status_code"),
            attempt=take("attempt"),
            prompt_id=take("prompt.id"),
        ),
    }
    return Outgoing(ACTIONS, told)


def _product_prompt(item: Item) -> Outgoing:
    length = item.take("prompt_length", read=whole)
    return Outgoing(TASKS, {"type": "user_prompt", "prompt": item.take("prompt"), "length": length})


def _product_answer(item: Item) -> Outgoing | None:
    text = item.take("response", "text")
    return Outgoing(THOUGHTS, {"type": "agent_thought", "thought": text}) if text else None


_PRODUCTS: dict[tuple[str, str], Callable[[Item], Outgoing | None]] = {
    ("claude_code", "tool_result"): _product_tool,
    ("claude_code", "api_request"): _product_model,
    ("claude_code", "api_error"): _product_model,
    ("claude_code", "user_prompt"): _product_prompt,
    ("claude_code", "assistant_response"): _product_answer,
    ("codex", "tool_result"): _product_tool,
    ("codex", "sse_event"): _product_model,
    ("codex", "api_request"): _product_model,
    ("codex", "user_prompt"): _product_prompt,
}


def _agent(family: list[Item]) -> str:
    for item in family:
        for name in ("gen_ai.agent.name", "gen_ai.agent.id", "agent.name", "agent_id"):
            if item.attributes.get(name):
                return str(item.attributes[name])
    resource = family[0].resource
    service = resource.get("gen_ai.agent.name") or resource.get("service.name") or ""
    return "unknown" if str(service).startswith("unknown_service") or not service else str(service)


def _session(family: list[Item]) -> str | None:
    for name in ("gen_ai.conversation.id", "session.id", "conversation.id"):
        for item in family:
            if item.attributes.get(name):
                return str(item.attributes[name])
    told = family[0].resource.get("session.id")
    return str(told) if told else family[0].trace_id or None


def _error(item: Item) -> str | None:
    """Why it failed, the best text there is; None where nothing says that it did.

    A tool's own word counts more than the span's status, since frameworks catch what a tool raises. Where the status
    is OK, an exception among the events was handled.
    """
    kind, status = item.attributes.get("error.type"), str(item.attributes.get("gen_ai.tool.status", "")).lower()
    exceptions = [
        attributes
        for name, _, attributes in item.events
        if name == "exception" and truth(attributes.get("exception.escaped")) is not False
    ]
    output = _opened(_first(*(item.attributes.get(name) for name in _RESULTS)))
    is_refused = isinstance(output, dict) and truth(output.get("isError")) is True  # MCP
    code = _http_failure(item)
    is_well = item.fine or status in _WELL
    if not (kind or item.failed or status in _ILL or is_refused or (not is_well and (exceptions or code))):
        return None
    last = exceptions[-1] if exceptions else {}
    text = _first(
        last.get("exception.message"),
        item.message,
        *(item.attributes.get(name) for name in ("error.message", "exception.message")),
        _texts(output) if is_refused or status in _ILL else None,
        *(attributes.get("message") for name, _, attributes in item.events if name == "gen_ai.choice"),
        code if kind is None else None,
    )
    kind = _first(last.get("exception.type"), kind)
    return ": ".join(str(part) for part in (kind, text) if part is not None) or "error"


def _texts(output: Any) -> str | None:
    """What a tool's output says: the texts of an MCP result, else all of it."""
    parts = output.get("content") if isinstance(output, dict) else None
    texts = (
        [str(part["text"]) for part in parts if isinstance(part, dict) and part.get("text")]
        if isinstance(parts, list)
        else []
    )
    if texts or output is None:
        return "\n".join(texts) or None
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)


def _http_failure(item: Item) -> str | None:
    """HTTP's status as a text, where it is one of failure."""
    names = ("http.response.status_code", "http.status_code", "status_code")
    code = next((code for name in names if (code := whole(item.attributes.get(name))) is not None), 0)
    return f"HTTP {code}" if 400 <= code < 600 else None


def _duration(item: Item) -> float | None:
    """Milliseconds; None where a clock was not set, or set back, meanwhile."""
    if item.start is None or item.end is None:
        return None
    return _milliseconds((item.end - item.start) * 1000)


def _milliseconds(value: Any) -> float | None:
    """A duration that can be; neither a negative one nor one that counts from 1970."""
    duration = number(value)
    return round(duration, 3) if duration is not None and 0 <= duration <= _LONGEST_MS else None


def _digest(item: Item) -> str:
    return hashlib.sha256(json.dumps(item.raw, sort_keys=True).encode()).hexdigest()[:32]


def _opened(value: Any) -> Any:
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None and value != ""), None)


def _some(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
