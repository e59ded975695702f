"""AWS through its own SDK: clients after the standard variables, and its errors as ours. Knows no
service by name.
"""

import functools
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from mlops_assets.gateways.wait import wait_until

T = TypeVar("T")

ATTEMPTS = 5
"""Of one call, when it is throttled, answered with 5xx or not at all; `AWS_MAX_ATTEMPTS` says
otherwise."""
CONNECT_TIMEOUT = 10
READ_TIMEOUT = 60.0
INTERVAL = 1.0
_LOCK = threading.Lock()
"""Clients may be used by threads, but not made by several at once."""
CREDENTIALS = {
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "aws_session_token": "AWS_SESSION_TOKEN",
}


class CloudError(Exception):
    """A call that AWS refuses or does not answer, or something there that does not come about.

    Attributes:
        operation: what was asked, as the SDK calls it.
        code: AWS's name of the error; that of the SDK's exception when there was no answer.
        message: AWS's own words.
    """

    def __init__(self, operation: str, code: str, message: str) -> None:
        self.operation = operation
        self.code = code
        self.message = message
        super().__init__(f"AWS, {operation}: {message} ({code})")


def client(
    service: str,
    variables: Mapping[str, str],
    *,
    region: str | None = None,
    read_timeout: float = READ_TIMEOUT,
) -> Any:
    """A client of the SDK.

    Args:
        service: as the SDK calls it.
        variables: the environment: `AWS_REGION`, `AWS_ENDPOINT_URL` and their like. Credentials
            that are not in it are looked for where the SDK always does.
        region: instead of the environment's.
        read_timeout: seconds an answer may take.

    Raises:
        CloudError: there is no such client, for want of a region for instance.
    """
    from botocore.config import Config  # type: ignore[import-untyped]
    from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]

    own = f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}"
    usual = variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION")
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=read_timeout,
        retries={
            "mode": "standard",
            "total_max_attempts": int(variables.get("AWS_MAX_ATTEMPTS") or ATTEMPTS),
        },
    )
    try:
        with _LOCK:
            return _session().client(
                service,
                region_name=region or usual,
                endpoint_url=variables.get(own) or variables.get("AWS_ENDPOINT_URL") or None,
                config=config,
                **{n: variables[known] for n, known in CREDENTIALS.items() if known in variables},
            )
    except (BotoCoreError, ValueError) as error:
        raise CloudError(f"client of {service}", type(error).__name__, str(error)) from error


@functools.cache
def _session() -> Any:
    """What clients are made from; it keeps the descriptions of services, which are long."""
    import boto3

    return boto3.session.Session()


def call(client: Any, operation: str, **arguments: Any) -> dict[str, Any]:
    """What AWS answers to one call.

    Raises:
        CloudError: it refuses, or does not answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer: dict[str, Any] = getattr(client, operation)(**arguments)
    except ClientError as error:
        said = error.response.get("Error", {})
        code, message = str(said.get("Code", "")), str(said.get("Message", "")) or str(error)
        raise CloudError(operation, code, message) from error
    except BotoCoreError as error:
        raise CloudError(operation, type(error).__name__, str(error)) from error
    return answer


@dataclass(frozen=True)
class Patience:
    """How long to wait for what takes AWS its time."""

    timeout: float
    """Seconds."""
    now: Callable[[], datetime]
    sleep: Callable[[float], None]

    def until(self, condition: Callable[[], T | None], what: str) -> T:
        """The first truthy value of `condition`.

        Raises:
            CloudError: there was none in time; `what` was awaited.
        """
        try:
            return wait_until(
                condition,
                timeout=self.timeout,
                interval=INTERVAL,
                clock=lambda: self.now().timestamp(),
                sleep=self.sleep,
            )
        except TimeoutError as error:
            raise CloudError(what, "TimedOut", str(error)) from error

    def past(self, codes: Collection[str], ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `ask` gives once AWS no longer refuses it with one of these codes.

        Raises:
            CloudError: another error, or still the same after all the time.
        """
        refused: list[CloudError] = []

        def asked() -> dict[str, Any] | None:
            try:
                return {"answer": ask()}
            except CloudError as error:
                if error.code not in codes:
                    raise
                refused.append(error)
                return None

        try:
            return dict(self.until(asked, "what is busy")["answer"])
        except CloudError as error:
            raise (refused[-1] if error.code == "TimedOut" and refused else error) from error
