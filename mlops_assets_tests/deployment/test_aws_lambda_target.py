"""The target for AWS Lambda: real packages under AWS's emulator, behind a peer of its API."""

import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from mlops_assets.deployment import lambda_package
from mlops_assets.deployment.distributions import Platform
from mlops_assets.deployment.journal import Journal
from mlops_assets.deployment.lambda_package import Package
from mlops_assets.deployment.rollout import Outcome, roll_out
from mlops_assets.deployment.spec import RolloutSpec
from mlops_assets.deployment.targets.aws_lambda import AwsLambda
from mlops_assets.deployment.targets.base import Manifest, Release, TargetContext, TargetError
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.serving.recording import Recording
from mlops_assets_tests.builders import Built, make_bundle
from mlops_assets_tests.contracts.target import TargetContract
from mlops_assets_tests.peers import aws, aws_lambda, emulator
from mlops_assets_tests.peers.aws import Aws

pytestmark = pytest.mark.peer

NAME = "mlops-churn"


class Here(AwsLambda):
    """With packages for this machine, whose Python the emulator runs; each is built once."""

    packages: Any = None

    def package(self, manifest: Manifest, bundle: Path, target: Path) -> Package:
        digest = manifest["bundle_digest"]
        if digest not in self.packages:
            where = self.packages["folder"] / f"{digest}.zip"
            self.packages[digest] = lambda_package.build(where, bundle, where=Platform.here())
        return self.packages[digest]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> tuple[Built, Built]:
    folder = tmp_path_factory.mktemp("bundles")
    first, second = (make_bundle(folder / f"{seed}", seed=seed) for seed in (0, 1))
    return first, second


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> dict[str, Any]:
    return {"folder": tmp_path_factory.mktemp("packages")}


@pytest.fixture(scope="module")
def server():
    try:
        emulator.fetched()
    except emulator.UnavailableError as error:
        pytest.skip(str(error))
    with aws.running() as running:
        yield running


@pytest.fixture
def lambdas(server):
    with aws_lambda.running(server, settling=0.05, provisioning=0.1) as running:
        yield running
        for known in running.backend.list_functions():
            server.client("lambda").delete_function(FunctionName=known.function_name)


@pytest.fixture
def context(server, lambdas, tmp_path) -> TargetContext:
    return TargetContext(
        state=tmp_path / "state",
        environment={"AWS_ENDPOINT_URL": server.endpoint},
        variables={**server.credentials, "A_TOKEN": TargetContract.SECRET, "KEYS": "one,two"},
        now=lambda: datetime.now(UTC),
        sleep=lambda seconds: time.sleep(min(seconds, 0.05)),
    )


@pytest.fixture(scope="module")
def role(server) -> str:
    return server.role("mlops-endpoint")


@pytest.fixture
def target(role, packages) -> AwsLambda:
    return Here(
        kind="aws_lambda",
        role=role,
        callers="public",
        packages=packages,
        pass_on=("A_TOKEN",),
        startup_timeout_s=40,
    )


def release(built: Built, version: int) -> Release:
    return Release("churn", version, built.digest, "", Recording("/nowhere", 3600))


class TestLambdaContract(TargetContract):
    kind = "aws_lambda"

    @pytest.fixture
    def target(self, target):
        return target

    @pytest.fixture
    def context(self, context):
        return context

    @pytest.fixture
    def builts(self, bundles):
        return bundles

    @pytest.fixture
    def releases(self, bundles):
        return release(bundles[0], 1), release(bundles[1], 2)


@dataclass(repr=False)
class Site:
    """A target with its journal, and what is on AWS."""

    server: Aws
    target: AwsLambda
    context: TargetContext
    bundles: tuple[Built, Built]
    journal: Journal

    def deploy(self, version: int, spec: RolloutSpec | None = None) -> Outcome:
        built = self.bundles[(version - 1) % 2]
        return roll_out(
            self.target,
            release(built, version),
            built.folder,
            spec=spec or RolloutSpec(),
            journal=self.journal,
            context=self.context,
            run="test",
            tell=lambda _: None,
        )

    @property
    def versions(self) -> list[int]:
        """Of ours, as Lambda lists them."""
        client = self.server.client("lambda")
        found = client.list_versions_by_function(FunctionName=NAME)["Versions"]
        return [int(one["Description"].split('"version":')[1].split(",")[0]) for one in found[1:]]

    def answered(self, url: str, requests: int) -> Counter[str]:
        """Versions that answer callers of the function URL."""
        found: Counter[str] = Counter()
        body = {"instances": self.bundles[0].records(1)}
        with httpx.Client(timeout=60, trust_env=False) as client:
            for _ in range(requests):
                answer = client.post(f"{url}/invocations", json=body)
                assert answer.status_code == 200, answer.text
                found[answer.json()["version"]] += 1
        return found


@pytest.fixture
def site(server, target, context, bundles, tmp_path) -> Site:
    journal = Journal(DataStore(str(tmp_path / "data"), {}), "churn", "aws_lambda")
    return Site(server, target, context, bundles, journal)


def test_callers_meet_both_versions_in_the_shares_asked_for(site: Site) -> None:
    live = site.deploy(1).endpoint
    assert site.answered(live.url, 3) == {"1": 3}
    manifest = site.target.render(release(site.bundles[1], 2), site.context)
    site.target.apply(manifest, site.bundles[1].folder, site.context)
    assert site.answered(live.url, 10) == {"1": 10}, "a candidate without traffic was asked"
    site.target.shift(manifest, 0.25, site.context)
    observed = site.target.observe("churn", site.context)
    assert (observed.version, observed.traffic) == (1, {"1": 0.75, "2": 0.25})
    found = site.answered(live.url, 200)
    assert 25 <= found["2"] <= 77, found  # 50, four standard deviations to each side
    site.target.rollback(manifest, site.context)
    assert site.answered(live.url, 20) == {"1": 20}
    assert site.versions == [1]


def test_the_version_before_is_kept_and_older_ones_are_not(site: Site) -> None:
    for version in (1, 2, 3):
        site.deploy(version)
    assert site.versions == [2, 3]
    back = site.deploy(2).endpoint
    assert (back.version, back.previous_version) == (2, 3)


def test_keys_are_asked_for_and_stand_in_no_manifest(site: Site) -> None:
    locked = site.target.model_copy(update={"key_env": "KEYS"})
    keyed = Site(site.server, locked, site.context, site.bundles, site.journal)
    live = keyed.deploy(1).endpoint
    body = {"instances": site.bundles[0].records(1)}
    assert httpx.post(f"{live.url}/invocations", json=body, timeout=60).status_code == 401
    bearer = {"authorization": "Bearer two"}
    answer = httpx.post(f"{live.url}/invocations", json=body, headers=bearer, timeout=60)
    assert answer.status_code == 200
    assert "one,two" not in str(locked.render(release(site.bundles[0], 1), site.context))
    rotated = replace(site.context, variables={**site.context.variables, "KEYS": "three"})
    manifest = locked.render(release(site.bundles[0], 1), rotated)
    assert locked.serves(manifest, site.context) is not None
    assert locked.serves(manifest, rotated) is None, "another key is another deployment"


@pytest.mark.parametrize("operation", ["UpdateFunctionCode", "PublishVersion"])
def test_an_answer_that_is_lost_leaves_the_old_version_and_a_second_try_converges(
    site: Site, operation: str
) -> None:
    live = site.deploy(1).endpoint
    site.server.lose(operation, times=20)
    with pytest.raises(TargetError):
        site.deploy(2)
    site.server.faults.clear()
    assert site.answered(live.url, 3) == {"1": 3}
    assert site.deploy(2).endpoint.version == 2
    assert site.answered(live.url, 3) == {"2": 3}
    assert set(site.versions) == {1, 2}
