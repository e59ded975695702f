"""The HTTP face of a scorer: an ASGI application. Knows nothing of processes and sockets."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from mlops_assets.serving.refusals import RequestError
from mlops_assets.serving.routes import Routes
from mlops_assets.serving.service import Service, encode
from mlops_assets.serving.web import Answer, Call, Receive, Send, request_ids

log = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0

Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


def build(service: Service) -> Application:
    """The application that answers for `service`."""
    routes = Routes(service)
    metrics = service.metrics
    ids = request_ids()

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(service, receive, send)
            return
        started = time.perf_counter()
        call = Call(scope, receive, ids)
        label = "other"
        try:
            route = routes.find(call)
            label = route.label
            route.check(call, service.keys)
            answer = await route.handler(call)
        except Exception as error:  # noqa: BLE001 whatever happens, the caller gets an answer
            answer = _refused(service, call, error)
        await answer.send(send, call, close=service.draining)
        metrics.answered(answer.status, label, time.perf_counter() - started)

    return application


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
