"""One request to a sink: bounded in time and size, and its failures in words without secrets."""

import functools
import json
import re
import ssl
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_assets.monitoring.sinks.base import RefusedError, SinkContext, SinkDownError

MOST_BYTES = 4_000_000
"""Of an answer; what is longer is not read."""
LONGEST_S = 8.0
"""For the whole answer."""
SHOWN = 200
"""Characters of an answer that an error repeats."""
OF_THE_SINK = frozenset({401, 403, 404, 407, 408, 410, 425, 429})
"""Refusals that are not about what was sent, besides all from 500 on: a key or address that has to
be put right, or a limit."""


@dataclass(frozen=True)
class Answer:
    """What a sink said."""

    status: int
    headers: Mapping[str, str]
    text: str


def post(
    sink: str,
    url: str,
    content: Any,
    context: SinkContext,
    *,
    headers: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
    method: str = "POST",
    refusals: Collection[int] = (),
) -> Answer:
    """The answer to a request whose status is below 300.

    Args:
        sink: its name, for errors.
        url: may hold a secret.
        content: sent as JSON; bytes as they are, None without a body.
        context: of the process.
        headers: besides that of the type.
        secrets: texts that no error may repeat, besides the URL.
        method: of HTTP.
        refusals: statuses that here are about what was sent.

    Raises:
        SinkDownError: it did not answer, or refuses whatever is sent.
        RefusedError: it refuses this content.
    """
    import httpx

    hidden = [url, *secrets, *_long_parts(url)]
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    sent = {"Content-Type": "application/json", "User-Agent": "mlops_assets", **(headers or {})}
    try:
        with (
            httpx.Client(timeout=context.timeout_s, verify=_authorities()) as client,
            client.stream(
                method, url, headers=sent, content=None if content is None else body
            ) as response,
        ):
            answer = Answer(response.status_code, response.headers, _read(response))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        words = _without(f"{type(error).__name__} {error}".strip(), hidden)
        raise SinkDownError(f"{sink} does not answer: {words}") from None
    if answer.status < 300:
        return answer
    said = _without(" ".join(answer.text.split()), hidden)[:SHOWN]
    words = f"{sink} answered {answer.status}: {said or 'nothing'}"
    refused = 400 <= answer.status < 500 and answer.status not in OF_THE_SINK
    if refused or answer.status in refusals:
        raise RefusedError(words)
    raise SinkDownError(words, retry_after=_retry_after(answer.headers))


@functools.cache
def _authorities() -> ssl.SSLContext:
    """Whom we believe certificates of: reading them takes longer than a request."""
    import httpx

    return httpx.create_ssl_context()


def _read(response: Any) -> str:
    """The body, as far as it comes in time and is no longer than allowed."""
    parts, size, end = [], 0, time.monotonic() + LONGEST_S
    for part in response.iter_bytes():
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES or time.monotonic() > end:
            break
    return b"".join(parts)[:MOST_BYTES].decode("utf-8", "replace")


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds; 0 where the sink does not say, or says a date."""
    said = headers.get("retry-after", "").strip()
    return float(said) if said.isdecimal() else 0.0


def _long_parts(url: str) -> list[str]:
    """Of the path and query: what may be a secret, and be repeated without the rest."""
    return [part for part in re.split(r"[/?&=]+", url.partition("://")[2]) if len(part) >= 16]


def _without(text: str, hidden: Iterable[str]) -> str:
    for secret in sorted(filter(None, hidden), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
