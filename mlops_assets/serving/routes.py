"""What is answered under which path."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mlops_assets.serving import page, protocol
from mlops_assets.serving.openapi import document
from mlops_assets.serving.refusals import RequestError, shown
from mlops_assets.serving.scorer import Scores
from mlops_assets.serving.service import Question, Read, Service, encode
from mlops_assets.serving.web import Answer, Call

Handler = Callable[[Call], Awaitable[Answer]]
LINES = frozenset({"application/jsonlines", "application/x-ndjson", "application/jsonl"})


@dataclass(frozen=True, slots=True)
class Route:
    """One path, or several of one meaning."""

    label: str
    """Its name in metrics."""
    method: str
    handler: Handler
    open: bool = False
    """Answered without a key."""

    def check(self, call: Call, keys: frozenset[bytes]) -> None:
        """Raise RequestError when the method is another, or a key is needed."""
        if call.method != self.method and (call.method, self.method) != ("HEAD", "GET"):
            allowed = "GET, HEAD" if self.method == "GET" else self.method
            raise RequestError(
                405,
                "method_not_allowed",
                f"{call.method} {shown(call.path)}: allowed: {allowed}",
                headers=((b"allow", allowed.encode()),),
            )
        if keys and not self.open:
            call.check_key(keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring(Route):
    """A path that scores."""

    asked: Callable[[Call], Read]
    """How a call's body is to be read."""


class Routes:
    """The routes of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._manifest = manifest = service.scorer.manifest
        self._classes = list(manifest.classes)
        self._document: bytes | None = None
        model = f"/v2/models/{manifest.model}"
        self._routes: dict[str, Route] = {
            "/invocations": self._scoring("/invocations", self._invocations),
            "/ping": Route("/ping", "GET", self._ready, open=True),
            "/v2": Route("/v2", "GET", self._server),
            "/v2/health/live": Route("/v2/health/live", "GET", self._live, open=True),
            "/v2/health/ready": Route("/v2/health/ready", "GET", self._ready, open=True),
            "/metrics": Route("/metrics", "GET", self._metrics, open=True),
            "/openapi.json": Route("/openapi.json", "GET", self._openapi),
            "/docs": Route("/docs", "GET", self._docs, open=True),
        }
        for prefix in (model, f"{model}/versions/{service.version}"):
            name = "/v2/models/{name}"
            self._routes |= {
                prefix: Route(name, "GET", self._model),
                f"{prefix}/ready": Route(f"{name}/ready", "GET", self._ready, open=True),
                f"{prefix}/infer": self._scoring(f"{name}/infer", self._infer),
            }
        self.scoring = {
            path: route for path, route in self._routes.items() if isinstance(route, Scoring)
        }
        """The routes that score, by their paths."""

    def find(self, call: Call) -> Route:
        """The route of a call.

        Raises:
            RequestError: 404.
        """
        route = self._routes.get(call.path)
        if route is None:
            raise RequestError(404, "not_found", self._missing(call))
        return route

    def _missing(self, call: Call) -> str:
        parts = call.path.split("/")[1:]
        if parts[:2] == ["v2", "models"] and len(parts) > 2:
            if parts[2] != self._manifest.model:
                return f"model {shown(parts[2])} is not served here"
            if parts[3:4] == ["versions"] and parts[4:5] != [self._service.version]:
                return f"version {shown(''.join(parts[4:5]))} is not served here"
        return f"{call.method} {shown(call.path)}: nothing is served here; see /docs"

    def _scoring(self, label: str, asked: Callable[[Call], Read]) -> Scoring:
        async def handler(call: Call) -> Answer:
            return Answer(await self._service.answer(call, asked(call)))

        return Scoring(label, "POST", handler, asked=asked)

    def _invocations(self, call: Call) -> Read:
        read = self._reading(call)
        explain = call.flag("explain")

        def question(body: bytes) -> Question:
            return Question(read(body), explain, present)

        def present(scores: Scores) -> dict[str, Any]:
            content: dict[str, Any] = {"predictions": scores.predictions}
            if self._classes:
                content["probabilities"] = scores.probabilities
                content["classes"] = self._classes
            return content | self._service.identity | {"request_id": call.request_id}

        return question

    def _reading(self, call: Call) -> Callable[[bytes], Any]:
        media, parameters = call.media()
        reader = self._service.reader
        if media == "application/json":
            return reader.json
        if media == "text/csv":
            header = {"present": True, "absent": False}.get(parameters.get("header", ""))
            return lambda body: reader.csv(body, header=header)
        if media in LINES:
            return reader.lines
        raise _unknown_media(media, "application/json, text/csv or application/jsonlines")

    def _infer(self, call: Call) -> Read:
        media, _ = call.media()
        if media != "application/json":
            raise _unknown_media(media, "application/json")
        service = self._service

        def question(body: bytes) -> Question:
            asked = protocol.read(body, self._manifest, service.reader)
            call.adopt(asked.id)

            def present(scores: Scores) -> dict[str, Any]:
                answer = asked.answer(self._manifest, service.version, scores)
                return {"id": call.request_id} | answer

            return Question(asked.rows, asked.explain, present)

        return question

    async def _ready(self, call: Call) -> Answer:
        ready = self._service.ready
        return self._named(call, {"ready": ready}, 200 if ready else 503)

    async def _live(self, call: Call) -> Answer:
        return self._named(call, {"live": True})

    async def _server(self, call: Call) -> Answer:
        content = {"name": "mlops_assets", "extensions": []}
        return self._named(call, content)

    async def _model(self, call: Call) -> Answer:
        service = self._service
        content = protocol.metadata(self._manifest, service.version, service.scorer.digest)
        return self._named(call, content)

    async def _metrics(self, _: Call) -> Answer:
        service = self._service
        service.metrics.refresh(service.in_flight)
        text, media = await asyncio.to_thread(service.metrics.render)
        return Answer(text, media=media.encode())

    async def _openapi(self, _: Call) -> Answer:
        if self._document is None:
            self._document = encode(document(self._service))
        return Answer(self._document)

    async def _docs(self, _: Call) -> Answer:
        return Answer(page.HTML, media=b"text/html; charset=utf-8", headers=page.HEADERS)

    def _named(self, call: Call, content: dict[str, Any], status: int = 200) -> Answer:
        named = content | self._service.identity | {"request_id": call.request_id}
        headers = ((b"retry-after", b"1"),) if status == 503 else ()
        return Answer(encode(named), status, headers=headers)


def _unknown_media(media: str, allowed: str) -> RequestError:
    return RequestError(415, "bad_media_type", f"{shown(media)} is not known; send {allowed}")
