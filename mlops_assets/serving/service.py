"""Answers scoring requests: small ones at once, large or slow ones in threads. Knows no routes."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from mlops_assets.serving.explain import NotExplainableError
from mlops_assets.serving.reader import Reader, Rows
from mlops_assets.serving.refusals import RequestError, bad
from mlops_assets.serving.scorer import Scorer, Scores, ScoringError

if TYPE_CHECKING:
    from mlops_assets.serving.metrics import Metrics
    from mlops_assets.serving.recorder import Recorder
    from mlops_assets.serving.web import Call

T = TypeVar("T")

SMALL_BODY = 32_768
"""Bytes that are read on the event loop: a quarter of a millisecond, two hundred rows."""
AT_ONCE = 0.001
"""Seconds of scoring that the event loop can spare."""
FAST_RUNTIMES = frozenset({"onnx"})

encode = msgspec.json.encode


@dataclass(frozen=True)
class Limits:
    """What a caller may ask for at once."""

    max_rows: int = 10_000
    max_body_bytes: int = 10_000_000
    max_in_flight: int = 64
    threads: int = 2
    """Requests scored at the same time; the others wait their turn."""
    body_seconds: float = 30.0
    """A body that has not arrived by then is given up."""


class Question(Struct, frozen=True):
    """A request that was read."""

    rows: Rows
    explain: bool
    present: Callable[[Scores], dict[str, Any]]
    """The body of the answer, in the caller's dialect."""


Read = Callable[[bytes], Question]


class Service:
    """One loaded model, and what stands between it and its callers."""

    def __init__(
        self,
        scorer: Scorer,
        *,
        version: str,
        limits: Limits,
        metrics: "Metrics",
        recorder: "Recorder | None" = None,
        counts_at_once: bool = False,
        keys: frozenset[str] = frozenset(),
    ) -> None:
        self.scorer = scorer
        self.version = version
        self.limits = limits
        self.metrics = metrics
        self.recorder = recorder
        self._counts_at_once = counts_at_once or recorder is None
        self.keys = frozenset(key.encode() for key in keys)
        self.ready = False
        self.draining = False
        """The process is about to end: every answer asks the caller to connect anew."""
        manifest = scorer.manifest
        self.identity = {"model": manifest.model, "version": version}
        self.reader = Reader(manifest.schema, max_rows=limits.max_rows, entity=manifest.entity)
        self._waiting = 0
        self._threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="score")
        self.fast = manifest.runtime in FAST_RUNTIMES
        """Whether a row can be scored on the event loop."""
        self._byte_seconds = 0.0
        """What a byte of a body costs to score, learned from the requests."""

    @property
    def in_flight(self) -> int:
        return self._waiting

    def close(self) -> None:
        self._threads.shutdown()

    async def answer(self, call: "Call", read: Read) -> bytes:
        """The body of the answer to a scoring request that `read` understands.

        Raises:
            RequestError: the request is refused, with the status and the reason.
        """
        self._admit()
        self._waiting += 1
        try:
            limits = self.limits
            body = await call.body(limit=limits.max_body_bytes, seconds=limits.body_seconds)
            if not self._is_quick(body):
                return await self._in_thread(lambda: self._answer(read(body), call, body))
            question = read(body)
            if question.explain:
                return await self._in_thread(lambda: self._answer(question, call, body))
            return self._answer(question, call, body)
        finally:
            self._waiting -= 1

    def at_once(self, call: "Call", body: bytes, read: Read) -> bytes | None:
        """As `answer`, for a body that is there; None where the event loop cannot spare the time.

        Raises:
            RequestError: the request is refused, with the status and the reason.
        """
        self._admit()
        if not self._is_quick(body):
            return None
        question = read(body)
        return None if question.explain else self._answer(question, call, body)

    def _admit(self) -> None:
        if not self.ready:
            raise RequestError(503, "not_ready", "the model is not loaded yet; try again")
        if self._waiting >= self.limits.max_in_flight:
            raise RequestError(503, "overload", "too many requests in flight; try again")

    def _is_quick(self, body: bytes) -> bool:
        size = len(body)
        return self.fast and size <= SMALL_BODY and size * self._byte_seconds <= AT_ONCE

    def _in_thread(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _answer(self, question: Question, call: "Call", body: bytes) -> bytes:
        rows = question.rows
        started = time.perf_counter()
        try:
            scores = self.scorer.score(rows.columns)
        except ScoringError as error:
            raise bad("not_scorable", str(error)) from error
        seconds = (time.perf_counter() - started) / len(body)
        self._byte_seconds += (seconds - self._byte_seconds) / 16
        content = question.present(scores)
        if question.explain:
            content["explanations"] = self._explanations(rows)
        answer = encode(content)
        if not call.is_probe:
            self._record(rows, scores, call.request_id)
        return answer

    def _explanations(self, rows: Rows) -> Any:
        try:
            return self.scorer.explain(rows.columns).to_json()
        except NotExplainableError as error:
            raise bad("not_explainable", str(error)) from error

    def _record(self, rows: Rows, scores: Scores, request_id: str) -> None:
        if self._counts_at_once:
            self.metrics.observe(rows.columns, scores)
        if self.recorder is not None:
            self.recorder.submit(
                rows.columns,
                scores,
                when=time.time(),
                request_id=request_id,
                entities=rows.entities,
            )
