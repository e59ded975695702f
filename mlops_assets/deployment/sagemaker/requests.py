"""What SageMaker is asked for: names, tags and requests, out of a manifest. Pure.

The truth about an endpoint stands in the tags of its configurations, which are made with them at
once: the configuration that an endpoint has says which version is stable.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mlops_assets.deployment.targets.base import Manifest
from mlops_assets.serving.embedded import ENDPOINT, VERSION

Json = dict[str, Any]

LONGEST = 32
"""Characters of an experiment in names, of which the longest may have 63."""
LONGEST_VALUE = 1024
"""Characters of a variable of a model."""
MODEL = "/opt/ml/model"
ALONE = "live"
"""The variant where AWS itself moves the traffic: it wants the same name before and after."""
TAG = "mlops:"


@dataclass(frozen=True)
class Record:
    """What the tags of a configuration say."""

    version: int
    bundle_digest: str
    fingerprint: str
    """Of the manifest and the values of the variables passed on."""
    since: str
    """When the version took the traffic for good; empty until then."""
    previous: int | None
    before: str
    """Configuration of the stable version beside or instead of which this was brought up; empty
    when there was none."""

    def tags(self) -> list[Json]:
        said = {name: "" if value is None else str(value) for name, value in asdict(self).items()}
        return [{"Key": f"{TAG}{name}", "Value": value} for name, value in said.items()]

    @classmethod
    def of(cls, tags: list[Json]) -> "Record | None":
        """None when they are not ours."""
        said = {one["Key"].removeprefix(TAG): one["Value"] for one in tags}
        try:
            previous = said["previous"]
            return cls(
                version=int(said["version"]),
                bundle_digest=said["bundle_digest"],
                fingerprint=said["fingerprint"],
                since=said["since"],
                previous=int(previous) if previous else None,
                before=said["before"],
            )
        except (KeyError, ValueError):
            return None


def base(experiment: str) -> str:
    """Name of the endpoint, and beginning of all other names."""
    name = experiment.replace("_", "-")
    if len(name) > LONGEST or name.endswith("-"):
        digest = hashlib.sha256(experiment.encode()).hexdigest()[:8]
        name = f"{name[: LONGEST - 9].rstrip('-')}-{digest}"
    return f"mlops-{name}"


def aside(experiment: str) -> str:
    """Name of the endpoint where a candidate is asked that cannot stand beside the stable one."""
    return f"candidate-of-{base(experiment)}"


def stopped(experiment: str) -> str:
    """Name of the configuration that says what was stopped."""
    return f"stopped-{base(experiment)}"


def alone(experiment: str, version: int, fingerprint: str) -> str:
    """Name of a version's model, and of its configuration without any other version."""
    return f"{base(experiment)}-v{version}-{fingerprint[:8]}"


def beside(experiment: str, version: int, fingerprint: str, stable: str) -> str:
    """Name of the configuration of a candidate and the stable version, of that configuration."""
    digest = hashlib.sha256(f"{fingerprint} {stable}".encode()).hexdigest()[:8]
    return f"{base(experiment)}-v{version}-{digest}-beside"


def is_ours(name: str, experiment: str) -> bool:
    """Whether a model or a configuration belongs to a version of this experiment."""
    pattern = rf"{re.escape(base(experiment))}-v\d+-[0-9a-f]{{8}}(-beside)?"
    return re.fullmatch(pattern, name) is not None


def fingerprint(manifest: Manifest, environment: Mapping[str, str]) -> str:
    said = json.dumps([manifest, sorted(environment.items())], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def model(manifest: Manifest, name: str, environment: Mapping[str, str]) -> Json:
    """CreateModel."""
    inside = {
        **environment,
        "MLOPS_BUNDLE": MODEL,
        "MLOPS_BUNDLE_DIGEST": manifest["bundle_digest"],
        "MLOPS_VERSION": str(manifest["version"]),
        "MLOPS_RECORDING": recording(manifest),
        "MLOPS_WORKERS": str(manifest["workers"]),
        "MLOPS_STARTUP_TIMEOUT_S": str(manifest["startup_timeout_s"]),
        "MLOPS_EMBEDDED_METRICS": json.dumps(
            {ENDPOINT: base(manifest["experiment"]), VERSION: name}
        ),
    }
    request: Json = {
        "ModelName": name,
        "ExecutionRoleArn": manifest["role"],
        "PrimaryContainer": {
            "Image": manifest["image"],
            "ModelDataUrl": manifest["archive_url"],
            "Environment": inside,
        },
        "Tags": owner(manifest["experiment"]),
    }
    if manifest["subnets"]:
        request["VpcConfig"] = {
            "Subnets": manifest["subnets"],
            "SecurityGroupIds": manifest["security_groups"],
        }
    return request


def recording(manifest: Manifest) -> str:
    return json.dumps(manifest["recording"], separators=(",", ":"))


def variant(manifest: Manifest, model_name: str) -> Json:
    """The candidate in a configuration of its own."""
    all_at_once = manifest["serverless"] is not None or manifest["canary_percent"] is not None
    said = {
        "VariantName": ALONE if all_at_once else f"v{manifest['version']}",
        "ModelName": model_name,
        "InitialVariantWeight": 1.0,
    }
    if manifest["serverless"] is not None:
        serverless = manifest["serverless"]
        sizes = {
            "MemorySizeInMB": serverless["memory_mb"],
            "MaxConcurrency": serverless["max_concurrency"],
        }
        return {**said, "ServerlessConfig": sizes}
    return {
        **said,
        "InstanceType": manifest["instance_type"],
        "InitialInstanceCount": manifest["instances"],
        "ContainerStartupHealthCheckTimeoutInSeconds": manifest["startup_timeout_s"],
    }


def pair(stable: Json, version: int, candidate: Json) -> list[Json]:
    """Variants of both: the stable one, which has all of the traffic, and the candidate.

    Args:
        stable: as in its own configuration.
        version: of the stable one.
        candidate: as in its own.
    """
    first = {**stable, "VariantName": f"v{version}", "InitialVariantWeight": 1.0}
    name = candidate["VariantName"]
    name = f"{name}-new" if name == first["VariantName"] else name
    return [first, {**candidate, "VariantName": name, "InitialVariantWeight": 0.0}]


def config(manifest: Manifest, name: str, variants: list[Json], record: Record) -> Json:
    """CreateEndpointConfig."""
    request: Json = {
        "EndpointConfigName": name,
        "ProductionVariants": variants,
        "Tags": [*owner(manifest["experiment"]), *record.tags()],
    }
    if (capture := manifest["capture"]) is not None:
        request["DataCaptureConfig"] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": capture["percent"],
            "DestinationS3Uri": capture["url"],
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {
                "CsvContentTypes": ["text/csv"],
                "JsonContentTypes": ["application/json"],
            },
        }
    return request


def guarded(percent: int | None, alarms: Sequence[str], bake_s: int) -> Json | None:
    """DeploymentConfig where AWS itself moves the traffic; None for its usual one."""
    if percent is None and not alarms:
        return None
    routing: Json = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": bake_s}
    if percent is not None:
        size = {"Type": "CAPACITY_PERCENT", "Value": percent}
        routing = {**routing, "Type": "CANARY", "CanarySize": size}
    said: Json = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}
    if alarms:
        said["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in alarms]}
    return said


def owner(experiment: str) -> list[Json]:
    return [{"Key": f"{TAG}experiment", "Value": experiment}]
