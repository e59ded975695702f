"""An S3 server (moto) on a free port of 127.0.0.1, spoken to over HTTP as the real one is."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

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
    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3(f"http://{host}:{port}")
    finally:
        server.stop()
