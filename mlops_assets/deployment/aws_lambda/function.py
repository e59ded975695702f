"""One function on AWS Lambda and its published versions: thin calls, each of which may be repeated.
Where its callers are led is `lambda_alias`.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops_assets.gateways.aws import CloudError, Patience, Service

TAG = "mlops/experiment"
"""Says that a function is ours, and whose."""
LATEST = "$LATEST"
ABSENT = "ResourceNotFoundException"
CONFLICT = "ResourceConflictException"
BUSY = frozenset({CONFLICT, "ResourceInUseException"})
NOT_YET = frozenset({*BUSY, "ResourceNotReadyException", "TooManyRequestsException"})
NO_PROVISIONED = "ProvisionedConcurrencyConfigNotFoundException"


@dataclass(frozen=True)
class Published:
    """A published version of the function, and which of ours it is."""

    number: str
    version: int
    """Ours; 0 when somebody else published it."""
    bundle_digest: str
    manifest: str
    """Fingerprint of the manifest it was made from."""
    variables: Mapping[str, str]
    when: datetime
    """It was published."""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Published":
        try:
            said = json.loads(config.get("Description") or "{}")
            ours = int(said["version"]), str(said["bundle"]), str(said["manifest"])
        except (ValueError, TypeError, KeyError):
            ours = 0, "", ""
        variables = config.get("Environment", {}).get("Variables", {})
        when = datetime.fromisoformat(config["LastModified"])
        return cls(str(config["Version"]), *ours, variables, when)


class Function:
    """A function by its name, whether or not it is there."""

    def __init__(self, service: Service, name: str, patience: Patience) -> None:
        self._service = service
        self.name = name
        self.patience = patience

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return self._service.call(operation, FunctionName=self.name, **arguments)

    def when_free(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """A change, made once no other one is under way."""
        return self.patience.past(BUSY, lambda: self.call(operation, **arguments))

    def if_there(
        self, operation: str, absent: Collection[str] = (ABSENT,), **arguments: Any
    ) -> dict[str, Any] | None:
        """The answer of a call; None when what it is about is not there."""
        try:
            return self.when_free(operation, **arguments)
        except CloudError as error:
            if error.code in absent:
                return None
            raise

    def ensure(
        self, find: Callable[[], dict[str, Any] | None], make: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """What is there, or is made; by an earlier attempt of ours too, whose answer was lost."""
        return self.patience.past(BUSY, lambda: find() or make())

    def ours(self, experiment: str) -> dict[str, Any] | None:
        """The configuration of the function; None when there is none.

        Raises:
            CloudError: there is one that is not ours.
        """
        found = self.if_there("get_function")
        if found is not None and found.get("Tags", {}).get(TAG) != experiment:
            raise CloudError(
                "get_function",
                "NotOurs",
                f"there is a function {self.name} without the tag {TAG}={experiment}: it is not "
                "of this platform; remove or rename it",
            )
        return None if found is None else dict(found["Configuration"])

    def published(self) -> list[Published]:
        """In the order they were; empty when there is no function."""
        try:
            listed = self._service.pages(
                "list_versions_by_function", "Versions", FunctionName=self.name
            )
        except CloudError as error:
            if error.code == ABSENT:
                return []
            raise
        found = [Published.of(one) for one in listed if one["Version"] != LATEST]
        return sorted(found, key=lambda one: int(one.number))

    def put(self, code: Mapping[str, Any], settings: Mapping[str, Any], experiment: str) -> None:
        """Have $LATEST be this, made if there is no function yet.

        Args:
            code: as `Code`, with `PackageType` and `Architectures` beside it.
            settings: of its configuration.
            experiment: whose.
        """
        packed = {k: v for k, v in code.items() if k not in ("PackageType", "Architectures")}
        chosen = {"Architectures": code["Architectures"]}
        made: list[bool] = []

        def make() -> dict[str, Any]:
            made.append(True)
            return self.call(
                "create_function",
                Code=packed,
                PackageType=code["PackageType"],
                Tags={TAG: experiment},
                **chosen,
                **settings,
            )

        found = self.ensure(lambda: self.ours(experiment), make)
        self._settled("create_function" if made else "")
        if made and found.get("Description") == settings["Description"]:
            return
        if found.get("PackageType", "Zip") != code["PackageType"]:
            raise CloudError(
                "update_function_code",
                "NotOurs",
                f"{self.name} was made for packaging {found.get('PackageType', 'Zip').lower()}, "
                "which Lambda never changes: delete the function to deploy it otherwise",
            )
        self.when_free("update_function_code", **packed, **chosen)
        self._settled("update_function_code")
        self.when_free("update_function_configuration", **settings)
        self._settled("update_function_configuration")

    def publish(self, description: str, sha256: str | None) -> Published:
        """$LATEST as a version of its own; the one there is when it was just made."""
        expected = {} if sha256 is None else {"CodeSha256": sha256}
        answer = self.when_free("publish_version", Description=description, **expected)
        if answer.get("Description") != description:
            raise CloudError(
                "publish_version",
                "Changed",
                f"version {answer['Version']} of {self.name} came of it, which is another one: "
                "somebody else changes the function at the same time",
            )
        return Published.of(answer)

    def await_active(self, number: str) -> None:
        """Until a published version can be asked.

        Raises:
            CloudError: it failed, or takes too long.
        """
        what = f"version {number} of {self.name}"

        def active() -> bool:
            config = self.call("get_function_configuration", Qualifier=number)
            if config.get("State") == "Failed":
                raise CloudError(what, str(config.get("StateReasonCode")), _reason(config))
            # An inactive one, unused for weeks, wakes when it is asked.
            return config.get("State", "Active") in ("Active", "Inactive")

        self.patience.until(active, f"{what} to become active")

    def _settled(self, operation: str) -> None:
        """Until no change is under way; what became of `operation`, which was the last."""

        def settled() -> dict[str, Any] | None:
            config = self.call("get_function_configuration")
            busy = (
                config.get("State") == "Pending" or config.get("LastUpdateStatus") == "InProgress"
            )
            return None if busy else config

        config = self.patience.until(settled, f"{self.name} to be changed")
        if operation and "Failed" in (config.get("State"), config.get("LastUpdateStatus")):
            code = config.get("LastUpdateStatusReasonCode") or config.get("StateReasonCode")
            raise CloudError(operation, str(code), _reason(config))

    def remove(self, number: str | None = None) -> None:
        """A version, or the function with all there is of it."""
        if number is None:
            self.if_there("delete_function")
            return
        self.provision(number, None)
        self.if_there("delete_function", Qualifier=number)

    def reserved(self) -> int | None:
        """How many calls may run at once; None as many as the account allows."""
        found = self.if_there("get_function_concurrency") or {}
        number = found.get("ReservedConcurrentExecutions")
        return None if number is None else int(number)

    def reserve(self, number: int | None) -> None:
        if self.reserved() == number:
            return
        if number is None:
            self.if_there("delete_function_concurrency")
        else:
            self.when_free("put_function_concurrency", ReservedConcurrentExecutions=number)

    def provision(self, number: str, count: int | None) -> None:
        """Have so many environments of a version wait, ready; None for none."""
        of = {"Qualifier": number}
        absent = (ABSENT, NO_PROVISIONED)
        known = self.if_there("get_provisioned_concurrency_config", absent, **of)
        if count is None:
            if known is not None:
                self.if_there("delete_provisioned_concurrency_config", absent, **of)
            return
        if known is None or known["RequestedProvisionedConcurrentExecutions"] != count:
            self.when_free(
                "put_provisioned_concurrency_config", **of, ProvisionedConcurrentExecutions=count
            )

        def ready() -> bool:
            found = self.call("get_provisioned_concurrency_config", **of)
            if found["Status"] == "FAILED":
                reason = str(found.get("StatusReason", ""))
                raise CloudError("put_provisioned_concurrency_config", "FAILED", reason)
            return bool(found["Status"] == "READY")

        self.patience.until(ready, f"{count} environments of version {number} to be ready")

    def invoke(self, number: str, event: Mapping[str, Any], refused: Collection[str] = BUSY) -> Any:
        """What a version returns for an event.

        Raises:
            CloudError: it cannot be asked; or it failed, which the code of the error says.
        """
        body = json.dumps(event).encode()
        answer = self.patience.past(
            refused, lambda: self.call("invoke", Qualifier=number, Payload=body)
        )
        text = answer["Payload"].read().decode(errors="replace")
        try:
            content = json.loads(text)
        except ValueError:
            content = {"errorMessage": text}
        if "FunctionError" in answer:
            said = content if isinstance(content, dict) else {}
            message = re.sub(r"\s+", " ", str(said.get("errorMessage", text)))
            raise CloudError("invoke", f"failed: {said.get('errorType', 'Unhandled')}", message)
        return content


def _reason(config: Mapping[str, Any]) -> str:
    return str(config.get("LastUpdateStatusReason") or config.get("StateReason") or "")
