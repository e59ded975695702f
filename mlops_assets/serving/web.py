"""One HTTP request and its answer, in the terms of ASGI. Knows neither models nor routes."""

import asyncio
import hmac
import itertools
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs

from msgspec import Struct

from mlops_assets.serving.refusals import RequestError, bad, shown

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Headers = Iterable[tuple[bytes, bytes]]

PROBE_HEADER = b"x-mlops-probe"
SAGEMAKER_HEADER = b"x-amzn-sagemaker-custom-attributes"
"""The only one of a caller's own that SageMaker passes on: it names the probe's instead."""
WANTED = frozenset(
    {
        b"authorization", b"content-encoding", b"content-length", b"content-type", b"x-api-key",
        b"x-request-id", PROBE_HEADER, SAGEMAKER_HEADER,
    }
)  # fmt: skip
REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
CLOSE = (b"connection", b"close")
JSON = b"application/json"
LATE = "the body is late"


class Answer(Struct, frozen=True):
    """What is sent back."""

    body: bytes
    status: int = 200
    media: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def headed(self, call: "Call", *, close: bool) -> "Answer":
        """With all its headers; `close` asks the caller to connect anew."""
        headers = (
            (b"content-type", self.media),
            (b"content-length", b"%d" % len(self.body)),
            (b"x-request-id", call.request_id.encode()),
            *self.headers,
        )
        if close and CLOSE not in headers:
            headers = (*headers, CLOSE)
        return Answer(self.body, self.status, self.media, headers)

    async def send(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status, "headers": self.headers}
        await send(start)
        await send({"type": "http.response.body", "body": self.body})


def request_ids() -> Iterator[str]:
    """Names that no other process gives: cheaper than randomness for every request."""
    process = os.urandom(10).hex()
    return (f"{process}{number:012x}" for number in itertools.count())


async def _gone() -> dict[str, Any]:
    return {"type": "http.disconnect"}


class Call:
    """One request: what of it matters here."""

    __slots__ = ("_receive", "headers", "method", "path", "query", "request_id")

    def __init__(
        self,
        method: str,
        path: str,
        query: bytes,
        headers: Headers,
        ids: Iterator[str],
        receive: Receive = _gone,
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = {name: value for name, value in headers if name in WANTED}
        self._receive = receive
        asked = self.headers.get(b"x-request-id")
        named = asked is not None and REQUEST_ID.fullmatch(asked)
        self.request_id = asked.decode() if asked and named else next(ids)

    @classmethod
    def of(cls, scope: dict[str, Any], receive: Receive, ids: Iterator[str]) -> "Call":
        """The call that ASGI tells of."""
        path = scope["path"].removeprefix(scope.get("root_path") or "")
        return cls(scope["method"], path, scope["query_string"], scope["headers"], ids, receive)

    def adopt(self, name: str | None) -> None:
        """Take the id that the body gives, where the headers gave none."""
        if name and b"x-request-id" not in self.headers and REQUEST_ID.fullmatch(name.encode()):
            self.request_id = name

    @property
    def is_probe(self) -> bool:
        return PROBE_HEADER in self.headers or self.headers.get(SAGEMAKER_HEADER) == PROBE_HEADER

    def media(self) -> tuple[str, dict[str, str]]:
        """The content type and its parameters; JSON where the caller names none.

        Raises:
            RequestError: 415, the body is encoded in a way that is not read here.
        """
        encoding = self.headers.get(b"content-encoding", b"identity").lower()
        media, parameters = _media_type(self.headers.get(b"content-type", JSON))
        charset = parameters.get("charset", "utf-8")
        if encoding != b"identity" or charset not in ("utf-8", "utf8", "us-ascii"):
            met = encoding if encoding != b"identity" else charset
            raise RequestError(
                415, "bad_encoding", f"the body is sent as {shown(met)}; send plain UTF-8"
            )
        return media, parameters

    def flag(self, name: str) -> bool:
        """Whether the query asks for `name`.

        Raises:
            RequestError: 400, it says neither true nor false.
        """
        if not self.query:
            return False
        given = parse_qs(self.query.decode("latin-1"), keep_blank_values=True).get(name, ["false"])
        if given[-1] not in ("true", "1", "false", "0"):
            raise bad("bad_query", f"{name} is {shown(given[-1])}; allowed: true, false, 1, 0")
        return given[-1] in ("true", "1")

    def check_key(self, keys: frozenset[bytes]) -> None:
        """Raise RequestError 401 unless the request bears one of `keys`."""
        scheme, _, token = self.headers.get(b"authorization", b"").partition(b" ")
        given = token.strip() if scheme.lower() == b"bearer" else b""
        given = self.headers.get(b"x-api-key", given)
        # Every key is compared, so that the time tells nothing of which came close.
        if not sum(hmac.compare_digest(given, key) for key in keys):
            raise RequestError(
                401,
                "unauthorized",
                "a key is needed: Authorization: Bearer KEY, or X-API-Key: KEY",
                headers=((b"www-authenticate", b"Bearer"),),
            )

    async def body(self, *, limit: int, seconds: float) -> bytes:
        """The whole body.

        Raises:
            RequestError: 413 over `limit` bytes, 408 when it takes longer than `seconds`, 400 when
                the caller goes away.
        """
        length = self.headers.get(b"content-length", b"")
        if length.isdigit() and (len(length) > 18 or int(length) > limit):
            raise _too_large(limit)
        # What asyncio.timeout does, for a third of its price: it is paid by every request.
        task: Any = asyncio.current_task()
        alarm = asyncio.get_running_loop().call_later(seconds, task.cancel, LATE)
        try:
            return await self._read(limit)
        except asyncio.CancelledError as error:
            if error.args != (LATE,):
                raise
            task.uncancel()
            raise RequestError(
                408, "body_too_slow", f"the body did not arrive in {seconds:g} s", headers=(CLOSE,)
            ) from None
        finally:
            alarm.cancel()

    async def _read(self, limit: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise bad("disconnected", "the caller went away")
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            if not message.get("more_body", False):
                return b"".join((*parts, part)) if parts else part
            parts.append(part)


def _too_large(limit: int) -> RequestError:
    # The rest of the body is not read, so this connection cannot carry another request.
    message = f"the body is over {limit} bytes; send fewer rows at once"
    return RequestError(413, "body_too_large", message, headers=(CLOSE,))


@lru_cache(64)
def _media_type(header: bytes) -> tuple[str, dict[str, str]]:
    media, *rest = header.decode("latin-1").lower().split(";")
    pairs = (part.partition("=") for part in rest)
    parameters = {name.strip(): value.strip().strip('"') for name, _, value in pairs}
    return media.strip() or JSON.decode(), parameters
