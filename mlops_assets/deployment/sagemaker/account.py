"""SageMaker as a target needs it: each call may be repeated, whatever became of the one before.

Knows endpoints, configurations and models by their names; what they are for is decided elsewhere.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mlops_assets.deployment.sagemaker.requests import Json, Record, is_ours
from mlops_assets.deployment.targets.base import TargetError
from mlops_assets.gateways.aws import CloudError, Patience, Service
from mlops_assets.serving import client
from mlops_assets.serving.client import PROBE_HEADER, Answer

BUSY = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
INTERVAL = 5.0


class Account:
    """Everything of ours in one region."""

    def __init__(
        self, region: str | None, variables: Mapping[str, str], patience: Patience
    ) -> None:
        """Connect when first asked.

        Args:
            region: None takes that of the variables.
            variables: of the environment, AWS's own among them.
            patience: with an endpoint that becomes what it was asked to be.
        """
        self._sagemaker = Service("sagemaker", region=region, variables=variables)
        self._runtime = Service("sagemaker-runtime", region=region, variables=variables)
        self.cloudwatch = Service("cloudwatch", region=region, variables=variables)
        self._patience = patience

    def url(self, name: str) -> str:
        return f"{self._runtime.url}/endpoints/{name}/invocations"

    def endpoint(self, name: str) -> Json | None:
        return self._found("describe_endpoint", EndpointName=name)

    def settled(self, name: str) -> Json | None:
        """The endpoint, once nothing is being done to it; None when there is none."""

        def idle() -> list[Json | None] | None:
            found = self.endpoint(name)
            return [found] if found is None or found["EndpointStatus"] not in BUSY else None

        (found,) = self._patience.until(idle, f"the endpoint {name} to be changed")
        return found

    def config(self, name: str) -> Json | None:
        return self._found("describe_endpoint_config", EndpointConfigName=name)

    def record(self, name: str) -> Record | None:
        """What the tags of a configuration say; None when it is gone, or not ours."""
        if not name or (found := self.config(name)) is None:
            return None
        arn = found["EndpointConfigArn"]
        return Record.of(self._sagemaker.pages("list_tags", "Tags", ResourceArn=arn))

    def note(self, name: str, record: Record) -> None:
        """Let a configuration say something else."""
        if (found := self.config(name)) is None:
            raise TargetError(f"the endpoint configuration {name} is gone")
        self._sagemaker.call("add_tags", ResourceArn=found["EndpointConfigArn"], Tags=record.tags())

    def has_model(self, name: str) -> bool:
        return self._found("describe_model", ModelName=name) is not None

    def ensure_model(self, request: Json) -> None:
        self._make("create_model", request)

    def ensure_config(self, request: Json) -> None:
        self._make("create_endpoint_config", request)

    def create(self, name: str, config: str, tags: list[Json]) -> Json:
        """An endpoint of that configuration, in service.

        Raises:
            TargetError: it did not come up, with AWS's reason.
        """
        request = {"EndpointName": name, "EndpointConfigName": config, "Tags": tags}
        self._make("create_endpoint", request)
        return self._became(name, config)

    def move(self, name: str, config: str, deployment: Json | None = None) -> Json:
        """Give the endpoint another configuration; AWS keeps the old fleet when the new one fails.

        Raises:
            TargetError: it has the one before, with AWS's reason.
        """
        before = self.settled(name)
        if before is None:
            raise TargetError(f"there is no endpoint {name}")
        if before["EndpointConfigName"] == config and before["EndpointStatus"] == "InService":
            return before
        more = {} if deployment is None else {"DeploymentConfig": deployment}
        self._change(
            name,
            lambda: self._sagemaker.call(
                "update_endpoint", EndpointName=name, EndpointConfigName=config, **more
            ),
            lambda found: found["EndpointConfigName"] == config,
        )
        return self._became(name, config)

    def weigh(self, name: str, weights: Mapping[str, float]) -> None:
        """Divide the traffic among the variants."""

        def has_them(found: Json) -> bool:
            return {one: weights_of(found).get(one) for one in weights} == dict(weights)

        found = self.settled(name)
        if found is None:
            raise TargetError(f"there is no endpoint {name}")
        if has_them(found):
            return
        asked = [{"VariantName": one, "DesiredWeight": weights[one]} for one in weights]
        self._change(
            name,
            lambda: self._sagemaker.call(
                "update_endpoint_weights_and_capacities",
                EndpointName=name,
                DesiredWeightsAndCapacities=asked,
            ),
            has_them,
        )
        found = self.settled(name)
        if found is None or not has_them(found):
            reason = (found or {}).get("FailureReason", "AWS gives no reason")
            raise TargetError(f"the traffic of {name} was not divided: {reason}")

    def delete(self, name: str) -> None:
        """End an endpoint, and return when it is gone."""
        if self.settled(name) is None:
            return
        try:
            self._sagemaker.call("delete_endpoint", EndpointName=name)
        except CloudError:
            found = self.endpoint(name)
            if found is not None and found["EndpointStatus"] != "Deleting":
                raise
        if self.settled(name) is not None:
            raise TargetError(f"the endpoint {name} was asked to go and is still there")

    def delete_config(self, name: str) -> None:
        self._found("delete_endpoint_config", EndpointConfigName=name)

    def clear(self, experiment: str, prefix: str, keep: set[str]) -> None:
        """Remove all configurations and models of an experiment but these."""
        for listing, key, removal, name in (
            (
                "list_endpoint_configs", "EndpointConfigs",
                "delete_endpoint_config", "EndpointConfigName",
            ),
            ("list_models", "Models", "delete_model", "ModelName"),
        ):  # fmt: skip
            listed = self._sagemaker.pages(listing, key, NameContains=f"{prefix}-v")
            for found in sorted(one[name] for one in listed):
                if is_ours(found, experiment) and found not in keep:
                    self._found(removal, **{name: found})

    def ask(self, name: str, variant: str, body: bytes) -> Answer:
        """What a variant answers to JSON; not counted as traffic by the program behind it.

        Raises:
            EndpointError: it refuses, does not answer, or answers what no endpoint of ours would.
            CloudError: it could not be asked.
        """
        url = f"{self.url(name)} ({variant})"
        try:
            answer = self._runtime.call(
                "invoke_endpoint",
                EndpointName=name,
                TargetVariant=variant,
                ContentType="application/json",
                CustomAttributes=PROBE_HEADER,
                Body=body,
            )
        except CloudError as error:
            if error.code != "ModelError":
                raise
            said = error.said
            status = said.get("OriginalStatusCode") or None
            text = str(said.get("OriginalMessage", error.message))
            raise client.refusal(url, status, text, "") from error
        return client.read(url, 200, answer["Body"].read().decode(errors="replace"), "")

    def _became(self, name: str, config: str) -> Json:
        found = self.settled(name)
        if found is None:
            raise TargetError(f"there is no endpoint {name}")
        if found["EndpointConfigName"] != config or found["EndpointStatus"] != "InService":
            reason = found.get("FailureReason", "AWS gives no reason")
            raise TargetError(f"{name} is {found['EndpointStatus']} without {config}: {reason}")
        return found

    def _change(self, name: str, ask: Callable[[], Any], done: Callable[[Json], bool]) -> None:
        """Ask for a change of which the answer may be lost: the next attempt is refused then."""
        try:
            ask()
        except CloudError:
            found = self.endpoint(name)
            if found is None or not (done(found) or found["EndpointStatus"] in BUSY):
                raise

    def _make(self, operation: str, request: Json) -> None:
        try:
            self._sagemaker.call(operation, **request)
        except CloudError as error:
            if "already existing" not in error.message:
                raise

    def _found(self, operation: str, **parameters: Any) -> Json | None:
        try:
            return self._sagemaker.call(operation, **parameters)
        except CloudError as error:
            # Its code is that of a request that is not valid, too.
            if error.message.startswith("Could not find"):
                return None
            raise


def weights_of(endpoint: Json) -> dict[str, float]:
    variants = endpoint.get("ProductionVariants", [])
    return {one["VariantName"]: float(one.get("CurrentWeight", 1.0)) for one in variants}
