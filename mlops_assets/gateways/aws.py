"""AWS behind our own words: a client for one service, its errors, and waiting. Knows no stage."""

import time
from collections.abc import Callable, Mapping
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
    """

    def __init__(self, operation: str, code: str, message: str) -> None:
        self.code = code
        super().__init__(f"{operation}: {code and f'{code}: '}{message}")


class Service:
    """One service of AWS. Operations are methods of `call`, by AWS's names in snake case."""

    def __init__(self, name: str, *, region: str | None, environment: Mapping[str, str]) -> None:
        """
        Args:
            name: as boto3 has it.
            region: None takes that of the environment.
            environment: AWS's own variables: keys, region, endpoint.
        """
        self.name = name
        self._region = (
            region or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
        )
        self._environment = environment
        self._made: Any = None

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """The answer of AWS, after as many attempts as are safe.

        Raises:
            CloudError: it refused, or did not answer.
        """
        from botocore.exceptions import (  # type: ignore[import-untyped]
            BotoCoreError,
            ClientError,
        )

        try:
            answer: dict[str, Any] = getattr(self._client, operation)(**parameters)
        except ClientError as error:
            said = error.response.get("Error", {})
            raise CloudError(operation, said.get("Code", ""), said.get("Message", "")) from error
        except BotoCoreError as error:
            raise CloudError(operation, "", str(error)) from error
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
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            pages = self._client.get_paginator(operation).paginate(**parameters)
            return [one for page in pages for one in page[key]]
        except ClientError as error:
            said = error.response.get("Error", {})
            raise CloudError(operation, said.get("Code", ""), said.get("Message", "")) from error
        except BotoCoreError as error:
            raise CloudError(operation, "", str(error)) from error

    @property
    def _client(self) -> Any:
        if self._made is None:
            import boto3
            from botocore.config import Config  # type: ignore[import-untyped]

            key, secret, token = (self._environment.get(name) for name in CREDENTIALS)
            session = boto3.Session(
                aws_access_key_id=key,
                aws_secret_access_key=secret,
                aws_session_token=token,
                region_name=self._region,
            )
            config = Config(
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS}, read_timeout=TIMEOUT
            )
            endpoint = self._environment.get("AWS_ENDPOINT_URL")
            self._made = session.client(self.name, config=config, endpoint_url=endpoint)
        return self._made


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
