"""A function on AWS Lambda: each version published, an alias that callers use between them."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from mlops_assets.deployment import lambda_package
from mlops_assets.deployment.distributions import PackageError
from mlops_assets.deployment.lambda_alias import Alias
from mlops_assets.deployment.lambda_function import Function, Published
from mlops_assets.deployment.lambda_package import Package
from mlops_assets.deployment.targets.base import (
    Manifest,
    Release,
    Target,
    TargetContext,
    TargetError,
    Traffic,
)
from mlops_assets.gateways.aws import CloudError, Service
from mlops_assets.gateways.records import Endpoint
from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.client import Answer
from mlops_assets.serving.recording import Recording

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class AwsLambda(Target):
    """An endpoint on AWS Lambda, reached by a function URL."""

    splits: ClassVar[bool] = True
    needs_archive: ClassVar[bool] = False

    kind: Literal["aws_lambda"]
    """`aws_lambda`."""
    role: str = Field(pattern=r"^arn:[\w-]+:iam::\d{12}:role/.+$")
    """ARN of the role that the function runs under."""
    region: str | None = None
    """By default that of the environment."""
    image: str | None = None
    """URI of a container image in ECR with the model baked in, instead of a zip made here."""
    runtime: Literal["python3.12"] = "python3.12"
    """Python of the function; the libraries need a newer system than that of python3.11."""
    architecture: Literal["x86_64", "arm64"] = "x86_64"
    """Processor of the function."""
    memory_mb: int = Field(default=1024, ge=128, le=10_240)
    """Megabytes; the share of a processor grows with them."""
    timeout_s: int = Field(default=30, ge=1, le=900)
    """Seconds a request may take."""
    reserved_concurrency: int | None = Field(default=None, ge=1, le=100_000)
    """Requests that may be answered at the same time, at most. None: what the account has left."""
    provisioned_concurrency: int | None = Field(default=None, ge=1, le=10_000)
    """Instances kept warm. None: the first request of each instance waits for its start."""
    callers: Literal["iam", "public"] = "iam"
    """Who may use the function URL: those whom AWS's permissions allow, or everybody, who needs a
    key where `key_env` is set."""
    bucket: str | None = Field(default=None, pattern=r"^[a-z0-9.-]{3,63}$")
    """For zips that are too large to be sent with a call."""
    pass_on: tuple[Name, ...] = ()
    """Variables of the environment of deployments that the function gets too."""
    startup_timeout_s: float = Field(default=300.0, ge=1, le=3600)
    """Seconds a new version has until it answers."""

    def render(self, release: Release, context: TargetContext) -> Manifest:
        recording = _recorded(release.recording)
        return {
            "experiment": release.experiment,
            "version": release.version,
            "bundle_digest": release.bundle_digest,
            "function": function_name(release.experiment),
            "role": self.role,
            "image": self.image,
            "runtime": self.runtime,
            "architecture": self.architecture,
            "memory_mb": self.memory_mb,
            "timeout_s": self.timeout_s,
            "reserved_concurrency": self.reserved_concurrency,
            "provisioned_concurrency": self.provisioned_concurrency,
            "callers": self.callers,
            "environment": {
                "MLOPS_VERSION": str(release.version),
                "MLOPS_BUNDLE_DIGEST": release.bundle_digest,
                **({} if recording is None else {"MLOPS_RECORDING": recording}),
            },
            "pass_on": list(self.pass_on),
            "key_env": self.key_env,
        }

    def apply(self, manifest: Manifest, bundle: Path, context: TargetContext) -> None:
        function, mark = (
            self._function(manifest["experiment"], context),
            self._mark(manifest, context),
        )
        secrets = self._secrets(context)
        with _told(), TemporaryDirectory() as folder:
            if function.find(mark) is None:
                try:
                    target = Path(folder) / "function.zip"
                    package = None if self.image else self.package(manifest, bundle, target)
                except (PackageError, BundleError) as error:
                    raise TargetError(f"the function's package cannot be built: {error}") from error
                function.publish(manifest, package, secrets, mark, bucket=self.bucket)
            published = function.find(mark)
            if published is None:
                raise TargetError(f"{manifest['function']} was published and is not there")
            function.warm(published, manifest["provisioned_concurrency"])

    def ask(
        self,
        experiment: str,
        version: int,
        records: Sequence[Mapping[str, Any]],
        context: TargetContext,
    ) -> Answer:
        function = self._function(experiment, context)
        with _told():
            found = [one for one in function.versions() if one.version == version]
            if not found:
                raise TargetError(f"version {version} of {experiment} is not on Lambda")
            body = json.dumps({"dataframe_records": list(records)})
            return function.ask(found[-1], body, self.key(context))

    def shift(self, manifest: Manifest, share: float, context: TargetContext) -> float:
        function, mark = (
            self._function(manifest["experiment"], context),
            self._mark(manifest, context),
        )
        with _told():
            published = function.find(mark)
            if published is None:
                raise TargetError(f"version {manifest['version']} is not on Lambda")
            Alias(function).route(published, share, manifest)
        return share

    def settle(self, manifest: Manifest, context: TargetContext) -> Endpoint:
        function, mark = (
            self._function(manifest["experiment"], context),
            self._mark(manifest, context),
        )
        with _told():
            published = function.find(mark)
            if published is None:
                raise TargetError(f"version {manifest['version']} is not on Lambda")
            Alias(function).settle(published, manifest, context.now())
            found = Alias(function).observe()
        if found is None:
            raise TargetError(f"{manifest['function']} has no alias after it was settled")
        return found

    def rollback(self, manifest: Manifest, context: TargetContext) -> Endpoint | None:
        function, mark = (
            self._function(manifest["experiment"], context),
            self._mark(manifest, context),
        )
        with _told():
            Alias(function).give_back(mark)
            return Alias(function).observe()

    def measure(
        self, experiment: str, slower_than: float, context: TargetContext
    ) -> Mapping[int, Traffic]:
        with _told():
            return Alias(self._function(experiment, context)).measure(slower_than, context.now())

    def observe(self, experiment: str, context: TargetContext) -> Endpoint | None:
        with _told():
            return Alias(self._function(experiment, context)).observe()

    def serves(self, manifest: Manifest, context: TargetContext) -> Endpoint | None:
        function, mark = (
            self._function(manifest["experiment"], context),
            self._mark(manifest, context),
        )
        with _told():
            return Alias(function).observe() if Alias(function).is_settled(mark) else None

    def retire(self, experiment: str, context: TargetContext) -> Endpoint | None:
        function = self._function(experiment, context)
        with _told():
            Alias(function).stop()
            return Alias(function).observe()

    def _function(self, experiment: str, context: TargetContext) -> Function:
        environment = {**context.variables, **context.environment}
        services = {
            name: Service(name, region=self.region, environment=environment)
            for name in ("lambda", "cloudwatch", "s3")
        }
        return Function(
            experiment,
            function_name(experiment),
            services,
            sleep=context.sleep,
            patience=self.startup_timeout_s,
        )

    def _secrets(self, context: TargetContext) -> dict[str, str]:
        """Variables of the function that stand in no manifest."""
        passed = {
            name: context.variables[name] for name in self.pass_on if name in context.variables
        }
        if missing := [name for name in self.pass_on if name not in passed]:
            raise TargetError(f"pass_on: the environment variable {missing[0]} is not set")
        if self.key(context) is not None:
            passed["MLOPS_KEYS"] = context.variables[str(self.key_env)]
        # What the S3 client of the function needs to find a store that is not AWS's own.
        return {**context.environment, **passed}

    def _mark(self, manifest: Manifest, context: TargetContext) -> Published:
        """What the version is known by on AWS; another secret is another version."""
        content = json.dumps([manifest, self._secrets(context)], sort_keys=True)
        fingerprint = hashlib.sha256(content.encode()).hexdigest()[:16]
        return Published("", manifest["version"], manifest["bundle_digest"], fingerprint, "")

    def package(self, manifest: Manifest, bundle: Path, target: Path) -> Package:
        """The function's code with the bundle in it, written to `target`.

        Raises:
            PackageError: it cannot be built.
            BundleError: the bundle is not intact.
        """
        where = lambda_package.platform_of(self.runtime, self.architecture)
        stores = ("s3",) if "s3://" in manifest["environment"].get("MLOPS_RECORDING", "") else ()
        return lambda_package.build(target, bundle, where=where, stores=stores)


@contextmanager
def _told() -> Iterator[None]:
    """What AWS refused, as an error of the target."""
    try:
        yield
    except CloudError as error:
        raise TargetError(f"AWS: {error}") from error


def _recorded(recording: Recording) -> str | None:
    """For the function's environment; None when the store is a folder it cannot reach."""
    urls = (recording.profiles_url, recording.log_url)
    if not any(url and "://" in url for url in urls):
        return None
    return json.dumps(asdict(recording), sort_keys=True)


def function_name(experiment: str) -> str:
    return f"mlops-{experiment.replace('_', '-')}"
