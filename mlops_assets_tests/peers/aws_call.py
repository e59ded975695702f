"""A request to AWS: which operation of which service, with which parameters."""

import contextlib
import io
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.utils import get_service_model
from werkzeug.exceptions import NotFound

MODELS = {"monitoring": "cloudwatch"}
"""Services whose name in a signature is not that of their model."""


@dataclass
class Call:
    """One call, as it came."""

    service: str
    operation: str
    """Name in AWS's service model; empty when there is none."""
    parameters: dict[str, Any]
    """As of boto3, but only the length of an object's body."""
    headers: dict[str, str]
    """With names in lower case."""
    body: bytes
    protocol: str
    model: Any
    """Of the operation."""
    when: float = field(default_factory=time.monotonic)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: int | None = None
    """Of the answer; None until there is one, 0 when the connection was cut before."""
    error: str | None = None
    """Code of the error in the answer, where a header names it."""
    _environ: dict[str, Any] = field(default_factory=dict, repr=False)

    def environ(self) -> dict[str, Any]:
        """The same request once more."""
        return {**self._environ, "wsgi.input": io.BytesIO(self.body)}


def understood(environ: dict[str, Any]) -> Call:
    """The call in a WSGI request, whose body is read."""
    request = Request(environ)
    body = request.get_data(cache=True)
    whole = {**environ, "CONTENT_LENGTH": str(len(body)), "wsgi.input_terminated": False}
    whole.pop("HTTP_TRANSFER_ENCODING", None)
    service = _service(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    known: dict[str, Any] = {"operation": "", "parameters": {}, "protocol": "", "model": None}
    with contextlib.suppress(NotFound, NotImplementedError):  # moto will say so itself
        known = _operation(service, Request({**whole, "wsgi.input": io.BytesIO(body)}))
    return Call(service, headers=headers, body=body, _environ=whole, **known)


def _service(request: Request) -> str:
    scope = request.headers.get("Authorization", "").partition("Credential=")[2].split("/")
    name = scope[3] if len(scope) > 3 else "s3"
    if name == "sagemaker" and request.path.endswith("/invocations"):
        return "sagemaker-runtime"
    return MODELS.get(name, name)


def _operation(service: str, request: Request) -> dict[str, Any]:
    service_model = get_service_model(service)
    protocol = determine_request_protocol(service_model, request.content_type)
    if request.headers.get("X-Amz-Target"):
        name = request.headers["X-Amz-Target"].rpartition(".")[2]
        model, uri = service_model.operation_model(name), {}
    else:
        if service_model.protocol == "rest-json":
            protocol = "rest-json"  # whatever the type of a body that is the caller's own
            router = get_service_router(service)._get_router(protocol)
        else:
            router = get_service_router(service)
        model, uri = router.match(request)
    streamed = model.get_streaming_input() is not None or service == "sagemaker-runtime"
    parsed = PROTOCOL_PARSERS[protocol](model, map_type=dict).parse(
        {
            "method": request.method,
            "values": request.values,
            "headers": request.headers,
            "body": b"" if streamed else request.data,
            "url_path": request.path,
            "url_params": uri,
        }
    )
    parameters = dict(parsed)
    if streamed:
        parameters["Body"] = len(request.data)
    return {"operation": model.name, "parameters": parameters, "protocol": protocol, "model": model}
