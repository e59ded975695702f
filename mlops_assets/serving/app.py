"""The HTTP face of a scorer: an ASGI application. Knows nothing of processes and sockets."""

import asyncio
import contextlib
import logging
import time
from typing import Any

from mlops_assets.serving.refusals import RequestError
from mlops_assets.serving.routes import Routes
from mlops_assets.serving.service import Service, encode
from mlops_assets.serving.web import Answer, Call, Headers, Receive, Send, request_ids

log = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0


class Application:
    """Answers for `service`: as ASGI 3, or at once where a request is there as a whole."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._routes = routes = Routes(service)
        self._ids = request_ids()
        quick = routes.scoring if service.fast else ()
        self.at_once_paths = frozenset(path.encode() for path in quick)
        """Of the requests that `at_once` may answer: without a query."""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        service = self._service
        if scope["type"] == "lifespan":
            await _live(service, receive, send)
            return
        started = time.perf_counter()
        call = Call.of(scope, receive, self._ids)
        label = "other"
        try:
            route = self._routes.find(call)
            label = route.label
            route.check(call, service.keys)
            answer = await route.handler(call)
        except Exception as error:  # noqa: BLE001 whatever happens, the caller gets an answer
            answer = _refused(service, call, error)
        await answer.headed(call, close=service.draining).send(send)
        service.metrics.answered(answer.status, label, time.perf_counter() - started)

    def at_once(self, path: bytes, headers: Headers, body: bytes) -> Answer | None:
        """The answer to a POST without suspending; None where that would hold up others."""
        started = time.perf_counter()
        service = self._service
        asked = path.decode()
        route = self._routes.scoring[asked]
        call = Call("POST", asked, b"", headers, self._ids)
        try:
            route.check(call, service.keys)
            content = service.at_once(call, body, route.asked(call))
            if content is None:
                return None
            answer = Answer(content)
        except Exception as error:  # noqa: BLE001 as above
            answer = _refused(service, call, error)
        service.metrics.answered(answer.status, route.label, time.perf_counter() - started)
        return answer.headed(call, close=service.draining)


def _refused(service: Service, call: Call, error: Exception) -> Answer:
    if not isinstance(error, RequestError):
        log.error("request %s failed", call.request_id, exc_info=error)
        error = RequestError(500, "internal", "the endpoint failed; see its log")
    service.metrics.refused(error.reason)
    headers = error.headers
    if error.status == 503:
        headers = (*headers, (b"retry-after", b"1"))
    content = {
        "error": error.reason,
        "message": error.message,
        **service.identity,
        "request_id": call.request_id,
    }
    return Answer(encode(content), error.status, headers=headers)


async def _live(service: Service, receive: Receive, send: Send) -> None:
    """From the server's start to its end: keep the metrics fresh for other processes to read."""

    async def refresh() -> None:
        while True:
            service.metrics.refresh(service.in_flight)
            await asyncio.sleep(REFRESH_SECONDS)

    await receive()
    refreshing = asyncio.create_task(refresh())
    await send({"type": "lifespan.startup.complete"})
    await receive()
    refreshing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await refreshing
    service.close()
    await send({"type": "lifespan.shutdown.complete"})
