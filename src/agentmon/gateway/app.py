"""The gateway's app: OTLP in, and whether it is alive and ready."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.concurrency import run_in_threadpool

from agentmon import __version__
from agentmon.errors import KafkaUnreachable
from agentmon.gateway.otlp import decode, translate
from agentmon.gateway.otlp.translate import Outgoing
from agentmon.publish.direct import Direct
from agentmon.settings import Settings

_PROTOBUF = "application/x-protobuf"
_JSON = "application/json"
#: What an exporter is asked to wait while Kafka is away.
_RETRY_S = 5
#: Of each kind of problem, as many are in the answer.
_SHOWN_PROBLEMS = 5


def create_app(settings: Settings) -> FastAPI:
    """The app of one home. Starts without Kafka."""
    direct = Direct(settings)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(direct.close)

    app = FastAPI(title="agentmon", version=__version__, lifespan=life)
    app.state.direct = direct

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process is alive."""
        return {"status": "ok"}

    @app.get("/readyz")
    def readyz(response: Response) -> dict[str, str]:
        """Kafka answers, so that OTLP is taken."""
        if direct.is_ready():
            return {"status": "ok"}
        response.status_code = 503
        return {"status": f"Kafka at {settings.bootstrap} does not answer"}

    @app.post("/v1/traces")
    async def traces(request: Request) -> Response:
        """OTLP/HTTP spans, protobuf or JSON. 200 once Kafka has them all, 503 while it can't."""
        return await _export(
            request,
            direct,
            decode.spans,
            translate.from_spans,
            ExportTraceServiceResponse,
        )

    @app.post("/v1/logs")
    async def logs(request: Request) -> Response:
        """OTLP/HTTP log records, protobuf or JSON, with the same answers."""
        return await _export(
            request,
            direct,
            decode.logs,
            translate.from_logs,
            ExportLogsServiceResponse,
        )

    return app


async def _export(
    request: Request,
    direct: Direct,
    read: Callable[..., decode.Request],
    translated: Callable[[decode.Request], list[Outgoing]],
    answer: Callable[[], Any],
) -> Response:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (_PROTOBUF, _JSON):
        return _refusal(415, f"content-type {kind or 'none'} is not taken: {_PROTOBUF} and {_JSON} are")
    encoding = request.headers.get("content-encoding", "").strip().lower()
    try:
        body = await _body(request)
        export = await run_in_threadpool(lambda: read(decode.unpack(body, encoding), as_json=kind == _JSON))
        messages = await run_in_threadpool(translated, export)
        too_large = await run_in_threadpool(direct.send, messages)
    except decode.TooLargeError as error:
        return _refusal(413, str(error))
    except decode.UnreadableError as error:
        return _refusal(400, str(error))
    except KafkaUnreachable as error:
        return _refusal(503, str(error), {"Retry-After": str(_RETRY_S)})
    return _success(partial(answer(), export, too_large), kind)


def partial(answer: Any, export: decode.Request, too_large: int) -> Any:
    """The response with partial_success filled in: how many spans or records are not stored as such, and why."""
    rejected = len(export.refused) + too_large
    sentences = [
        f"{too_large} messages are too large for Kafka and were dropped." if too_large else "",
        *(f"Not readable: {reason}." for reason, _ in export.refused[:_SHOWN_PROBLEMS]),
        *(f"Stored without a bad value: {problem}." for problem in export.problems[:_SHOWN_PROBLEMS]),
    ]
    more = sum(max(0, len(all_of) - _SHOWN_PROBLEMS) for all_of in (export.refused, export.problems))
    if more:
        sentences.append(f"And {more} more.")
    if any(sentences):
        told = answer.partial_success
        told.error_message = " ".join(filter(None, sentences))
        setattr(told, told.DESCRIPTOR.fields_by_number[1].name, rejected)  # rejected_spans, rejected_log_records
    return answer


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > decode.MAX_BYTES:
            raise decode.TooLargeError(f"more than {decode.MAX_BYTES} bytes: export in smaller batches")
        parts.append(part)
    return b"".join(parts)


def _success(answer: Message, kind: str) -> Response:
    if kind == _PROTOBUF:
        return Response(answer.SerializeToString(), media_type=_PROTOBUF)
    from google.protobuf.json_format import MessageToJson

    return Response(MessageToJson(answer), media_type=_JSON)


def _refusal(code: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    # OTLP asks for a google.rpc.Status; exporters look at the code, people at the text.
    return Response(reason + "\n", status_code=code, media_type="text/plain", headers=headers)
