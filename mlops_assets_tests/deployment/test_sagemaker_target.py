"""The target `sagemaker` over endpoints that really serve, on a SageMaker of this machine."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.deployment import releases
from mlops_assets.deployment.journal import Journal
from mlops_assets.deployment.releases import Fetched
from mlops_assets.deployment.rollout import Outcome, roll_out
from mlops_assets.deployment.spec import RolloutSpec
from mlops_assets.deployment.targets.base import Release, TargetContext
from mlops_assets.deployment.targets.sagemaker import SageMaker
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.serving.recording import Recording
from mlops_assets_tests.builders import Built, make_bundle
from mlops_assets_tests.contracts.target import TargetContract
from mlops_assets_tests.peers import aws, sagemaker, sagemaker_container, sagemaker_stand_in
from mlops_assets_tests.peers.aws import Aws

pytestmark = pytest.mark.peer

BUCKET = "data-of-churn"
ENDPOINT = "mlops-churn"
PACE = 0.01
"""How much of the time that is to be waited is waited."""


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("one") / "bundle", seed=0)


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("two") / "bundle", seed=1)


@dataclass
class Site:
    """Who deploys to one SageMaker."""

    aws: Aws
    peer: sagemaker.SageMaker
    root: Path
    variables: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.variables = {**self.aws.credentials, "A_TOKEN": TargetContract.SECRET}
        self.aws.s3.create_bucket(BUCKET)
        self.role = self.aws.role("serving")
        self.store = DataStore(f"s3://{BUCKET}", dict(self.aws.s3.storage_options))

    @property
    def context(self) -> TargetContext:
        return TargetContext(
            state=self.root,
            environment={},
            variables=self.variables,
            now=lambda: datetime.now(UTC),
            sleep=lambda seconds: time.sleep(seconds * PACE),
        )

    @property
    def journal(self) -> Journal:
        return Journal(DataStore(str(self.root / "journal"), {}), "churn", "sagemaker")

    def target(self, **settings: Any) -> SageMaker:
        usual = {"kind": "sagemaker", "role": self.role, "image": "serving:1"}
        return SageMaker(**{**usual, **settings})

    def release(self, built: Built, version: int) -> Release:
        url = releases.archive(self.store, Fetched(version, built.folder, built.digest))
        recording = Recording(
            f"s3://{BUCKET}/profiles", 3600, log_url=f"s3://{BUCKET}/predictions", flush_seconds=0.2
        )
        return Release("churn", version, built.digest, url, recording)

    def deploy(
        self, built: Built, version: int, spec: RolloutSpec | None = None, **settings: Any
    ) -> Outcome:
        return roll_out(
            self.target(**settings),
            self.release(built, version),
            built.folder,
            spec=spec or RolloutSpec(),
            journal=self.journal,
            context=self.context,
            run="test",
            tell=self.told.append,
        )

    def ask(self, built: Built, rows: int = 2, **more: Any) -> dict[str, Any]:
        """As a caller of the endpoint does."""
        answer = self.aws.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=ENDPOINT,
            ContentType="application/json",
            Body=json.dumps({"instances": built.records(rows)}),
            **more,
        )
        return dict(json.loads(answer["Body"].read()))

    def left(self) -> dict[str, list[str]]:
        """Everything there is on SageMaker."""
        client = self.aws.client("sagemaker")
        return {
            "endpoints": [o["EndpointName"] for o in client.list_endpoints()["Endpoints"]],
            "configs": sorted(
                o["EndpointConfigName"] for o in client.list_endpoint_configs()["EndpointConfigs"]
            ),
            "models": sorted(o["ModelName"] for o in client.list_models()["Models"]),
        }

    def is_served_by(self, version: int, endpoint: str = ENDPOINT) -> bool:
        """By this version alone, with nothing left of any other."""
        left = self.left()
        assert left["endpoints"] == [endpoint], left
        assert len(left["configs"]) == 1, left
        assert left["configs"] == left["models"], left
        assert left["models"][0].startswith(f"{endpoint}-v{version}-"), left
        assert len(self.peer.endpoints[endpoint].fleet.variants) == 1
        return True


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with (
        aws.running() as server,
        sagemaker.running(server, program=sagemaker_container.by_variables, moment=0.05) as peer,
    ):
        yield Site(server, peer, tmp_path)
        assert server.broken == []


@pytest.fixture
def light(site: Site) -> Site:
    """The same with a program that starts at once."""
    site.peer.program = sagemaker_stand_in.program
    return site


class TestSageMakerContract(TargetContract):
    kind = "sagemaker"

    @pytest.fixture
    def target(self, site):
        return site.target(environment=("A_TOKEN",))

    @pytest.fixture
    def context(self, site):
        return site.context

    @pytest.fixture
    def builts(self, one, two):
        return one, two

    @pytest.fixture
    def releases(self, site, one, two):
        return site.release(one, 1), site.release(two, 2)


class TestWhereAwsMovesTheTraffic(TestSageMakerContract):
    """The same where a candidate cannot stand beside the stable version."""

    @pytest.fixture(
        params=[
            {"serverless": {"memory_mb": 2048}, "alarms": ("errors",), "bake_s": 5},
            {"canary_percent": 25, "instances": 2, "bake_s": 5},
        ],
        ids=["serverless", "canary"],
    )
    def target(self, light, request):
        return light.target(**request.param)
