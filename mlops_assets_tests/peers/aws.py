"""AWS on a free port of 127.0.0.1: moto, with calls on record, failures on demand, and room for
what moto lacks.

Every server has an account of its own, so nothing of another test is in it. What moto does not do
is taken over by other peers, operation by operation (`Aws.answers`); their answers are held against
the shapes of AWS's own service models.
"""

import itertools
import socket
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from moto.core.base_backend import BackendDict
from moto.core.exceptions import JsonRESTError, ServiceException
from moto.core.serialize import get_serializer_class
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.s3.models import s3_backends
from werkzeug.serving import make_server

from mlops_assets_tests.peers.aws_call import Call, understood
from mlops_assets_tests.peers.aws_shapes import check
from mlops_assets_tests.peers.s3 import KEY, REGION, S3, SECRET

ACCOUNTS = itertools.count(100_000_000_001)

STATUSES = {
    "AccessDeniedException": 403,
    "InternalFailure": 500,
    "InternalServerError": 500,
    "PreconditionFailedException": 412,
    "ProvisionedConcurrencyConfigNotFoundException": 404,
    "ResourceConflictException": 409,
    "ResourceNotFoundException": 404,
    "ServiceException": 500,
    "ServiceUnavailable": 503,
    "SlowDown": 503,
    "TooManyRequestsException": 429,
}
"""Other errors answer with 400, unless a service's model says otherwise."""


class AwsError(ServiceException):
    """An error as AWS words it; further members of its shape are attributes."""

    def __init__(self, code: str, message: str, status: int | None = None, **members: Any) -> None:
        super().__init__(code, message)
        self.status = status
        for name, value in members.items():
            setattr(self, name, value)


@dataclass(frozen=True)
class Answer:
    """What goes back over HTTP."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


Operation = Callable[[Call], Mapping[str, Any] | Answer | None]
"""Takes over an operation: gives the members of its output, or raises `AwsError`."""


@dataclass
class Fault:
    """What happens to the next calls of an operation instead."""

    code: str | None = None
    """An error; without one the connection is cut."""
    message: str = "as the test wants it"
    status: int | None = None
    seconds: float = 0.0
    """Before anything else."""
    done: bool = False
    """The call takes effect, and its answer is lost."""
    when: Callable[[Call], bool] = lambda _: True
    """Only of calls with these parameters."""
    times: int = 1


@dataclass
class Aws:
    """A running server."""

    endpoint: str
    account: str
    calls: list[Call] = field(default_factory=list, repr=False)
    """Every call, in the order they came."""
    answers: dict[tuple[str, str], Operation] = field(default_factory=dict)
    """Operations taken over from moto, by service and name."""
    closing: ExitStack = field(default_factory=ExitStack)
    """What other peers have to end before the server does."""
    ending: threading.Event = field(default_factory=threading.Event)
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """What went wrong inside a peer; its callers see status 500."""
    _moto: Any = field(default_factory=lambda: DomainDispatcherApplication(create_backend_app))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def s3(self) -> S3:
        return S3(self.endpoint)

    @property
    def credentials(self) -> dict[str, str]:
        """Variables by which any AWS client finds this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }

    def client(self, service: str, **config: Any) -> Any:
        """A boto3 client; `config` as of botocore, by default with one attempt per call."""
        usual = {"retries": {"total_max_attempts": 1}, "read_timeout": 60}
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            config=Config(**{**usual, **config}),
        )

    def s3_client(self) -> Any:
        return self.client("s3")

    def role(self, name: str) -> str:
        """The ARN of a new role that Lambda and SageMaker may take."""
        made = self.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument="{}")
        return str(made["Role"]["Arn"])

    def asked(self, *operations: str) -> list[Call]:
        """Calls of these operations."""
        return [call for call in self.calls if call.operation in operations]

    def changes(self) -> list[str]:
        """Names of the operations that were asked for and do not only read."""
        reading = ("Get", "List", "Describe", "Head")
        return [c.operation for c in self.calls if not c.operation.startswith(reading)]

    def fail(
        self, operation: str, code: str, *, times: int = 1, status: int | None = None, **rest: Any
    ) -> None:
        """The next calls are refused with this error; `rest` as of `Fault`."""
        self.faults.append((operation, Fault(code, status=status, times=times, **rest)))

    def hang(self, operation: str, seconds: float, *, times: int = 1, **rest: Any) -> None:
        """The next calls take that long, come to nothing and get no answer."""
        self.faults.append((operation, Fault(seconds=seconds, times=times, **rest)))

    def lose(self, operation: str, *, times: int = 1, **rest: Any) -> None:
        """The next calls take effect, and the connection is cut before the answer."""
        self.faults.append((operation, Fault(done=True, times=times, **rest)))

    def forward(self, call: Call) -> Answer:
        """What moto says."""
        begun: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            begun[:] = [int(status.split()[0]), tuple(headers)]

        chunks = self._moto(call.environ(), start)
        return Answer(begun[0], begun[1], b"".join(chunks))

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        """The WSGI application."""
        call = understood({**environ, "HTTP_X_MOTO_ACCOUNT_ID": self.account})
        with self._lock:
            self.calls.append(call)
            fault = self._fault(call)
        if fault is not None and fault.seconds:
            self.ending.wait(fault.seconds)
        if fault is not None and fault.code is not None:
            answer = self._error(call, AwsError(fault.code, fault.message, fault.status))
        elif fault is not None and not fault.done:
            call.status = 0
            return _cut(environ)
        else:
            answer = self._answer(call)
        call.status = answer.status
        if call.error is None and call.status >= 400:
            named = {name.lower(): value for name, value in answer.headers}
            call.error = named.get("x-amzn-errortype")
        if fault is not None and fault.done:
            return _cut(environ)
        start_response(f"{answer.status} OK", list(answer.headers))
        return [answer.body]

    def _fault(self, call: Call) -> Fault | None:
        for operation, fault in self.faults:
            if operation == call.operation and fault.times > 0 and fault.when(call):
                fault.times -= 1
                return fault
        return None

    def _answer(self, call: Call) -> Answer:
        taken = self.answers.get((call.service, call.operation))
        if taken is None:
            return self.forward(call)
        try:
            said = taken(call)
            if isinstance(said, Answer):
                return said
            check(call, said or {})
        except ServiceException as error:
            return self._error(call, error)
        except JsonRESTError as error:  # moto's own, of something a peer asked it inside
            return self._error(call, AwsError(error.error_type, error.message, error.code))
        except Exception as error:  # noqa: BLE001 what a test must get to see
            self.broken.append(f"{call.operation}: {error}\n{traceback.format_exc()}")
            return self._error(call, AwsError("InternalFailure", str(error), 500))
        return _serialized(call, said or {})

    def _error(self, call: Call, error: ServiceException) -> Answer:
        call.error = error.code
        answer = _serialized(call, error)
        status = getattr(error, "status", None) or STATUSES.get(error.code) or answer.status
        return Answer(status, answer.headers, answer.body)


def _cut(environ: dict[str, Any]) -> list[bytes]:
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError("cut, as the test wants it")


def _serialized(call: Call, result: Any) -> Answer:
    model, protocol = call.model, call.protocol
    serializer = get_serializer_class(model.service_model.service_name, protocol)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not every model lists the errors that all services have
        made = serializer(operation_model=model, pretty_print=False).serialize(result)
    body = made["body"] or b""
    body = body.encode() if isinstance(body, str) else body
    headers = {**made["headers"], "x-amzn-RequestId": call.id, "Content-Length": str(len(body))}
    if isinstance(result, Mapping) and isinstance(result.get("StatusCode"), int):
        made["status_code"] = result["StatusCode"]
    return Answer(made["status_code"], tuple((k, str(v)) for k, v in headers.items()), body)


@contextmanager
def running() -> Iterator[Aws]:
    peer = Aws("", str(next(ACCOUNTS)))
    server = make_server("127.0.0.1", 0, peer, threaded=True, request_handler=_Quiet)
    peer.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        with peer.closing:
            yield peer
    finally:
        peer.ending.set()
        server.shutdown()
        thread.join(10)
        server.server_close()
        _forget(peer.account)


class _Quiet(MotoRequestHandler):
    def log(self, *_: Any) -> None:
        pass


def _forget(account: str) -> None:
    """What moto holds of an account: its servers share the process, and the names of buckets."""
    for region in list(s3_backends.get(account, {}).values()):
        for name in list(region.buckets):
            s3_backends.bucket_accounts.pop(name, None)
    for service in list(BackendDict._instances):
        if (regions := service.get(account)) is not None:
            regions.clear()
