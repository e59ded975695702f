"""SageMaker endpoints that really serve: moto keeps models and configurations, the endpoints are
processes with the model's archive from moto's S3.

Statuses, blue/green updates with alarms, weights and errors are as AWS documents them, with its
waits shortened by `pace`. As on AWS, a configuration can be deleted while an endpoint uses it, and
then that endpoint can no longer be updated.
"""

import random
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from moto.cloudwatch.models import cloudwatch_backends
from moto.sagemaker.models import SageMakerModelBackend, sagemaker_backends

from mlops_assets_tests.peers import sagemaker_container
from mlops_assets_tests.peers.aws import Aws, AwsError
from mlops_assets_tests.peers.aws_call import Call
from mlops_assets_tests.peers.s3 import REGION
from mlops_assets_tests.peers.sagemaker_container import Program
from mlops_assets_tests.peers.sagemaker_endpoint import Endpoint
from mlops_assets_tests.peers.sagemaker_metrics import Metrics
from mlops_assets_tests.peers.sagemaker_runtime import Runtime

IDLE = ("InService", "Failed", "UpdateRollbackFailed")
ANY_INSTANCE = "ml.m5.large"
"""One that moto knows; it knows only old ones."""


@dataclass
class SageMaker:
    """SageMaker of one server."""

    aws: Aws
    folder: Path
    program: Program
    seed: int
    pace: float
    """What a second of AWS takes here."""
    moment: float
    """Seconds that deleting and changing weights take."""
    health_seconds: float
    """How long a container may take until it answers /ping."""
    rollback_fails: bool = False
    """The next roll-back leaves both fleets, as AWS's `UpdateRollbackFailed`."""
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.metrics = Metrics(self)
        self.runtime = Runtime(self)
        for operation, method in {
            "CreateModel": self._create_model,
            "CreateEndpointConfig": self._create_config,
            "CreateEndpoint": self._create,
            "UpdateEndpoint": self._update,
            "UpdateEndpointWeightsAndCapacities": self._update_weights,
            "DescribeEndpoint": lambda call: self.found(call).description(),
            "ListEndpoints": self._list,
            "DeleteEndpoint": self._delete,
        }.items():
            self.aws.answers["sagemaker", operation] = method

    @property
    def backend(self) -> SageMakerModelBackend:
        """What moto holds."""
        return sagemaker_backends[self.aws.account][REGION]

    def alarming(self, names: list[str]) -> list[str]:
        """Those of the CloudWatch alarms that are in ALARM."""
        alarms = cloudwatch_backends[self.aws.account][REGION].alarms
        return [name for name in names if name in alarms and alarms[name].state_value == "ALARM"]

    def arn(self, kind: str, name: str) -> str:
        return f"arn:aws:sagemaker:{REGION}:{self.aws.account}:{kind}/{name}"

    def config(self, name: str) -> Any:
        """moto's endpoint configuration.

        Raises:
            AwsError: there is none.
        """
        found = self.backend.endpoint_configs.get(name)
        if found is None:
            arn = self.arn("endpoint-config", name)
            raise invalid(f'Could not find endpoint configuration "{arn}".')
        return found

    def model(self, name: str) -> Any:
        """The definition of a model's container; None when the model is gone."""
        found = self.backend._models.get(name)
        if found is None:
            return None
        return found.primary_container or found.containers[0]

    def found(self, call: Call) -> Endpoint:
        name = call.parameters["EndpointName"]
        with self.lock:
            if name not in self.endpoints:
                raise invalid(f'Could not find endpoint "{self.arn("endpoint", name)}".')
            return self.endpoints[name]

    def close(self) -> None:
        for endpoint in list(self.endpoints.values()):
            endpoint.close()
        self.endpoints.clear()

    def _create_model(self, call: Call) -> Any:
        name = call.parameters["ModelName"]
        if name in self.backend._models:
            raise invalid(f'Cannot create already existing model "{self.arn("model", name)}".')
        url = (call.parameters.get("PrimaryContainer") or {}).get("ModelDataUrl")
        if url is not None:
            place = urlsplit(url)
            listed = self.aws.client("s3").list_objects_v2(
                Bucket=place.netloc, Prefix=place.path.lstrip("/"), MaxKeys=1
            )
            if not listed["KeyCount"]:
                raise invalid(f"Could not find model data at {url}.")
        return self.aws.forward(call)

    def _create_config(self, call: Call) -> Any:
        asked = call.parameters
        name = asked["EndpointConfigName"]
        arn = self.arn("endpoint-config", name)
        if name in self.backend.endpoint_configs:
            raise invalid(f'Cannot create already existing endpoint configuration "{arn}".')
        variants = asked["ProductionVariants"]
        if len(variants) > 1 and any("ServerlessConfig" in one for one in variants):
            raise invalid("A serverless endpoint has one production variant.")
        known = [
            {**one, "InstanceType": ANY_INSTANCE} if "InstanceType" in one else one
            for one in variants
        ]
        made = self.backend.create_endpoint_config(
            endpoint_config_name=name,
            production_variants=known,
            data_capture_config=asked.get("DataCaptureConfig"),
            async_inference_config=asked.get("AsyncInferenceConfig"),
            tags=asked.get("Tags"),
            kms_key_id=asked.get("KmsKeyId"),
        )
        made.production_variants = variants
        return {"EndpointConfigArn": arn}

    def _create(self, call: Call) -> Any:
        name, config = call.parameters["EndpointName"], call.parameters["EndpointConfigName"]
        with self.lock:
            arn = self.arn("endpoint", name)
            if name in self.endpoints:
                raise invalid(f'Cannot create already existing endpoint "{arn}".')
            self.config(config)
            # So that tags and scaling policies find it.
            self.backend.create_endpoint(name, config, call.parameters.get("Tags") or [])
            self.endpoints[name] = Endpoint(self, name, arn, config)
        self.endpoints[name].create()
        return {"EndpointArn": arn}

    def _update(self, call: Call) -> Any:
        with self.lock:
            endpoint = self.found(call)
            self._refuse_busy(endpoint)
            if endpoint.status == "Failed":
                raise invalid(f'Cannot update endpoint "{endpoint.arn}" whose status is Failed.')
            self.config(endpoint.config_name)
            coming = self.config(call.parameters["EndpointConfigName"]).production_variants
            self._refuse_change(endpoint, coming, call)
            endpoint.update(call.parameters)
        return {"EndpointArn": endpoint.arn}

    def _update_weights(self, call: Call) -> Any:
        with self.lock:
            endpoint = self.found(call)
            self._refuse_busy(endpoint)
            asked = call.parameters["DesiredWeightsAndCapacities"]
            unknown = [
                v["VariantName"] for v in asked if v["VariantName"] not in endpoint.fleet.variants
            ]
            if endpoint.status == "Failed" or unknown:
                raise invalid(
                    f'The variant name(s) "{", ".join(unknown)}" is/are not present within '
                    f'endpoint configuration "{endpoint.config_name}".'
                )
            endpoint.update_weights(asked)
        return {"EndpointArn": endpoint.arn}

    def _list(self, call: Call) -> Any:
        asked = call.parameters
        with self.lock:
            found = [one.summary() for one in self.endpoints.values()]
        wanted, part = asked.get("StatusEquals"), asked.get("NameContains", "")
        return {
            "Endpoints": [
                one
                for one in found
                if part in one["EndpointName"] and wanted in (None, one["EndpointStatus"])
            ]
        }

    def _delete(self, call: Call) -> Any:
        with self.lock:
            endpoint = self.found(call)
            self._refuse_busy(endpoint)
            endpoint.delete()
        return {}

    @staticmethod
    def _refuse_change(endpoint: Endpoint, coming: list[dict[str, Any]], call: Call) -> None:
        """What AWS makes of no endpoint."""
        there = [one.settings for one in endpoint.fleet.variants.values()]
        serverless = ["ServerlessConfig" in one for one in coming]
        if any(serverless) and not any("ServerlessConfig" in one for one in there):
            raise invalid("An endpoint on instances cannot become serverless.")
        names = [{one["VariantName"] for one in some} for some in (there, coming)]
        if "DeploymentConfig" in call.parameters and names[0] != names[1]:
            raise invalid("The new configuration must have the variant names of the old one.")

    @staticmethod
    def _refuse_busy(endpoint: Endpoint) -> None:
        if endpoint.status not in IDLE:
            raise invalid(f'Cannot update in-progress endpoint "{endpoint.arn}".')


def invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)


@contextmanager
def running(
    aws: Aws,
    *,
    program: Program = sagemaker_container.by_arguments,
    seed: int = 0,
    pace: float = 0.01,
    moment: float = 0.2,
    health_seconds: float = 60.0,
) -> Iterator[SageMaker]:
    """SageMaker on this server, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="mlops-sagemaker-") as folder:
        peer = SageMaker(aws, Path(folder), program, seed, pace, moment, health_seconds)
        try:
            yield peer
        finally:
            peer.close()
