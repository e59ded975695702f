"""Who deploys to a SageMaker of this machine, for the tests of the target `sagemaker`."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from mlops_assets.deployment import releases
from mlops_assets.deployment.releases import Fetched
from mlops_assets.deployment.targets.base import Release, TargetContext
from mlops_assets.deployment.targets.sagemaker import SageMaker
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.monitoring import profiles
from mlops_assets.serving.recording import Recording
from mlops_assets_tests.builders import Built
from mlops_assets_tests.contracts.target import TargetContract
from mlops_assets_tests.deployment.deployer import Deployer, calling
from mlops_assets_tests.endpoints import until
from mlops_assets_tests.peers import aws, sagemaker, sagemaker_container
from mlops_assets_tests.peers.aws import Aws

BUCKET = "data-of-churn"
ENDPOINT = "mlops-churn"
PACE = 0.01
"""How much of the time that is to be waited is waited."""


@dataclass(kw_only=True)
class Site(Deployer):
    """Who deploys to one SageMaker."""

    aws: Aws
    peer: sagemaker.SageMaker
    variables: dict[str, str] = field(default_factory=dict)
    on_told: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        self.variables = {**self.aws.credentials, "A_TOKEN": TargetContract.SECRET}
        self.aws.s3.create_bucket(BUCKET)
        self.role = self.aws.role("serving")
        self.runtime = self.aws.client("sagemaker-runtime")
        self.control = self.aws.client("sagemaker")
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

    def target(self, **settings: Any) -> SageMaker:
        usual = {"kind": "sagemaker", "role": self.role, "image": "serving:1"}
        return SageMaker(**{**usual, **settings})

    def release(self, built: Built, version: int) -> Release:
        url = releases.archive(self.store, Fetched(version, built.folder, built.digest))
        recording = Recording(
            f"s3://{BUCKET}/profiles", 3600, log_url=f"s3://{BUCKET}/predictions", flush_seconds=1
        )
        return Release("churn", version, built.digest, url, recording)

    def tell(self, line: str) -> None:
        super().tell(line)
        self.on_told(line)

    def ask(self, built: Built, rows: int = 2, **more: Any) -> dict[str, Any]:
        """As a caller of the endpoint does."""
        answer = self.runtime.invoke_endpoint(
            EndpointName=ENDPOINT,
            ContentType="application/json",
            Body=json.dumps({"instances": built.records(rows)}),
            **more,
        )
        return dict(json.loads(answer["Body"].read()))

    def left(self) -> dict[str, list[str]]:
        """Everything there is on SageMaker."""
        asked = self.control
        return {
            "endpoints": [o["EndpointName"] for o in asked.list_endpoints()["Endpoints"]],
            "configs": sorted(
                o["EndpointConfigName"] for o in asked.list_endpoint_configs()["EndpointConfigs"]
            ),
            "models": sorted(o["ModelName"] for o in asked.list_models()["Models"]),
        }

    def is_served_by(self, version: int) -> bool:
        """By this version alone, with nothing left of any other."""
        left = self.left()
        assert left["endpoints"] == [ENDPOINT], left
        assert len(left["configs"]) == 1, left
        assert left["configs"] == left["models"], left
        assert left["models"][0].startswith(f"{ENDPOINT}-v{version}-"), left
        assert len(self.peer.endpoints[ENDPOINT].fleet.variants) == 1
        return True

    def alarm(self, state: str) -> None:
        """The CloudWatch alarm `errors`, which is then OK or in ALARM."""
        client = self.aws.client("cloudwatch")
        client.put_metric_alarm(
            AlarmName="errors",
            EvaluationPeriods=1,
            ComparisonOperator="GreaterThanThreshold",
            Threshold=1,
            MetricName="Invocation5XXErrors",
            Namespace="AWS/SageMaker",
            Period=60,
            Statistic="Sum",
        )
        client.set_alarm_state(AlarmName="errors", StateValue=state, StateReason="test")

    def profiled(self) -> Counter[str]:
        """Rows in the profiles that have reached the store, by version."""
        rows: Counter[str] = Counter()
        for path in self.store.files("profiles"):
            view = profiles.deserialize(self.store.read_bytes(self.store.at(f"profiles/{path}")))
            rows[view.metadata["version"]] += profiles.rows(view)
        return rows

    def callers(self, built: Built) -> AbstractContextManager[Counter[str]]:
        """Somebody asks all the time; what they were answered, by version or error."""

        def call(seen: Counter[str]) -> None:
            try:
                seen[str(self.ask(built)["version"])] += 1
            except ClientError as error:
                seen[error.response["Error"]["Code"]] += 1

        return calling(call)

    @contextmanager
    def meanwhile(self, condition: Callable[[], Any], act: Callable[[], None]) -> Iterator[None]:
        """Do something once something holds."""
        thread = threading.Thread(target=lambda: (until(condition, 60), act()))
        thread.start()
        try:
            yield
        finally:
            thread.join(70)


@contextmanager
def running(
    root: Path, program: sagemaker_container.Program = sagemaker_container.by_variables
) -> Iterator[Site]:
    with aws.running() as server, sagemaker.running(server, program=program, moment=0.05) as peer:
        yield Site(aws=server, peer=peer, root=root)
        assert server.broken == []
