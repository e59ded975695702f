"""The settings of a function on AWS Lambda, and the manifest they make of a release. Pure."""

from dataclasses import asdict
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from mlops_assets.deployment.aws_lambda import code as lambda_code
from mlops_assets.deployment.aws_lambda.package import Runtime
from mlops_assets.deployment.distributions import Machine
from mlops_assets.deployment.targets.base import (
    Manifest,
    Release,
    Target,
    TargetContext,
    TargetError,
)
from mlops_assets.gateways.images import VersionImages, filled

LONGEST_NAME = 64
AUTH = {"iam": "AWS_IAM", "none": "NONE"}


def _passable(name: str) -> str:
    if lambda_code.RESERVED.match(name):
        raise ValueError(f"{name} is set by Lambda itself; the role says what a function may do")
    return name


Variable = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$"), AfterValidator(_passable)]


class LambdaSpec(Target):
    """What a YAML says of a function."""

    role: str = Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/\S+$")
    """ARN of the role the function runs under: its logs, and the store of profiles."""
    region: str | None = Field(default=None, pattern=r"^[a-z]{2}[a-z-]*-\d$")
    """Where; by default what the environment says."""
    packaging: Literal["zip", "image"] = "zip"
    """`zip` is built here; an `image` (`make lambda-image`) brings the serving room, the bundle and
    Lambda's client."""
    image: str | None = Field(default=None, min_length=1)
    """URI in ECR, for `image`; `{version}` and `{digest}` stand for the model's version and its
    bundle's digest."""
    bucket: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    """Takes a zip above 50 MB for as long as it is sent; smaller ones need none."""
    packages: tuple[str, ...] = ()
    """Distributions in the zip that an estimator needs beyond scikit-learn, as `lightgbm`."""
    runtime: Runtime = "python3.12"
    """Lambda's Python. Wheels for it are fetched where this environment has another one."""
    architecture: Machine = "x86_64"
    """Processors of the function."""
    memory_mb: int = Field(default=1024, ge=128, le=10_240)
    """Megabytes; processors come in proportion, a whole one with 1769."""
    timeout_s: int = Field(default=30, ge=1, le=900)
    """Seconds an answer may take, the start of an environment not counted."""
    provisioned_concurrency: int | None = Field(default=None, ge=1, le=10_000)
    """Environments that wait, started, of the live version; they cost while they wait."""
    reserved_concurrency: int | None = Field(default=None, ge=1, le=10_000)
    """Environments at the same time at most, kept free for this function. None: the account's."""
    function_url: Literal["iam", "none"] = "iam"
    """Whom its URL lets in: callers with a signature of IAM, or `none` to ask for no signature."""
    environment: tuple[Variable, ...] = ()
    """Names of variables that the function gets with the values they have where deployments run."""
    startup_timeout_s: float = Field(default=180.0, ge=1, le=3600)
    """Seconds for each thing Lambda takes its time for: a changed function, a started version."""

    splits: ClassVar[bool] = True
    needs_archive: ClassVar[bool] = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.packaging == "image") != (self.image is not None):
            raise ValueError("packaging image needs an image, and packaging zip has none")
        provisioned, reserved = self.provisioned_concurrency, self.reserved_concurrency
        if provisioned and reserved and reserved < 2 * provisioned:
            raise ValueError(
                f"reserved_concurrency ({reserved}) is below twice provisioned_concurrency "
                f"({provisioned}): two versions are there while one takes over"
            )
        return self

    def render(self, release: Release, context: TargetContext) -> Manifest:
        recording = asdict(release.recording)
        if {"", "file", "local"} & {*lambda_code.stores(recording)}:
            raise TargetError(
                f"a function cannot write to {recording['profiles_url']}: set MLOPS_DATA_URL to a "
                "store that it reaches, as s3://bucket/folder"
            )
        name = name_of(release.experiment)
        if len(name) > LONGEST_NAME:
            raise TargetError(f"{name} is longer than the {LONGEST_NAME} letters Lambda takes")
        return {
            "experiment": release.experiment,
            "version": release.version,
            "bundle_digest": release.bundle_digest,
            "function": name,
            "region": self.region,
            "role": self.role,
            "image": self.image and filled(self.image, release.version, release.bundle_digest),
            "bucket": self.bucket,
            "packages": list(self.packages),
            "runtime": self.runtime,
            "architecture": self.architecture,
            "memory_mb": self.memory_mb,
            "timeout_s": self.timeout_s,
            "provisioned_concurrency": self.provisioned_concurrency,
            "reserved_concurrency": self.reserved_concurrency,
            "auth": AUTH[self.function_url],
            "environment": list(self.environment),
            "key_env": self.key_env,
            "recording": recording,
        }

    def images(self, context: TargetContext) -> VersionImages | None:
        return VersionImages.of(self.image, context.variables) if self.image else None


def name_of(experiment: str) -> str:
    return f"mlops-{experiment.replace('_', '-')}"
