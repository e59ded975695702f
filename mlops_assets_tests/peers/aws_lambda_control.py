"""What Lambda's control plane does and moto's does not: states, versions, aliases, concurrency."""

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moto.awslambda.models import LambdaFunction

from mlops_assets_tests.peers.aws import Answer, AwsError
from mlops_assets_tests.peers.aws_call import Call
from mlops_assets_tests.peers.aws_lambda_urls import Urls

if TYPE_CHECKING:
    from mlops_assets_tests.peers.aws_lambda import Lambdas

LATEST = "$LATEST"


@dataclass
class Provisioned:
    """Provisioned concurrency of an alias or a version."""

    asked: int
    ready: float
    when: str

    def answer(self) -> dict[str, Any]:
        done = time.monotonic() >= self.ready
        counted = self.asked if done else 0
        return {
            "RequestedProvisionedConcurrentExecutions": self.asked,
            "AvailableProvisionedConcurrentExecutions": counted,
            "AllocatedProvisionedConcurrentExecutions": counted,
            "Status": "READY" if done else "IN_PROGRESS",
            "LastModified": self.when,
        }


@dataclass
class Control:
    """The operations on functions, versions and aliases."""

    peer: "Lambdas"
    _created: dict[tuple[str, str], float] = field(default_factory=dict)
    """Until when a version is Pending, by function and version."""
    _updated: dict[str, float] = field(default_factory=dict)
    """Until when an update of a function is InProgress."""
    _numbers: dict[str, int] = field(default_factory=dict)
    """The last number of a version, by function: none is given twice."""
    _revisions: dict[tuple[str, str], str] = field(default_factory=dict)
    _provisioned: dict[tuple[str, str], Provisioned] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.urls = Urls(self.peer)
        for operation, method in {
            "CreateFunction": self._create_function,
            "UpdateFunctionCode": self._update_function,
            "UpdateFunctionConfiguration": self._update_function,
            "PublishVersion": self._publish_version,
            "GetFunction": self._get_function,
            "GetFunctionConfiguration": self._get_function,
            "ListFunctions": self._list_functions,
            "ListVersionsByFunction": self._list_functions,
            "DeleteFunction": self._delete_function,
            "CreateAlias": self._change_alias,
            "UpdateAlias": self._change_alias,
            "GetAlias": self._get_alias,
            "ListAliases": self._list_aliases,
            "DeleteAlias": self._delete_alias,
            "PutProvisionedConcurrencyConfig": self._put_provisioned,
            "GetProvisionedConcurrencyConfig": self._get_provisioned,
            "DeleteProvisionedConcurrencyConfig": self._delete_provisioned,
            "ListProvisionedConcurrencyConfigs": self._list_provisioned,
        }.items():
            self.peer.aws.answers["lambda", operation] = method

    def close(self) -> None:
        self.urls.close()

    def version_of(self, name: str, qualifier: str | None, dice: float) -> str:
        """The version behind a qualifier; of an alias with weights, the one the dice say."""
        if qualifier in (None, LATEST):
            return LATEST
        aliases = {alias.name: alias for alias in self.peer.backend.list_aliases(name)}
        if qualifier not in aliases:
            return str(self.peer.backend.get_function(name, qualifier).version)
        alias = aliases[qualifier]
        for version, weight in _weights(alias.routing_config).items():
            if dice < weight:
                return version
            dice -= weight
        return str(alias.function_version)

    def refuse_unready(self, function: LambdaFunction, version: str) -> None:
        if time.monotonic() < self._created.get((function.function_name, version), 0):
            raise _conflict("The function is currently in the following state: Pending")

    def _create_function(self, call: Call) -> Any:
        image = self._image(call.parameters["Code"])
        answer = self.peer.aws.forward(call)
        if answer.status != 201:
            return answer
        name = call.parameters["FunctionName"]
        self._take_code(name, image)
        self._created[name, LATEST] = time.monotonic() + self.peer.settling
        if call.parameters.get("Publish"):
            self._created[name, "1"] = self._created[name, LATEST]
            self._numbers[name] = 1
        self._renew(name, LATEST)
        return self._rewritten(answer)

    def _update_function(self, call: Call) -> Any:
        name = self._name(call)
        self._refuse_while_changing(name)
        self._same_revision(call, name, LATEST)
        if call.parameters.get("Publish"):
            raise AwsError("ServiceException", "the peer publishes only by PublishVersion")
        image = self._image(call.parameters)
        answer = self.peer.aws.forward(call)
        if answer.status != 200 or call.parameters.get("DryRun"):
            return answer
        self._take_code(name, image)
        self._updated[name] = time.monotonic() + self.peer.settling
        self._renew(name, LATEST)
        self.peer.discard(name, LATEST)
        return self._rewritten(answer)

    def _image(self, code: Mapping[str, Any]) -> str | None:
        """The image that a function is to be made of, refused before anything is changed."""
        return self.peer.images.find(code["ImageUri"]) if "ImageUri" in code else None

    def _take_code(self, name: str, image: str | None) -> None:
        """As it is now: what becomes of an archive or of a name does not change a function."""
        known = self.peer.backend.get_function(name)
        if image is not None:
            known.code_sha_256 = image
        elif known.package_type == "Zip":
            self.peer.unpacked(known)

    def _publish_version(self, call: Call) -> Any:
        name = self._name(call)
        backend = self.peer.backend
        latest = backend.get_function(name)
        self._refuse_while_changing(name)
        self._same_revision(call, name, LATEST)
        wanted = call.parameters.get("CodeSha256")
        if wanted not in (None, latest.code_sha_256):
            message = f"CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST"
            raise AwsError("InvalidParameterValueException", message)
        before = list(backend._lambdas._functions[name]["versions"])
        made = backend.publish_version(name, call.parameters.get("Description", ""))
        latest.code_or_config_updated = False
        if not any(made is one for one in before):
            number = self._numbers.get(name, 0) + 1
            if made.version != number:
                made.set_version(number)
                for one in (*before, made):  # moto took the number of another for it
                    backend._lambdas._arns[one.function_arn] = one
            self._numbers[name] = number
            self._created[name, str(number)] = time.monotonic() + self.peer.settling
        return self._serialized(201, self._settled(made.get_configuration()))

    def _get_function(self, call: Call) -> Any:
        return self._rewritten(self.peer.aws.forward(call), call.parameters.get("Qualifier"))

    def _list_functions(self, call: Call) -> Any:
        return self._rewritten(self.peer.aws.forward(call))

    def _delete_function(self, call: Call) -> Any:
        name, qualifier = self._name(call), call.parameters.get("Qualifier")
        backend = self.peer.backend
        backend.get_function(name, qualifier)
        aliases = backend.list_aliases(name)
        using = [
            a.name
            for a in aliases
            if qualifier in (a.function_version, *_weights(a.routing_config))
        ]
        if qualifier is not None and using:
            message = (
                f"Unable to delete version because the following aliases reference it: {using}"
            )
            raise AwsError("ResourceConflictException", message)
        answer = self.peer.aws.forward(call)
        self.peer.discard(name, qualifier)
        if qualifier is None:
            for kept in (self._created, self._revisions, self._provisioned):
                for key in [key for key in kept if key[0] == name]:
                    del kept[key]
            self._updated.pop(name, None)
            self._numbers.pop(name, None)
            self.urls.forget(name)
        return answer

    def _change_alias(self, call: Call) -> Any:
        name, asked = self._name(call), call.parameters
        if call.operation == "UpdateAlias":
            self._same_revision(call, name, asked["Name"])
        self._refuse_weights(name, asked)
        answer = self.peer.aws.forward(call)
        if answer.status == 201:
            self._renew(name, asked["Name"])
        return self._rewritten_aliases(name, answer)

    def _refuse_weights(self, name: str, asked: Mapping[str, Any]) -> None:
        primary, routing = asked.get("FunctionVersion"), asked.get("RoutingConfig")
        known = {alias.name: alias for alias in self.peer.backend.list_aliases(name)}
        if asked["Name"] in known:
            primary = primary or known[asked["Name"]].function_version
            routing = known[asked["Name"]].routing_config if routing is None else routing
        weights = _weights(routing)
        problem = None
        if len(weights) > 1:
            problem = "Number of items in AdditionalVersionWeights cannot be greater than 1"
        elif weights and LATEST in (primary, *weights):
            problem = "$LATEST is not supported for an alias pointing to more than 1 version"
        elif primary in weights:
            problem = f"Function version {primary} is already included in routing configuration."
        elif any(not 0 <= weight <= 1 for weight in weights.values()):
            problem = "A weight is between 0.0 and 1.0"
        if problem:
            raise AwsError("InvalidParameterValueException", problem)
        for version in weights:
            self.peer.backend.get_function(name, version)

    def _get_alias(self, call: Call) -> Any:
        return self._rewritten_aliases(self._name(call), self.peer.aws.forward(call))

    def _list_aliases(self, call: Call) -> Any:
        name, wanted = self._name(call), call.parameters.get("FunctionVersion")
        answer = self._rewritten_aliases(name, self.peer.aws.forward(call))
        if wanted is None or answer.status != 200:
            return answer
        content = json.loads(answer.body)
        kept = [
            one
            for one in content["Aliases"]
            if wanted in (one["FunctionVersion"], *_weights(one["RoutingConfig"]))
        ]
        return self._serialized(200, {"Aliases": kept})

    def _delete_alias(self, call: Call) -> Any:
        name, alias = self._name(call), call.parameters["Name"]
        self.urls.forget(name, alias)
        self._provisioned.pop((name, alias), None)
        return self.peer.aws.forward(call)

    def _put_provisioned(self, call: Call) -> Any:
        key = self._qualified(call)
        when = datetime.now(UTC).isoformat(timespec="seconds")
        asked = call.parameters["ProvisionedConcurrentExecutions"]
        made = Provisioned(asked, time.monotonic() + self.peer.provisioning, when)
        self._provisioned[key] = made
        return made.answer()

    def _get_provisioned(self, call: Call) -> Any:
        found = self._provisioned.get(self._qualified(call))
        if found is None:
            raise AwsError(
                "ProvisionedConcurrencyConfigNotFoundException",
                "No Provisioned Concurrency Config found for this function",
            )
        return found.answer()

    def _delete_provisioned(self, call: Call) -> Any:
        self._provisioned.pop(self._qualified(call), None)
        return {}

    def _list_provisioned(self, call: Call) -> Any:
        name = self._name(call)
        arn = self.peer.backend.get_function(name).function_arn
        found = [
            {"FunctionArn": f"{arn}:{key[1]}", **one.answer()}
            for key, one in self._provisioned.items()
            if key[0] == name
        ]
        return {"ProvisionedConcurrencyConfigs": found}

    def _qualified(self, call: Call) -> tuple[str, str]:
        name, qualifier = self._name(call), call.parameters["Qualifier"]
        if qualifier == LATEST:
            message = "Provisioned Concurrency Configs are of published function versions."
            raise AwsError("InvalidParameterValueException", message)
        self.peer.backend.get_function(name, qualifier)
        return name, qualifier

    def _name(self, call: Call) -> str:
        return str(call.parameters["FunctionName"]).rpartition(":function:")[2].partition(":")[0]

    def _refuse_while_changing(self, name: str) -> None:
        arn = self.peer.backend.get_function(name).function_arn
        if time.monotonic() < self._created.get((name, LATEST), 0):
            raise _conflict("The function is currently in the following state: Pending")
        if time.monotonic() < self._updated.get(name, 0):
            raise _conflict(f"An update is in progress for resource: {arn}")

    def _renew(self, name: str, what: str) -> None:
        self._revisions[name, what] = str(uuid.uuid4())

    def _same_revision(self, call: Call, name: str, what: str) -> None:
        wanted = call.parameters.get("RevisionId")
        if wanted not in (None, self._revisions.get((name, what))):
            message = "The Revision Id provided does not match the latest Revision Id."
            raise AwsError("PreconditionFailedException", message)

    def _settled(self, config: dict[str, Any], qualifier: str | None = None) -> dict[str, Any]:
        name, version, now = config["FunctionName"], str(config["Version"]), time.monotonic()
        config["RevisionId"] = self._revisions.setdefault((name, version), str(uuid.uuid4()))
        if now < self._created.get((name, version), 0):
            config["State"] = "Pending"
            config["StateReasonCode"] = "Creating"
            config["StateReason"] = "The function is being created."
        if version == LATEST and now < self._updated.get(name, 0):
            config["LastUpdateStatus"] = "InProgress"
            config["LastUpdateStatusReasonCode"] = "Creating"
        return config

    def _rewritten(self, answer: Answer, qualifier: str | None = None) -> Answer:
        """With the states that functions really have."""
        if answer.status >= 300:
            return answer
        content = json.loads(answer.body)
        for config in content.get("Functions") or content.get("Versions") or []:
            self._settled(config)
        if "Configuration" in content:
            self._settled(content["Configuration"])
        elif "FunctionName" in content:
            self._settled(content)
        return self._serialized(answer.status, content)

    def _rewritten_aliases(self, name: str, answer: Answer) -> Answer:
        if answer.status >= 300:
            return answer
        content = json.loads(answer.body)
        for alias in content.get("Aliases", [content]):
            key = (name, alias["Name"])
            alias["RevisionId"] = self._revisions.setdefault(key, str(uuid.uuid4()))
            if not _weights(alias.get("RoutingConfig")):
                alias.pop("RoutingConfig", None)
        return self._serialized(answer.status, content)

    @staticmethod
    def _serialized(status: int, content: Any) -> Answer:
        body = json.dumps(content).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        return Answer(status, tuple(headers.items()), body)


def _weights(routing: Any) -> dict[str, float]:
    return dict((routing or {}).get("AdditionalVersionWeights") or {})


def _conflict(message: str) -> AwsError:
    return AwsError(
        "ResourceConflictException",
        f"The operation cannot be performed at this time. {message}",
    )
