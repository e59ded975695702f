"""Functions on the Lambda peer for tests, and who deploys there."""

import json
import shutil
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from mlops_assets.deployment import distributions
from mlops_assets.deployment.aws_lambda import package as lambda_package
from mlops_assets.deployment.aws_lambda.package import Package
from mlops_assets.deployment.aws_lambda.spec import name_of
from mlops_assets.deployment.targets.aws_lambda import AwsLambda
from mlops_assets.deployment.targets.base import Release, TargetContext
from mlops_assets.serving import bundle as bundles
from mlops_assets.serving.recording import Recording
from mlops_assets_tests.builders import Built
from mlops_assets_tests.deployment.deployer import Deployer, calling
from mlops_assets_tests.peers import aws, aws_lambda, emulator
from mlops_assets_tests.peers.aws import Aws
from mlops_assets_tests.peers.aws_lambda import Lambdas
from mlops_assets_tests.peers.containers import Containers

NAME = "mlops-churn"
RUNTIME = f"python{sys.version_info[0]}.{sys.version_info[1]}"
"""What the peer runs functions with."""
BUCKET = "code-of-functions"

LIGHT = """
import json, os, time
from pathlib import Path

GOLDEN = json.loads((Path(__file__).parents[2] / "bundle" / "golden.json").read_text())
HARM = os.environ.get("HARM", "")
if HARM == "init":
    raise RuntimeError("it does not load")

def handler(event, context):
    if event["rawPath"] == "/v2/health/ready":
        return {"statusCode": 200, "body": "{}"}
    if HARM == "slow":
        time.sleep(0.08)
    if HARM == "error" and "x-mlops-probe" not in event["headers"]:
        raise ValueError("not that")
    if HARM == "wrong":
        return {"statusCode": 200, "body": json.dumps({"predictions": [], "version": "9"})}
    if HARM == "timeout":
        time.sleep(30)
    if HARM == "memory":
        kept = bytearray(b"x") * (600 * 1024 * 1024)
    return {"statusCode": 200, "headers": {"x-request-id": "r-1"}, "body": json.dumps({
        "predictions": GOLDEN["predictions"], "probabilities": GOLDEN.get("probabilities"),
        "version": os.environ["MLOPS_VERSION"]})}
"""
"""Answers as the program on an endpoint does, from what it should say; starts in no time."""


def light(target: Path, bundle: Path, **_: Any) -> Package:
    """In place of `lambda_package.build`."""
    bundles.verify(bundle)
    with zipfile.ZipFile(target, "w") as archive:
        for path in ("mlops_assets/__init__.py", "mlops_assets/serving/__init__.py"):
            archive.writestr(zipfile.ZipInfo(path), "")
        archive.writestr(zipfile.ZipInfo("mlops_assets/serving/aws_lambda.py"), LIGHT)
        golden = (bundle / bundles.GOLDEN).read_text()
        archive.writestr(zipfile.ZipInfo("bundle/golden.json"), golden)
    return _package(target)


def kept(folder: Path) -> Callable[..., Package]:
    """`lambda_package.build`, which builds once; other bundles take the place of the first one."""
    build = lambda_package.build

    def built(target: Path, bundle: Path, **rest: Any) -> Package:
        bundles.verify(bundle)
        first, own = folder / "first.zip", folder / f"{bundles.digest(bundle)}.zip"
        if not first.exists():
            build(first, bundle, **rest)
        if not own.exists():
            shutil.copy(first, own)
            _exchange(own, bundle)
        shutil.copy(own, target)
        return _package(target)

    return built


def _exchange(path: Path, bundle: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        for entry in [one for one in archive.filelist if one.filename.startswith("bundle/")]:
            archive.filelist.remove(entry)
            del archive.NameToInfo[entry.filename]
        for file in sorted(bundle.iterdir()):
            entry = zipfile.ZipInfo(f"bundle/{file.name}")
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes())


def _package(path: Path) -> Package:
    import base64
    import hashlib

    content = path.read_bytes()
    sha256 = base64.b64encode(hashlib.sha256(content).digest()).decode()
    return Package(path, sha256, len(content), unzipped=0, compiled=True)


@contextmanager
def packing(build: Callable[..., Package]) -> Iterator[None]:
    """With another way to build, for the Python and the C library of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(lambda_package.GLIBC, RUNTIME, distributions.Platform.here().glibc)
        patch.setattr(lambda_package, "build", build)
        yield


@dataclass(frozen=True)
class Cloud:
    """A server, its Lambda, and a role of functions."""

    server: Aws
    peer: Lambdas
    role: str


@contextmanager
def clouds(containers: Containers | None = None) -> Iterator[Cloud]:
    """A cloud with the bucket that functions may use; with containers, of images too."""
    try:
        emulator.fetched()
    except emulator.UnavailableError as error:
        pytest.skip(str(error))
    with (
        aws.running() as server,
        aws_lambda.running(server, settling=0.0, containers=containers) as peer,
    ):
        server.s3.create_bucket(BUCKET)
        yield Cloud(server, peer, server.role("of-functions"))


@dataclass(kw_only=True)
class Site(Deployer):
    """A function on the peer, and whoever deploys it."""

    cloud: Cloud
    attempts: int = 5
    environment: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def server(self) -> Aws:
        return self.cloud.server

    @property
    def peer(self) -> Lambdas:
        return self.cloud.peer

    @property
    def function(self) -> str:
        return name_of(self.name)

    def functions(self) -> list[str]:
        """Those of this site that are there."""
        known = [one.function_name for one in self.peer.backend.list_functions()]
        return [name for name in known if name == self.function]

    @property
    def client(self) -> Any:
        return self.server.client("lambda")

    @property
    def context(self) -> TargetContext:
        known = {**self.server.credentials, "AWS_MAX_ATTEMPTS": str(self.attempts)}
        return TargetContext(
            state=self.root / "state",
            environment=self.environment,
            variables={**known, **self.variables},
            now=lambda: datetime.now(UTC),
            sleep=lambda seconds: time.sleep(min(seconds, 0.05)),
        )

    def target(self, **settings: Any) -> AwsLambda:
        usual = {
            "role": self.cloud.role,
            "runtime": RUNTIME,
            "function_url": "none",
            "bucket": BUCKET,
        }
        return AwsLambda(kind="aws_lambda", **{**usual, "startup_timeout_s": 20, **settings})

    def release(self, built: Built, version: int) -> Release:
        recording = Recording(f"s3://{BUCKET}/profiles", 3600)
        return Release(self.name, version, built.digest, "", recording)

    def versions(self) -> dict[str, int]:
        """Numbers of what is published, and which version of ours each is."""
        listed = self.client.list_versions_by_function(FunctionName=self.function)["Versions"]
        return {
            one["Version"]: json.loads(one["Description"])["version"]
            for one in listed
            if one["Version"] != "$LATEST"
        }

    def leads_to(self) -> dict[str, float]:
        """The alias's weights."""
        alias = self.client.get_alias(FunctionName=self.function, Name="live")
        weights = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
        return {alias["FunctionVersion"]: 1 - sum(weights.values()), **weights}

    def clear(self) -> None:
        """Remove the function, and what was to go wrong."""
        self.server.faults.clear()
        self.peer.settling = 0.0
        for name in self.functions():
            self.client.delete_function(FunctionName=name)
        # The peer numbers the versions of another function of that name anew; AWS never does.
        self.peer.metrics.embedded.forget()

    def versions_answering(self, url: str, requests: int) -> Counter[str]:
        """Who answers callers at the URL; what fails is counted by its status."""
        seen: Counter[str] = Counter()
        with httpx.Client(timeout=60, trust_env=False) as asking:
            for _ in range(requests):
                answer = asking.post(f"{url}/invocations", json={"instances": []})
                ok = answer.status_code == 200
                seen[answer.json()["version"] if ok else str(answer.status_code)] += 1
        return seen

    def load(self, url: str) -> AbstractContextManager[Counter[str]]:
        """A caller that does not end before the block does."""
        return calling(lambda seen: seen.update(self.versions_answering(url, 5)))
