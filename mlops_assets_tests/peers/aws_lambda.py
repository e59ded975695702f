"""Lambda that really runs functions: moto keeps what functions are, AWS's emulator runs them.

What moto does not do is done here: functions that become Active after a while and refuse changes
until then, versions with numbers of their own, aliases with weights and revisions, provisioned
concurrency, permissions and function URLs of aliases, and `Invoke`.

The emulator counts a function's initialisation into its first timeout, and makes no start ahead.
"""

import itertools
import json
import random
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from moto.awslambda.models import LambdaBackend, LambdaFunction, lambda_backends

from mlops_assets_tests.peers import emulator
from mlops_assets_tests.peers.aws import Answer, Aws, AwsError
from mlops_assets_tests.peers.aws_call import Call
from mlops_assets_tests.peers.aws_lambda_control import Control
from mlops_assets_tests.peers.aws_lambda_metrics import Metrics
from mlops_assets_tests.peers.containers import Containers
from mlops_assets_tests.peers.emulator import Environment, Function, Said, Unpacked
from mlops_assets_tests.peers.emulator_image import Images
from mlops_assets_tests.peers.s3 import REGION

LARGEST = 6 * 1024 * 1024
"""Bytes of a payload."""


@dataclass
class Lambdas:
    """Lambda of one server."""

    aws: Aws
    binary: Path
    folder: Path
    """For code and logs."""
    seed: int
    settling: float
    """Seconds in which a new or changed function is Pending or InProgress."""
    provisioning: float
    """Seconds until provisioned concurrency is READY."""
    concurrency: int
    """Environments of all functions together."""
    images: Images
    environments: list[Environment] = field(default_factory=list)
    """Those that run."""
    starts: int = 0
    """Environments ever started: each was a cold start."""
    _busy: set[int] = field(default_factory=set)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _count: Any = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._runtime = emulator.runtime(self.folder / "runtime")
        self.control = Control(self)
        self.metrics = Metrics(self)
        self.aws.answers["lambda", "Invoke"] = self._invoke_call

    @property
    def backend(self) -> LambdaBackend:
        """What moto holds."""
        return lambda_backends[self.aws.account][REGION]

    def invoke(
        self, name: str, qualifier: str | None, payload: bytes, **rest: Any
    ) -> tuple[str, Said]:
        """The version that ran, and what it said.

        Raises:
            AwsError: there is no such version, it is not ready, or there is no room for it.
        """
        function = self._chosen(name, qualifier)
        environment = self._taken(function)
        try:
            said = environment.invoke(payload, **rest)
            self.metrics.count(function, qualifier, said)
            return function.version, said
        except OSError as error:
            raise AwsError("ServiceException", f"{function.name}: {error!r}", 500) from error
        finally:
            self._busy.discard(id(environment))

    def unpacked(self, known: LambdaFunction) -> Path:
        """The folder with a function's code; functions and versions with the same code share it."""
        folder = self.folder / "code" / known.code_digest.replace(":", "-")
        with self._lock:
            if not folder.exists():
                with zipfile.ZipFile(BytesIO(known.code_bytes)) as archive:
                    archive.extractall(folder)
        return folder

    def discard(self, name: str, version: str | None = None) -> None:
        """End the idle environments of a function that changed or is gone; the next starts cold."""
        with self._lock:
            for one in list(self.environments):
                known = one.function
                same = known.name == name and version in (None, known.version)
                if same and id(one) not in self._busy:
                    self.environments.remove(one)
                    one.end()

    def close(self) -> None:
        with self._lock:
            for one in self.environments:
                one.end()
            self.environments.clear()

    def _invoke_call(self, call: Call) -> Any:
        name, in_name = split(call.parameters["FunctionName"])
        qualifier = call.parameters.get("Qualifier") or in_name
        kind = call.parameters.get("InvocationType", "RequestResponse")
        if len(call.body) > LARGEST:
            raise AwsError(
                "RequestTooLargeException", f"Request must be smaller than {LARGEST}", 413
            )
        payload = call.body or b"{}"
        try:
            json.loads(payload)
        except ValueError as error:
            message = f"Could not parse request body into json: {error}"
            raise AwsError("InvalidRequestContentException", message) from error
        if kind == "DryRun":
            self._chosen(name, qualifier)
            return {"StatusCode": 204}
        if kind == "Event":
            self._chosen(name, qualifier)
            work = threading.Thread(
                target=self.invoke, args=(name, qualifier, payload), daemon=True
            )
            work.start()
            return {"StatusCode": 202}
        version, said = self.invoke(
            name, qualifier, payload, client_context=call.parameters.get("ClientContext")
        )
        body, failed = said.payload, said.failed
        if len(body) > LARGEST:
            message = (
                f"Response payload size exceeded maximum allowed payload size ({LARGEST} bytes)."
            )
            error = {"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message}
            body, failed = json.dumps(error).encode(), True
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "X-Amz-Executed-Version": version,
            "x-amzn-RequestId": call.id,
        }
        if failed:
            headers["X-Amz-Function-Error"] = "Unhandled"
        if call.parameters.get("LogType") == "Tail":
            headers["X-Amz-Log-Result"] = emulator.tail(said.log)
        return Answer(200, tuple(headers.items()), body)

    def _chosen(self, name: str, qualifier: str | None) -> Function:
        """The version behind a qualifier; behind an alias, one by its weights."""
        with self._lock:
            version = self.control.version_of(name, qualifier, self._random.random())
            known = self.backend.get_function(name, None if version == "$LATEST" else version)
            self.control.refuse_unready(known, version)
            image = known.package_type == "Image"
            return Function(
                name=known.function_name,
                version=version,
                environment={**self.aws.credentials, **known.environment_vars},
                timeout=int(known.timeout),
                memory=int(known.memory_size),
                handler="" if image else known.handler,
                code=None if image else self.unpacked(known),
                image=known.code_sha_256 if image else "",
                command=tuple(known.image_config.cmd) if image else (),
            )

    def _taken(self, function: Function) -> Environment:
        """An idle environment of the function, or a new one."""
        with self._lock:
            self._refuse_beyond_reserved(function)
            for gone in [one for one in self.environments if not one.runs()]:
                self.environments.remove(gone)
            idle = [e for e in self.environments if id(e) not in self._busy]
            same = [e for e in idle if e.function == function]
            if same:
                self._busy.add(id(same[0]))
                return same[0]
            self._make_room(idle)
            folder = self.folder / "environments" / str(next(self._count))
            if function.image:
                made = self.images.start(self.binary, function, folder)
            else:
                made = Unpacked(self.binary, self._runtime, function, folder)
            self.starts += 1
            self.environments.append(made)
            self._busy.add(id(made))
            return made

    def _refuse_beyond_reserved(self, function: Function) -> None:
        running = [e for e in self.environments if e.function.name == function.name]
        busy = [e for e in running if id(e) in self._busy]
        reserved = self.backend.get_function_concurrency(function.name)
        if reserved is not None and len(busy) >= int(reserved):
            raise AwsError(
                "TooManyRequestsException",
                "Rate Exceeded.",
                Reason="ReservedFunctionConcurrentInvocationLimitExceeded",
            )

    def _make_room(self, idle: list[Environment]) -> None:
        if len(self.environments) < self.concurrency:
            return
        if not idle:
            raise AwsError(
                "TooManyRequestsException",
                "Rate Exceeded.",
                Reason="ConcurrentInvocationLimitExceeded",
            )
        self.environments.remove(idle[0])
        idle[0].end()


def split(name: str) -> tuple[str, str | None]:
    """Name and qualifier of what a caller may write for a function: a name or an ARN."""
    last = name.partition(":function:")[2] or name
    bare, _, qualifier = last.partition(":")
    return bare, qualifier or None


def zipped(files: dict[str, str | bytes]) -> bytes:
    """The code of a function, for tests."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@contextmanager
def running(
    aws: Aws,
    *,
    seed: int = 0,
    settling: float = 0.2,
    provisioning: float = 0.2,
    concurrency: int = 8,
    containers: Containers | None = None,
) -> Iterator[Lambdas]:
    """Lambda on this server, until the block ends. Functions can be images where something runs
    containers.

    Raises:
        UnavailableError: the emulator cannot be had.
    """
    binary = emulator.fetched()
    with tempfile.TemporaryDirectory(prefix="mlops-lambda-") as folder:
        images = Images(containers)
        given = (Path(folder), seed, settling, provisioning, concurrency, images)
        peer = Lambdas(aws, binary, *given)
        try:
            yield peer
        finally:
            peer.control.close()
            peer.close()
