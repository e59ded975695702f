"""One function on AWS Lambda: its code and settings, and the versions published of them.

What a version is stands in its own description on AWS, where whoever deploys next reads it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mlops_assets.deployment.lambda_package import HANDLER, Package
from mlops_assets.deployment.targets.base import Manifest, TargetError
from mlops_assets.gateways.aws import CloudError, Service, wait
from mlops_assets.serving.client import PROBE_HEADER, Answer, EndpointError

ALIAS = "live"
ABSENT = "ResourceNotFoundException"
EXISTS = "ResourceConflictException"
NO_PROVISION = "ProvisionedConcurrencyConfigNotFoundException"
INTERVAL = 1.0
READY = "/v2/health/ready"
SCORE = "/invocations"


@dataclass(frozen=True)
class Published:
    """A version of ours as one of Lambda's."""

    number: str
    """Lambda's; empty for one that is looked for."""
    version: int
    digest: str
    fingerprint: str
    """Of the manifest and the secrets it was made from."""
    published: str
    """ISO 8601."""


class Function:
    """Everything that is done to the one function of an experiment."""

    def __init__(
        self,
        experiment: str,
        name: str,
        services: Mapping[str, Service],
        *,
        sleep: Callable[[float], None],
        patience: float,
    ) -> None:
        """
        Args:
            experiment: whose endpoint it is.
            name: of the function.
            services: `lambda`, `cloudwatch` and `s3`.
            sleep: waits.
            patience: seconds that a new version has until it answers.
        """
        self.experiment = experiment
        self.name = name
        self.services = services
        self._aws = services["lambda"]
        self._s3 = services["s3"]
        self._sleep = sleep
        self._patience = patience

    def versions(self) -> list[Published]:
        """Those of ours that are published, oldest first."""
        try:
            found = self._aws.pages("list_versions_by_function", "Versions", FunctionName=self.name)
        except CloudError as error:
            if error.code == ABSENT:
                return []
            raise
        read = [_published(one) for one in found if one["Version"] != "$LATEST"]
        return sorted((one for one in read if one), key=lambda one: int(one.number))

    def find(self, mark: Published) -> Published | None:
        """The version made from the same manifest and secrets."""
        same = [one for one in self.versions() if one.fingerprint == mark.fingerprint]
        return same[-1] if same else None

    def publish(
        self,
        manifest: Manifest,
        package: Package | None,
        secrets: Mapping[str, str],
        mark: Published,
        *,
        bucket: str | None,
    ) -> None:
        """Make the code and the settings those of the manifest, and a version of them."""
        settings: dict[str, Any] = {
            "Role": manifest["role"],
            "MemorySize": manifest["memory_mb"],
            "Timeout": manifest["timeout_s"],
            "Environment": {"Variables": {**manifest["environment"], **secrets}},
        }
        if package is not None:
            settings |= {"Handler": HANDLER, "Runtime": manifest["runtime"]}
        code = self._code(manifest, package, bucket)
        machine = {"Architectures": [manifest["architecture"]]}
        if self.configuration() is None:
            kind = {"PackageType": "Zip" if package else "Image"}
            try:
                self._aws.call(
                    "create_function",
                    FunctionName=self.name,
                    Code=code,
                    Description=f"The endpoint of {self.experiment}.",
                    **settings,
                    **machine,
                    **kind,
                )
            except CloudError as error:
                if error.code != EXISTS:  # made by an attempt of ours whose answer was lost
                    raise
        self._await_settled()
        self._aws.call("update_function_code", FunctionName=self.name, **code, **machine)
        self._await_settled()
        self._aws.call("update_function_configuration", FunctionName=self.name, **settings)
        self._await_settled()
        described = {k: v for k, v in asdict(mark).items() if k not in ("number", "published")}
        self._aws.call(
            "publish_version",
            FunctionName=self.name,
            Description=json.dumps(described, separators=(",", ":")),
            **({"CodeSha256": package.sha256} if package else {}),
        )

    def warm(self, published: Published, instances: int | None) -> None:
        """Wait until a version answers that it is ready.

        Raises:
            TargetError: it does not, with what its function says.
        """
        if instances is not None:
            self._provision(published, instances)
        said = ""

        def ready() -> bool:
            nonlocal said
            try:
                status, said = self._invoke(published, "GET", READY, "", {})
            except EndpointError as error:
                said = str(error)
                return False
            except CloudError as error:
                said = str(error)
                if error.code != EXISTS:  # it is still being made ready by Lambda itself
                    raise
                return False
            return status == 200

        try:
            wait(
                ready, timeout=self._patience, interval=INTERVAL, sleep=self._sleep,
                late="it is not ready",
            )  # fmt: skip
        except CloudError as error:
            raise TargetError(f"version {published.version} does not start: {said}") from error

    def ask(self, published: Published, body: str, key: str | None) -> Answer:
        """What a version says to a probe."""
        headers = {"content-type": "application/json", PROBE_HEADER: "1"}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        status, text = self._invoke(published, "POST", SCORE, body, headers)
        where = f"{self.name}:{published.number}"
        try:
            content = json.loads(text)
            if status == 200:
                return Answer.read(content)
            reason, message = str(content["error"]), str(content["message"])
        except (ValueError, KeyError, TypeError, AttributeError):
            reason, message = "", text[:300]
        raise EndpointError(where, status=status, reason=reason, message=message, request_id="")

    def _code(
        self, manifest: Manifest, package: Package | None, bucket: str | None
    ) -> dict[str, Any]:
        if package is None:
            return {"ImageUri": manifest["image"]}
        if package.uploads_directly:
            return {"ZipFile": package.path.read_bytes()}
        if bucket is None:
            raise TargetError(
                f"the package has {package.size / 1e6:.0f} MB, too many to be sent with a call: "
                "name a bucket (deployment.targets[].bucket)"
            )
        key = f"mlops/functions/{package.digest}.zip"
        self._s3.call("put_object", Bucket=bucket, Key=key, Body=package.path.read_bytes())
        return {"S3Bucket": bucket, "S3Key": key}

    def configuration(self, qualifier: str | None = None) -> dict[str, Any] | None:
        asked = {"Qualifier": qualifier} if qualifier else {}
        return self._aws.found(
            "get_function_configuration", ABSENT, FunctionName=self.name, **asked
        )

    def _await_settled(self) -> None:
        def settled() -> dict[str, Any] | None:
            found = self.configuration() or {}
            if "Failed" in (found.get("State"), found.get("LastUpdateStatus")):
                reason = (
                    found.get("LastUpdateStatusReason") or found.get("StateReason") or "no reason"
                )
                raise CloudError("wait", "Failed", str(reason))
            waiting = found.get("State") == "Pending" or (
                found.get("LastUpdateStatus") == "InProgress"
            )
            return None if waiting else found

        late = f"{self.name} is being changed for too long"
        wait(settled, timeout=self._patience, interval=INTERVAL, sleep=self._sleep, late=late)

    def _provision(self, published: Published, instances: int) -> None:
        asked = {"FunctionName": self.name, "Qualifier": published.number}
        self._aws.call(
            "put_provisioned_concurrency_config",
            ProvisionedConcurrentExecutions=instances,
            **asked,
        )

        def provided() -> bool:
            found = self._aws.call("get_provisioned_concurrency_config", **asked)
            if found["Status"] == "FAILED":
                raise CloudError("wait", "Failed", str(found.get("StatusReason", "")))
            return bool(found["Status"] == "READY")

        late = f"{instances} instances are not warm"
        wait(provided, timeout=self._patience, interval=INTERVAL, sleep=self._sleep, late=late)

    def unprovision(self, number: str) -> None:
        self._aws.found(
            "delete_provisioned_concurrency_config",
            ABSENT,
            NO_PROVISION,
            FunctionName=self.name,
            Qualifier=number,
        )

    def delete(self, number: str) -> None:
        self.unprovision(number)
        self._aws.found("delete_function", ABSENT, FunctionName=self.name, Qualifier=number)

    def _invoke(
        self, published: Published, method: str, path: str, body: str, headers: Mapping[str, str]
    ) -> tuple[int, str]:
        """Status and body of a request, as the function URL would put it."""
        event = {
            "version": "2.0",
            "rawPath": path,
            "rawQueryString": "",
            "headers": dict(headers),
            "requestContext": {"http": {"method": method, "path": path, "sourceIp": "127.0.0.1"}},
            "body": body,
            "isBase64Encoded": False,
        }
        answer = self._aws.call(
            "invoke",
            FunctionName=self.name,
            Qualifier=published.number,
            Payload=json.dumps(event).encode(),
        )
        text = answer["Payload"].read().decode(errors="replace")
        where = f"{self.name}:{published.number}"
        if "FunctionError" in answer:
            raise EndpointError(
                where, status=None, reason="failed", message=text[:300], request_id=""
            )
        try:
            content = json.loads(text)
            return int(content["statusCode"]), str(content.get("body", ""))
        except (ValueError, KeyError, TypeError) as error:
            raise EndpointError(
                where, status=None, reason="failed", message=text[:300], request_id=""
            ) from error


def _published(found: Mapping[str, Any]) -> Published | None:
    """None for a version that was not published by us."""
    try:
        said = json.loads(found.get("Description") or "")
        when = str(found["LastModified"]).replace("+0000", "+00:00")
        return Published(
            found["Version"], int(said["version"]), said["digest"], said["fingerprint"], when
        )
    except (ValueError, KeyError, TypeError):
        return None
