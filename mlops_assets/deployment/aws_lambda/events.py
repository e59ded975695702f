"""Requests and answers of an endpoint as a function URL passes them on: events of format 2.0."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Response:
    """What the application answered."""

    status: int
    body: str
    request_id: str


def event(method: str, path: str, body: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """The event that a request becomes.

    Args:
        headers: with names in lower case.
    """
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": dict(headers),
        "requestContext": {
            "domainName": "",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "",
            },
            "stage": "$default",
        },
        "body": body,
        "isBase64Encoded": False,
    }


def response(said: Any) -> Response:
    """The answer in what a function returned.

    Raises:
        ValueError: it is none.
    """
    if not (isinstance(said, dict) and isinstance(said.get("statusCode"), int)):
        raise ValueError(  # noqa: TRY004 it is the function's fault
            f"a function URL does not answer with {str(said)[:300]}"
        )
    body = str(said.get("body") or "")
    if said.get("isBase64Encoded"):
        body = base64.b64decode(body).decode(errors="replace")
    headers = {str(name).lower(): str(v) for name, v in (said.get("headers") or {}).items()}
    return Response(said["statusCode"], body, headers.get("x-request-id", ""))
