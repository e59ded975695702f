"""Function URLs: real addresses on 127.0.0.1 whose requests become events of format 2.0."""

import base64
import json
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from mlops_assets_tests.peers.aws import AwsError
from mlops_assets_tests.peers.aws_call import Call

if TYPE_CHECKING:
    from mlops_assets_tests.peers.aws_lambda import Lambdas

TEXT = ("text/", "application/json", "application/xml", "application/javascript")
NEEDED = frozenset({"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"})
"""What everybody must be allowed for a URL without authorisation."""


@dataclass
class Url:
    """An address of a function or one of its aliases."""

    config: dict[str, Any]
    server: ThreadingHTTPServer
    thread: threading.Thread

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)


@dataclass
class Urls:
    """The URLs of a server's functions, and who may ask them."""

    peer: "Lambdas"
    _urls: dict[tuple[str, str | None], Url] = field(default_factory=dict)
    _statements: dict[tuple[str, str | None], dict[str, dict[str, Any]]] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        for operation, method in {
            "CreateFunctionUrlConfig": self._create,
            "UpdateFunctionUrlConfig": self._update,
            "GetFunctionUrlConfig": self._get,
            "ListFunctionUrlConfigs": self._list,
            "DeleteFunctionUrlConfig": self._delete,
            "AddPermission": self._add_permission,
            "RemovePermission": self._remove_permission,
            "GetPolicy": self._get_policy,
        }.items():
            self.peer.aws.answers["lambda", operation] = method

    def close(self) -> None:
        for url in self._urls.values():
            url.close()
        self._urls.clear()

    def forget(self, name: str, qualifier: str | None = None) -> None:
        """Of a function, or of one alias of it."""
        for key in [k for k in self._urls if k[0] == name and qualifier in (None, k[1])]:
            self._urls.pop(key).close()
        for key in [k for k in self._statements if k[0] == name and qualifier in (None, k[1])]:
            del self._statements[key]

    def open_to_all(self, key: tuple[str, str | None]) -> bool:
        """Whether the policy lets everybody in."""
        allowed = {
            one["Action"]
            for one in self._statements.get(key, {}).values()
            if one["Principal"] == "*"
        }
        return allowed >= NEEDED

    def _create(self, call: Call) -> dict[str, Any]:
        key, arn = self._key(call)
        if key[1] is not None and key[1].isdigit():
            raise AwsError("InvalidParameterValueException", "a URL is of an alias or $LATEST")
        if key in self._urls:
            raise AwsError("ResourceConflictException", f"FunctionUrlConfig exists for {arn}")
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, key))
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        config = {
            "FunctionUrl": f"http://127.0.0.1:{server.server_port}/",
            "FunctionArn": arn,
            "AuthType": call.parameters["AuthType"],
            "CreationTime": now,
            "InvokeMode": call.parameters.get("InvokeMode", "BUFFERED"),
        }
        if "Cors" in call.parameters:
            config["Cors"] = call.parameters["Cors"]
        self._urls[key] = Url({**config, "LastModifiedTime": now}, server, thread)
        return config

    def _update(self, call: Call) -> dict[str, Any]:
        url = self._found(call)
        changes = {
            n: call.parameters[n]
            for n in ("AuthType", "Cors", "InvokeMode")
            if n in call.parameters
        }
        now = datetime.now(UTC).isoformat(timespec="seconds")
        url.config = {**url.config, **changes, "LastModifiedTime": now}
        return url.config

    def _get(self, call: Call) -> dict[str, Any]:
        return self._found(call).config

    def _list(self, call: Call) -> dict[str, Any]:
        (name, _), _ = self._key(call)
        return {"FunctionUrlConfigs": [u.config for k, u in self._urls.items() if k[0] == name]}

    def _delete(self, call: Call) -> dict[str, Any]:
        self._found(call)
        key, _ = self._key(call)
        self._urls.pop(key).close()
        return {}

    def _found(self, call: Call) -> Url:
        key, _ = self._key(call)
        if key not in self._urls:
            message = "The resource you requested does not exist."
            raise AwsError("ResourceNotFoundException", message)
        return self._urls[key]

    def _add_permission(self, call: Call) -> dict[str, Any]:
        key, arn = self._key(call)
        asked = call.parameters
        statements = self._statements.setdefault(key, {})
        if asked["StatementId"] in statements:
            message = f"The statement id ({asked['StatementId']}) provided already exists."
            raise AwsError("ResourceConflictException", message)
        made = {
            "Sid": asked["StatementId"],
            "Effect": "Allow",
            "Principal": asked["Principal"],
            "Action": asked["Action"],
            "Resource": arn,
        }
        statements[asked["StatementId"]] = made
        return {"Statement": json.dumps(made)}

    def _remove_permission(self, call: Call) -> dict[str, Any]:
        key, _ = self._key(call)
        if self._statements.get(key, {}).pop(call.parameters["StatementId"], None) is None:
            message = f"Statement {call.parameters['StatementId']} is not found in resource policy."
            raise AwsError("ResourceNotFoundException", message)
        return {}

    def _get_policy(self, call: Call) -> dict[str, Any]:
        key, _ = self._key(call)
        statements = [*self._statements.get(key, {}).values()]
        if not statements:
            raise AwsError(
                "ResourceNotFoundException", "The resource you requested does not exist."
            )
        policy = {"Version": "2012-10-17", "Id": "default", "Statement": statements}
        return {"Policy": json.dumps(policy), "RevisionId": str(uuid.uuid4())}

    def _key(self, call: Call) -> tuple[tuple[str, str | None], str]:
        name = str(call.parameters["FunctionName"]).rpartition(":function:")[2].partition(":")[0]
        qualifier = call.parameters.get("Qualifier")
        self.peer.backend.get_function(name, qualifier)
        arn = self.peer.backend.get_function(name).function_arn
        return (name, qualifier), f"{arn}:{qualifier}" if qualifier else arn


def _handler(urls: Urls, key: tuple[str, str | None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if not self.let_in():
                self.say(403, {"Message": "Forbidden"})
                return
            event = json.dumps(event_of(self, body)).encode()
            try:
                _, said = urls.peer.invoke(*key, event)
            except AwsError as error:
                status = {"TooManyRequestsException": 429}.get(error.code, 502)
                self.say(status, {"Message": error.message})
                return
            if said.failed:
                self.say(502, {"Message": "Internal Server Error"})
                return
            self.pass_on(json.loads(said.payload))

        def let_in(self) -> bool:
            if urls._urls[key].config["AuthType"] == "AWS_IAM":
                signed = self.headers.get("Authorization", "")
                return signed.startswith("AWS4-HMAC-SHA256") and "/lambda/" in signed
            return urls.open_to_all(key)

        def pass_on(self, said: Any) -> None:
            if not (isinstance(said, dict) and "statusCode" in said):
                self.say(200, said)
                return
            body = said.get("body") or ""
            raw = base64.b64decode(body) if said.get("isBase64Encoded") else body.encode()
            headers = {"Content-Type": "application/json"}
            headers |= {k.title(): str(v) for k, v in (said.get("headers") or {}).items()}
            self.begin(int(said["statusCode"]), headers, said.get("cookies") or [], raw)

        def say(self, status: int, content: Any) -> None:
            raw = json.dumps(content).encode()
            self.begin(status, {"Content-Type": "application/json"}, [], raw)

        def begin(
            self, status: int, headers: dict[str, str], cookies: list[str], raw: bytes
        ) -> None:
            self.send_response(status)
            headers["Content-Length"] = str(len(raw))
            for name, value in headers.items():
                self.send_header(name, value)
            for cookie in cookies:
                self.send_header("Set-Cookie", cookie)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    for method in ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"):
        setattr(Handler, f"do_{method}", Handler.answer)
    return Handler


def event_of(request: BaseHTTPRequestHandler, body: bytes) -> dict[str, Any]:
    """The event of format 2.0 that a request becomes."""
    path, _, query = request.path.partition("?")
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        known = headers.get(name.lower())
        headers[name.lower()] = value if known is None else f"{known},{value}"
    cookies = [one.strip() for one in headers.pop("cookie", "").split(";") if one.strip()]
    content_type = headers.get("content-type", "")
    text = content_type.startswith(TEXT) or not content_type
    now = time.time()
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "url",
            "domainName": headers.get("host", ""),
            "domainPrefix": "url",
            "http": {
                "method": request.command,
                "path": path,
                "protocol": request.request_version,
                "sourceIp": request.client_address[0],
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": str(uuid.uuid4()),
            "routeKey": "$default",
            "stage": "$default",
            "time": datetime.fromtimestamp(now, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": bool(body) and not text,
    }
    if cookies:
        event["cookies"] = cookies
    if query:
        values: dict[str, str] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            values[name] = f"{values[name]},{value}" if name in values else value
        event["queryStringParameters"] = values
    if body:
        event["body"] = body.decode() if text else base64.b64encode(body).decode()
    return event
