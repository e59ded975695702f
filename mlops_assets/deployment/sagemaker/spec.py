"""Parts of the settings of an endpoint on SageMaker. Pure."""

from typing import Literal

from pydantic import Field

from mlops_assets.experiment.spec import Spec
from mlops_assets.gateways.captures import Captures


class Serverless(Spec):
    """Memory and concurrency instead of instances."""

    memory_mb: Literal[1024, 2048, 3072, 4096, 5120, 6144] = 2048
    """Megabytes of memory."""
    max_concurrency: int = Field(default=20, ge=1, le=200)
    """Requests that are answered at the same time; more are refused."""


class Capture(Spec):
    """SageMaker's own data capture, beside `monitoring.prediction_log`. Windows of an hour or more
    for which the endpoint left no profile are profiled from it."""

    url: str = Field(pattern=r"^s3://[a-z0-9.-]{3,63}/\S+$")
    """S3 prefix that takes requests and answers."""
    percent: int = Field(default=100, ge=1, le=100)
    """Percent of the requests."""

    def of(self, endpoint: str) -> Captures:
        """Where that of one endpoint stands."""
        return Captures(f"{self.url.rstrip('/')}/{endpoint}", self.percent / 100)
