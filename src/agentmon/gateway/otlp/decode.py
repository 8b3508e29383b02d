"""OTLP requests, protobuf or JSON, gzipped or not, as plain spans and log records."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agentmon.gateway.otlp.mend import Mended, json_request, protobuf_request

#: A request unpacked is at most so long; exporters send a few hundred spans.
MAX_BYTES = 64 * 1024 * 1024
_IDS = ("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id")
#: Python reads no whole number of over 4,300 digits; none of OTLP has over 20.
_LONGEST_INTEGER = 400


class UnreadableError(Exception):
    """Raised when a request's body is not what its headers say; the message is for the sender."""


class TooLargeError(UnreadableError):
    """Raised when a body is larger than is taken."""


@dataclass
class Item:
    """A span or a log record. Times are epoch seconds; `raw` is all of it as OTLP's own JSON.

    failed, fine: the span's status, where it has one.
    """

    name: str
    start: float | None
    end: float | None
    attributes: dict[str, Any]
    resource: dict[str, Any]
    trace_id: str = ""
    span_id: str = ""
    parent_id: str = ""
    failed: bool = False
    fine: bool = False
    message: str = ""
    body: Any = None
    events: list[tuple[str, float | None, dict[str, Any]]] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    #: Names of attributes that a field of the message holds.
    taken: set[str] = field(default_factory=set)

    def take(self, *names: str, read: Callable[[Any], Any] = lambda value: value) -> Any:
        """The first of these attributes that has a value; `read` makes None of what is of no use."""
        for name in names:
            value = self.attributes.get(name)
            if value is None or value == "" or (value := read(value)) is None:
                continue
            self.taken.add(name)
            return value
        return None

    def remainder(self) -> dict[str, Any]:
        """All of it but ids and attributes that were taken, as OTLP's JSON; attributes as name → value."""
        whole = {name: value for name, value in self.raw.items() if name not in ("attributes", "traceId", "spanId")}
        attributes = {name: value for name, value in self.attributes.items() if name not in self.taken}
        return whole | {"attributes": attributes, "resource": self.resource}


@dataclass
class Request:
    """What a request holds, and what was wrong with it."""

    items: list[Item]
    #: Spans and records that can't be read: the reason, and the value as it came.
    refused: list[tuple[str, Any]] = field(default_factory=list)
    #: What was replaced or left out, with the reason; of an item these are its problems too.
    problems: list[str] = field(default_factory=list)


def unpack(body: bytes, encoding: str) -> bytes:
    """The body without its compression, never more than MAX_BYTES of it."""
    if encoding in ("", "identity"):
        data = body
    elif encoding in ("gzip", "deflate"):
        unzip = zlib.decompressobj(wbits=47)  # either of the two, by its header
        try:
            data = unzip.decompress(body, MAX_BYTES + 1)
        except zlib.error as error:
            raise UnreadableError(f"The body is not {encoding}, as its content-encoding says.") from error
        if len(data) <= MAX_BYTES and not unzip.eof:
            raise UnreadableError(f"The body's {encoding} is cut off.")
    else:
        raise UnreadableError(f"Content-encoding {encoding} is not understood: gzip is.")
    if len(data) > MAX_BYTES:
        raise TooLargeError(f"more than {MAX_BYTES} bytes: export in smaller batches")
    return data


def spans(data: bytes, *, as_json: bool) -> Request:
    """The spans of an ExportTraceServiceRequest. Raises UnreadableError."""
    request, mended = _read(ExportTraceServiceRequest, data, as_json)
    items = [
        _span(span, _attributes(group.resource.attributes), _origin(group, scope))
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]
    return _request(items, mended)


def logs(data: bytes, *, as_json: bool) -> Request:
    """The records of an ExportLogsServiceRequest. Raises UnreadableError."""
    request, mended = _read(ExportLogsServiceRequest, data, as_json)
    items = [
        _record(record, _attributes(group.resource.attributes), _origin(group, scope))
        for group in request.resource_logs
        for scope in group.scope_logs
        for record in scope.log_records
    ]
    return _request(items, mended)


def _request(items: list[Item], mended: Mended) -> Request:
    for item, problems in zip(items, mended.items, strict=False):  # none where nothing had to be mended
        item.problems = problems
    return Request(items, mended.refused, mended.others + [one for problems in mended.items for one in problems])


def _read(kind: Callable[[], Any], data: bytes, as_json: bool) -> tuple[Any, Mended]:
    """The request, at first as protobuf's own readers have it, which take all or nothing."""
    return _read_json(kind, data) if as_json else _read_protobuf(kind, data)


def _read_protobuf(kind: Callable[[], Any], data: bytes) -> tuple[Any, Mended]:
    request, mended = kind(), Mended()
    try:
        request.ParseFromString(data)
    except DecodeError:
        request = kind()
        try:
            request.ParseFromString(protobuf_request(data, request.DESCRIPTOR, mended))
        except (DecodeError, ValueError) as error:
            raise UnreadableError(f"The body is no OTLP request in protobuf: it {_reason(error)}.") from error
    return request, mended


def _read_json(kind: Callable[[], Any], data: bytes) -> tuple[Any, Mended]:
    mended = Mended()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("utf-8-sig", "replace")
        mended.others.append("bytes of the body that are no UTF-8 were replaced")
    try:
        tree = json.loads(text, parse_int=_integer)
    except RecursionError as error:
        raise UnreadableError("The body is no OTLP request in JSON: it is nested too deep.") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise UnreadableError(f"The body is no OTLP request: it is not JSON ({place}).") from error
    if not isinstance(tree, dict):
        raise UnreadableError("The body is no OTLP request: it is JSON, but not an object.")
    request = kind()
    for group in request.DESCRIPTOR.fields:
        if not isinstance(tree.get(group.json_name, tree.get(group.name)), (list, type(None))):
            raise UnreadableError(f"The body is no OTLP request: {group.json_name} is not a list.")
    try:
        return ParseDict(_with_bytes(tree), request, ignore_unknown_fields=True), mended
    except Exception:  # noqa: BLE001 - of hostile values protobuf raises OverflowError and SystemError too
        request = kind()  # now value by value
    try:
        good = json_request(tree, request.DESCRIPTOR, mended)
        return ParseDict(good, request, ignore_unknown_fields=True), mended
    except (ParseError, ValueError) as error:
        raise UnreadableError(f"The body is no OTLP request in JSON: it {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else "can't be read"


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) < _LONGEST_INTEGER else digits


def _with_bytes(value: Any) -> Any:
    """OTLP's JSON has ids in hexadecimal, where protobuf's own has bytes in base64. Raises ValueError."""
    if isinstance(value, dict):
        return {k: _base64(v) if k in _IDS and isinstance(v, str) else _with_bytes(v) for k, v in value.items()}
    return [_with_bytes(v) for v in value] if isinstance(value, list) else value


def _base64(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text)).decode()


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
        fine=span.status.code == 1,
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
