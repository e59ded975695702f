"""An S3 server (moto) on a free port of 127.0.0.1, spoken to over HTTP as the real one is.

Each is a process of its own: the buckets of all servers in one process are the same.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3

from mlops_assets_tests.endpoints import until

REGION = "us-east-1"
KEY = "test-key-of-the-peer"
SECRET = "test-secret-of-the-peer"


@dataclass(frozen=True)
class S3:
    """A running server."""

    endpoint: str

    @property
    def storage_options(self) -> dict[str, object]:
        """What fsspec needs to reach it."""
        return {"endpoint_url": self.endpoint, "key": KEY, "secret": SECRET}

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )

    def create_bucket(self, name: str) -> None:
        self.client().create_bucket(Bucket=name)

    def put(self, bucket: str, key: str, body: bytes) -> str:
        """Store an object; return its `s3://` URL."""
        self.client().put_object(Bucket=bucket, Key=key, Body=body)
        return f"s3://{bucket}/{key}"


@contextmanager
def running(address: str = "127.0.0.1") -> Iterator[S3]:
    """One that listens at an address of this machine alone."""
    command = [sys.executable, "-m", "moto.server", "-H", address, "-p", "0"]
    with tempfile.TemporaryFile("a+") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)

        def endpoint() -> str | None:
            log.seek(0)
            said = log.read()
            if server.poll() is not None:
                raise RuntimeError(f"the S3 server ended: {said}")
            found = re.search(r"Running on (http://\S+)", said)
            return found and found.group(1)

        try:
            yield S3(until(endpoint))
        finally:
            server.terminate()
            server.wait(20)
