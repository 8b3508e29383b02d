"""OTLP requests, protobuf or JSON, gzipped or not, as plain spans and log records."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

#: A request unpacked is at most so long; exporters send a few hundred spans.
MAX_BYTES = 64 * 1024 * 1024
_IDS = ("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id")


class UnreadableError(Exception):
    """Raised when a request's body is not what its headers say; the message is for the sender."""


class TooLargeError(UnreadableError):
    """Raised when a body is larger than is taken."""


@dataclass
class Item:
    """A span or a log record. Times are epoch seconds; `raw` is all of it as OTLP's own JSON."""

    name: str
    start: float | None
    end: float | None
    attributes: dict[str, Any]
    resource: dict[str, Any]
    trace_id: str = ""
    span_id: str = ""
    parent_id: str = ""
    failed: bool = False
    message: str = ""
    body: Any = None
    events: list[tuple[str, float | None, dict[str, Any]]] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)


def unpack(body: bytes, encoding: str) -> bytes:
    """The body without its compression, never more than MAX_BYTES of it."""
    if encoding in ("", "identity"):
        data = body
    elif encoding in ("gzip", "deflate"):
        unzip = zlib.decompressobj(wbits=47)  # either of the two, by its header
        try:
            data = unzip.decompress(body, MAX_BYTES + 1)
        except zlib.error as error:
            raise UnreadableError(f"the body is no {encoding}: {error}") from error
        if len(data) <= MAX_BYTES and not unzip.eof:
            raise UnreadableError(f"the body's {encoding} is cut off")
    else:
        raise UnreadableError(f"content-encoding {encoding} is not understood: gzip is")
    if len(data) > MAX_BYTES:
        raise TooLargeError(f"more than {MAX_BYTES} bytes: export in smaller batches")
    return data


def spans(data: bytes, *, as_json: bool) -> list[Item]:
    """The spans of an ExportTraceServiceRequest. Raises UnreadableError."""
    request = _read(ExportTraceServiceRequest(), data, as_json)
    return [
        _span(span, _attributes(group.resource.attributes), _origin(group, scope))
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def logs(data: bytes, *, as_json: bool) -> list[Item]:
    """The records of an ExportLogsServiceRequest. Raises UnreadableError."""
    request = _read(ExportLogsServiceRequest(), data, as_json)
    return [
        _record(record, _attributes(group.resource.attributes), _origin(group, scope))
        for group in request.resource_logs
        for scope in group.scope_logs
        for record in scope.log_records
    ]


def _read(request: Any, data: bytes, as_json: bool) -> Any:
    try:
        if as_json:
            return ParseDict(_with_bytes(json.loads(data)), request, ignore_unknown_fields=True)
        request.ParseFromString(data)
    except (DecodeError, ParseError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise UnreadableError(f"the body is no {type(request).__name__}: {error}") from error
    return request


def _with_bytes(value: Any) -> Any:
    """OTLP's JSON has ids in hexadecimal, where protobuf's own has bytes in base64."""
    if isinstance(value, dict):
        return {k: _base64(v) if k in _IDS and isinstance(v, str) else _with_bytes(v) for k, v in value.items()}
    return [_with_bytes(v) for v in value] if isinstance(value, list) else value


def _base64(text: str) -> str:
    try:
        return base64.b64encode(bytes.fromhex(text)).decode()
    except (ValueError, binascii.Error):
        return text


def _span(span: Any, resource: dict[str, Any], origin: dict[str, Any]) -> Item:
    return Item(
        name=span.name,
        start=_seconds(span.start_time_unix_nano),
        end=_seconds(span.end_time_unix_nano),
        attributes=_attributes(span.attributes),
        resource=resource,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        failed=span.status.code == 2,
        message=span.status.message,
        events=[(e.name, _seconds(e.time_unix_nano), _attributes(e.attributes)) for e in span.events],
        raw={**_raw(span), **origin},
    )


def _record(record: Any, resource: dict[str, Any], origin: dict[str, Any]) -> Item:
    attributes = _attributes(record.attributes)
    body = _value(record.body)
    name = record.event_name or attributes.get("event.name") or (body if isinstance(body, str) else "")
    moment = _seconds(record.time_unix_nano or record.observed_time_unix_nano)
    return Item(
        name=str(name),
        start=moment,
        end=moment,
        attributes=attributes,
        resource=resource,
        trace_id=record.trace_id.hex(),
        span_id=record.span_id.hex(),
        body=body,
        raw={**_raw(record), **origin},
    )


def _origin(group: Any, scope: Any) -> dict[str, Any]:
    return {"resource": _raw(group.resource), "scope": _raw(scope.scope)}


def _raw(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = MessageToDict(message)
    for name, value in told.items():
        if name in _IDS:
            told[name] = base64.b64decode(value).hex()
    return told


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(v) for v in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _value(pair.value) for pair in value.kvlist_value.values}
    return getattr(value, kind) if kind else None


def _seconds(nanoseconds: int) -> float | None:
    return nanoseconds // 1000 / 1e6 if nanoseconds else None  # as exact as a float can be


def descend(items: list[Item]) -> Iterator[tuple[Item, list[Item]]]:
    """Each item with its ancestors, as far as they came in the same request, the nearest first."""
    by_id = {item.span_id: item for item in items if item.span_id}
    for item in items:
        line: list[Item] = []
        parent = by_id.get(item.parent_id)
        while parent is not None and parent not in line and len(line) < 100:
            line.append(parent)
            parent = by_id.get(parent.parent_id)
        yield item, line
