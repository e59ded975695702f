"""AWS behind our own words: a client for one service, its errors, and waiting. Knows no stage."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

from mlops_assets.gateways.wait import wait_until

T = TypeVar("T")

ATTEMPTS = 5
TIMEOUT = 70
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class CloudError(Exception):
    """AWS refused a call, or did not answer.

    Attributes:
        code: AWS's word for it; empty when there was no answer.
        said: the answer as boto3 has it; empty when there was none.
    """

    def __init__(
        self, operation: str, code: str, message: str, said: Mapping[str, Any] | None = None
    ) -> None:
        self.code = code
        self.message = message
        self.said = said or {}
        super().__init__(f"{operation}: {code and f'{code}: '}{message}")


class Service:
    """One service of AWS. Operations are those of boto3, in snake case."""

    def __init__(self, name: str, *, region: str | None, environment: Mapping[str, str]) -> None:
        """Connect when first asked.

        Args:
            name: as boto3 has it.
            region: None takes that of the environment.
            environment: AWS's own variables: keys, region, endpoint, attempts.
        """
        usual = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
        self.name = name
        self._region = region or usual
        self._environment = environment

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """The answer of AWS, after as many attempts as are safe.

        Raises:
            CloudError: it refused, or did not answer.
        """
        with _told(operation):
            answer: dict[str, Any] = getattr(self._client, operation)(**parameters)
        return answer

    def found(self, operation: str, *absent: str, **parameters: Any) -> dict[str, Any] | None:
        """The answer; None when AWS says with one of these codes that the thing is not there."""
        try:
            return self.call(operation, **parameters)
        except CloudError as error:
            if error.code in absent:
                return None
            raise

    def pages(self, operation: str, key: str, **parameters: Any) -> list[Any]:
        """Everything that a listing gives, page by page, under `key`."""
        with _told(operation):
            pages = self._client.get_paginator(operation).paginate(**parameters)
            return [one for page in pages for one in page[key]]

    @property
    def url(self) -> str:
        """Where the service answers."""
        with _told("client"):
            return str(self._client.meta.endpoint_url)

    @property
    def _client(self) -> Any:
        keys = tuple(self._environment.get(name) for name in CREDENTIALS)
        endpoint = self._environment.get("AWS_ENDPOINT_URL")
        attempts = int(self._environment.get("AWS_MAX_ATTEMPTS") or ATTEMPTS)
        return client(self.name, self._region, keys, endpoint, attempts)


@lru_cache(maxsize=32)
def client(
    name: str,
    region: str | None,
    keys: tuple[str | None, ...],
    endpoint: str | None,
    attempts: int,
) -> Any:
    """May be shared by threads; a service's model takes a second to read."""
    import boto3
    from botocore.config import Config  # type: ignore[import-untyped]

    key, secret, token = keys
    session = boto3.Session(
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        region_name=region,
    )
    config = Config(
        retries={"mode": "standard", "total_max_attempts": attempts}, read_timeout=TIMEOUT
    )
    return session.client(name, config=config, endpoint_url=endpoint)


@contextmanager
def _told(operation: str) -> Iterator[None]:
    """Errors in our own words."""
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    try:
        yield
    except ClientError as error:
        said = error.response.get("Error", {})
        code, message = said.get("Code", ""), said.get("Message", "")
        raise CloudError(operation, code, message, error.response) from error
    except BotoCoreError as error:
        raise CloudError(operation, "", str(error)) from error


def wait(
    condition: Callable[[], T | None],
    *,
    timeout: float,
    interval: float,
    sleep: Callable[[float], None],
    late: str,
) -> T:
    """The first truthy value of a condition that asks AWS.

    Raises:
        CloudError: there is none in time; with `late` for a message.
    """
    try:
        return wait_until(
            condition, timeout=timeout, interval=interval, clock=time.monotonic, sleep=sleep
        )
    except TimeoutError as error:
        raise CloudError("wait", "Timeout", f"{late} ({error})") from error
