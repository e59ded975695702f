"""The HTTP face of a scorer: an ASGI application. Knows nothing of processes and sockets."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_assets.serving.requests import RequestError, parse_csv, parse_json
from mlops_assets.serving.scorer import Columns, Scorer, Scores, ScoringError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from mlops_assets.serving.metrics import Metrics
    from mlops_assets.serving.profiler import Profiler

log = logging.getLogger(__name__)

PROBE_HEADER = "x-mlops-probe"
"""A request that bears it is answered like any other, but is no traffic: the golden questions of a
probe must not be taken for what callers ask."""
REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
DATATYPES = {"numeric": "FP64", "boolean": "BOOL", "categorical": "BYTES"}


@dataclass(frozen=True)
class Limits:
    """What a caller may ask for at once."""

    max_rows: int = 10_000
    max_body_bytes: int = 10_000_000
    max_in_flight: int = 64
    threads: int = 2
    """Requests scored at the same time; the others wait their turn."""


class Service:
    """Scores requests in threads, counts them, and hands their rows to the profiler."""

    def __init__(
        self,
        scorer: Scorer,
        *,
        version: str,
        limits: Limits,
        metrics: "Metrics",
        profiler: "Profiler | None" = None,
        keys: frozenset[str] = frozenset(),
    ) -> None:
        self.scorer = scorer
        self.version = version
        self.limits = limits
        self.metrics = metrics
        self.profiler = profiler
        self.keys = keys
        self.ready = False
        self.draining = False
        """The process is about to end: every answer asks the caller to connect anew."""
        self._waiting = 0
        self._threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="score")

    @property
    def identity(self) -> dict[str, str]:
        return {"model": self.scorer.manifest.model, "version": self.version}

    def close(self) -> None:
        self._threads.shutdown()

    async def invoke(self, request: "Request") -> dict[str, Any]:
        """The answer to a scoring request.

        Raises:
            RequestError: the request is refused, with the status and the reason.
        """
        if self.keys and request.headers.get("authorization", "")[7:] not in self.keys:
            raise RequestError(401, "unauthorized", "a key is needed: Authorization: Bearer KEY")
        if not self.ready:
            raise RequestError(503, "not_ready", "the model is not loaded yet; try again")
        if self._waiting >= self.limits.max_in_flight:
            raise RequestError(503, "overload", "too many requests in flight; try again")
        self._waiting += 1
        self.metrics.in_flight.set(self._waiting)
        try:
            body = await self._body(request)
            media = request.headers.get("content-type", "application/json").split(";")[0].strip()
            probe = PROBE_HEADER in request.headers
            work = asyncio.get_running_loop().run_in_executor(
                self._threads, self._answer, body, media.lower(), probe
            )
            return await work
        finally:
            self._waiting -= 1
            self.metrics.in_flight.set(self._waiting)

    async def _body(self, request: "Request") -> bytes:
        from starlette.requests import ClientDisconnect

        limit = self.limits.max_body_bytes
        too_large = RequestError(
            413, "body_too_large", f"the body is over {limit} bytes; send fewer rows at once"
        )
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            raise too_large
        parts, size = [], 0
        try:
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise too_large
                parts.append(part)
        except ClientDisconnect as error:
            raise RequestError(400, "disconnected", "the caller went away") from error
        return b"".join(parts)

    def _answer(self, body: bytes, media: str, probe: bool) -> dict[str, Any]:
        manifest = self.scorer.manifest
        if media in ("application/json", ""):
            columns = parse_json(body, manifest.schema, max_rows=self.limits.max_rows)
        elif media == "text/csv":
            columns = parse_csv(body, manifest.schema, max_rows=self.limits.max_rows)
        else:
            raise RequestError(
                415, "bad_media_type", f"{media!r} is not known; send application/json or text/csv"
            )
        try:
            scores = self.scorer.score(columns)
        except ScoringError as error:
            raise RequestError(400, "not_scorable", str(error)) from error
        if not probe:
            self._record(columns, scores)
        answer: dict[str, Any] = {"predictions": scores.predictions}
        if manifest.task != "regression":
            answer |= {"probabilities": scores.probabilities, "classes": list(manifest.classes)}
        return answer

    def _record(self, columns: Columns, scores: Scores) -> None:
        self.metrics.observe(columns, scores)
        if self.profiler is not None:
            self.profiler.submit(columns, scores, datetime.now(UTC))


def build(service: Service) -> "Starlette":
    """The application that answers for `service`."""
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    async def invocations(request: "Request") -> Response:
        return JSONResponse(_named(request, await service.invoke(request)))

    async def ready(_: "Request") -> Response:
        return JSONResponse({"ready": service.ready}, 200 if service.ready else 503)

    async def live(_: "Request") -> Response:
        return JSONResponse({"live": True})

    async def model(request: "Request") -> Response:
        name = request.path_params["name"]
        if name != service.scorer.manifest.model:
            raise RequestError(404, "not_found", f"model {name!r} is not served here")
        if request.url.path.endswith("/ready"):
            return await ready(request)
        return JSONResponse(metadata(service))

    async def metrics(_: "Request") -> Response:
        text, media = service.metrics.render()
        return Response(text, headers={"content-type": media})

    def _named(request: "Request", content: dict[str, Any]) -> dict[str, Any]:
        return content | service.identity | {"request_id": request.state.request_id}

    async def refused(request: "Request", error: Exception) -> Response:
        if isinstance(error, RequestError):
            status, reason, message = error.status, error.reason, error.message
        elif isinstance(error, HTTPException):
            status, message = (
                error.status_code,
                f"{request.method} {request.url.path}: {error.detail}",
            )
            reason = {404: "not_found", 405: "method_not_allowed"}.get(status, "http")
        else:
            log.error("request %s failed", request.state.request_id, exc_info=error)
            status, reason, message = 500, "internal", "the endpoint failed; see its log"
        service.metrics.errors.labels(reason).inc()
        headers = dict(getattr(error, "headers", None) or {})
        if status == 503:
            headers["retry-after"] = "1"
        if status == 413:
            # The rest of the body is not read, so this connection cannot carry another request.
            headers["connection"] = "close"
        content = _named(request, {"error": reason, "message": message})
        return JSONResponse(content, status, headers=headers)

    @asynccontextmanager
    async def lifespan(_: "Starlette") -> AsyncIterator[None]:
        yield
        service.close()

    app = Starlette(
        routes=[
            Route("/invocations", invocations, methods=["POST"]),
            Route("/ping", ready),
            Route("/v2/health/live", live),
            Route("/v2/health/ready", ready),
            Route("/v2/models/{name}", model),
            Route("/v2/models/{name}/ready", model),
            Route("/metrics", metrics),
        ],
        exception_handlers={RequestError: refused, HTTPException: refused},
        lifespan=lifespan,
    )
    app.add_middleware(_middleware(service, refused))
    return app


def metadata(service: Service) -> dict[str, Any]:
    """The model's description in the words of the Open Inference Protocol."""
    manifest = service.scorer.manifest
    outputs = [{"name": "predictions", "datatype": "FP64", "shape": [-1]}]
    if manifest.task != "regression":
        outputs = [
            {"name": "predictions", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP64", "shape": [-1, len(manifest.classes)]},
        ]
    return {
        "name": manifest.model,
        "versions": [service.version],
        "version": service.version,
        "platform": f"mlops_assets_{manifest.runtime}",
        "task": manifest.task,
        "classes": list(manifest.classes),
        "threshold": manifest.threshold,
        "bundle_digest": service.scorer.digest,
        "inputs": [
            {"name": column.name, "datatype": DATATYPES[column.type], "shape": [-1]}
            for column in manifest.schema.columns
        ],
        "outputs": outputs,
    }


def _middleware(
    service: Service, refused: Callable[["Request", Exception], Awaitable["Response"]]
) -> Any:
    """Names every request, times it, and turns what no handler caught into an answer."""
    from starlette.datastructures import MutableHeaders
    from starlette.requests import Request

    known = {"/invocations", "/ping", "/v2/health/live", "/v2/health/ready", "/metrics"}

    class Named:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await self.app(scope, receive, send)
                return
            started = time.perf_counter()
            request = Request(scope, receive)
            asked = request.headers.get("x-request-id", "")
            name = asked if REQUEST_ID.fullmatch(asked) else uuid.uuid4().hex
            request.state.request_id = name
            answered = False

            async def named_send(message: Any) -> None:
                nonlocal answered
                if message["type"] == "http.response.start":
                    answered = True
                    headers = MutableHeaders(scope=message)
                    headers["x-request-id"] = name
                    if service.draining:
                        headers["connection"] = "close"
                    service.metrics.requests.labels(str(message["status"])).inc()
                await send(message)

            try:
                await self.app(scope, receive, named_send)
            except Exception as error:
                if answered:
                    raise
                await (await refused(request, error))(scope, receive, named_send)
            path = scope["path"] if scope["path"] in known else "other"
            service.metrics.seconds.labels(path).observe(time.perf_counter() - started)

    return Named
