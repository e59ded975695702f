"""AWS behind our own words: a client for one service, its errors, and waiting. Knows no stage."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, TypeVar

from mlops_assets.gateways.wait import wait_until

T = TypeVar("T")

ATTEMPTS = 5
"""Of one call, when it is throttled, answered with 5xx or not at all; `AWS_MAX_ATTEMPTS` says
otherwise."""
CONNECT_TIMEOUT = 10
READ_TIMEOUT = 70.0
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class CloudError(Exception):
    """A call that AWS refuses or does not answer, or something there that does not come about.

    Attributes:
        operation: what was asked, as boto3 calls it.
        code: AWS's name of the error; that of boto3's exception when there was no answer.
        message: AWS's own words.
        said: the answer as boto3 has it; empty when there was none.
    """

    def __init__(
        self, operation: str, code: str, message: str, said: Mapping[str, Any] | None = None
    ) -> None:
        self.operation = operation
        self.code = code
        self.message = message
        self.said = said or {}
        super().__init__(f"AWS, {operation}: {message} ({code})")


class Service:
    """One service of AWS. Operations are those of boto3, in snake case."""

    def __init__(
        self,
        name: str,
        *,
        region: str | None,
        variables: Mapping[str, str],
        read_timeout: float = READ_TIMEOUT,
    ) -> None:
        """Connect when first asked.

        Args:
            name: as boto3 has it.
            region: None takes that of the variables.
            variables: the environment: `AWS_REGION`, `AWS_ENDPOINT_URL` and their like. Credentials
                that are not in it are looked for where boto3 always does.
            read_timeout: seconds an answer may take.
        """
        usual = variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION")
        self.name = name
        self._region = region or usual
        self._variables = variables
        self._read_timeout = read_timeout

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """The answer of AWS, after as many attempts as are safe.

        Raises:
            CloudError: it refused, or did not answer.
        """
        with _told(operation):
            answer: dict[str, Any] = getattr(self._client, operation)(**parameters)
        return answer

    def pages(self, operation: str, key: str, **parameters: Any) -> list[Any]:
        """Everything that a listing gives, page by page, under `key`.

        Raises:
            CloudError: it refused, or did not answer.
        """
        with _told(operation):
            pages = self._client.get_paginator(operation).paginate(**parameters)
            return [one for page in pages for one in page[key]]

    @property
    def url(self) -> str:
        """Where the service answers."""
        with _told(f"client of {self.name}"):
            return str(self._client.meta.endpoint_url)

    @property
    def _client(self) -> Any:
        own = f"AWS_ENDPOINT_URL_{self.name.upper().replace('-', '_')}"
        return _client(
            self.name,
            self._region,
            keys=tuple(self._variables.get(name) for name in CREDENTIALS),
            endpoint=self._variables.get(own) or self._variables.get("AWS_ENDPOINT_URL") or None,
            attempts=int(self._variables.get("AWS_MAX_ATTEMPTS") or ATTEMPTS),
            read_timeout=self._read_timeout,
        )


@lru_cache(maxsize=32)
def _client(
    name: str,
    region: str | None,
    *,
    keys: tuple[str | None, ...],
    endpoint: str | None,
    attempts: int,
    read_timeout: float,
) -> Any:
    """May be shared by threads; the session, which is its own, may not."""
    from botocore.config import Config
    from botocore.session import get_session

    key, secret, token = keys
    session = get_session()
    session.register_component("data_loader", _descriptions())
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": attempts},
    )
    return session.create_client(
        name,
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=config,
    )


@cache
def _descriptions() -> Any:
    """Of AWS's services: one takes a second to read, and is the same for all credentials."""
    from botocore.session import get_session

    return get_session().get_component("data_loader")


@contextmanager
def _told(operation: str) -> Iterator[None]:
    """Errors in our own words."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        said = error.response.get("Error", {})
        code, message = str(said.get("Code", "")), str(said.get("Message", "")) or str(error)
        raise CloudError(operation, code, message, error.response) from error
    except (BotoCoreError, ValueError) as error:  # the latter of an endpoint that is no URL
        raise CloudError(operation, type(error).__name__, str(error)) from error


@dataclass(frozen=True)
class Patience:
    """How long to wait for what takes AWS its time."""

    timeout: float
    """Seconds."""
    interval: float
    """Seconds between two questions."""
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
                interval=self.interval,
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
