"""Where the callers of a function are led: its alias, and the alias's address.

What is stable stands in the description of the alias, on AWS itself: one call changes both what
callers get and what is said of it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from mlops_assets.deployment.aws_lambda.function import Function
from mlops_assets.gateways.aws import CloudError

ALIAS = "live"
OPEN: dict[str, dict[str, Any]] = {
    "mlops-url": {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
    "mlops-url-invoke": {"Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
}
"""Statements by which everybody may ask the address."""


@dataclass(frozen=True)
class Standing:
    """What was settled last."""

    stable: str | None = None
    """Number of the published version; None while the first is on its way."""
    since: str = ""
    """ISO 8601, UTC."""
    previous: int | None = None
    """Our version before it."""
    kept: str | None = None
    """Number of that version, which stays so that coming back to it is quick."""
    stopped: bool = False


@dataclass(frozen=True)
class Alias:
    """Where calls go, and what was settled."""

    primary: str
    weights: Mapping[str, float]
    standing: Standing

    @property
    def shares(self) -> dict[str, float]:
        """Of the calls, by the number of the version."""
        given = {number: share for number, share in self.weights.items() if share > 0}
        rest = 1.0 - sum(given.values())
        return {**({self.primary: rest} if rest > 0 else {}), **given}

    @property
    def alone(self) -> bool:
        """Whether all is as it was settled."""
        return self.primary == self.standing.stable and not self.weights

    def back(self, *, stopped: bool | None = None) -> "Alias":
        """All for what was settled."""
        stopped = self.standing.stopped if stopped is None else stopped
        standing = replace(self.standing, stopped=stopped)
        return Alias(str(standing.stable), {}, standing)


def read(function: Function) -> Alias | None:
    """Where callers are led; None when there is no alias.

    Raises:
        CloudError: its description is not what we write.
    """
    found = function.if_there("get_alias", Name=ALIAS)
    if found is None:
        return None
    try:
        standing = Standing(**json.loads(found.get("Description") or ""))
    except (ValueError, TypeError) as error:
        raise CloudError(
            "get_alias",
            "NotOurs",
            f"the description of the alias {ALIAS} of {function.name} does not hold what was "
            f"settled: {error}; remove the alias, and deploy again",
        ) from error
    weights = (found.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    return Alias(str(found["FunctionVersion"]), weights, standing)


def point(function: Function, wanted: Alias) -> None:
    """Have the alias be like this, in one step."""
    arguments: dict[str, Any] = {
        "Name": ALIAS,
        "FunctionVersion": wanted.primary,
        "Description": json.dumps(asdict(wanted.standing), separators=(",", ":")),
    }
    routing = {"AdditionalVersionWeights": dict(wanted.weights)}
    function.ensure(
        lambda: function.if_there("update_alias", **arguments, RoutingConfig=routing),
        lambda: function.call("create_alias", **arguments),
    )


def remove(function: Function) -> None:
    function.if_there("delete_function_url_config", Qualifier=ALIAS)
    function.if_there("delete_alias", Name=ALIAS)


def address(function: Function) -> tuple[str, str] | None:
    """The URL and whom it lets in, `NONE` or `AWS_IAM`; None when there is none."""
    found = function.if_there("get_function_url_config", Qualifier=ALIAS)
    return None if found is None else (found["FunctionUrl"].rstrip("/"), found["AuthType"])


def listen(function: Function, auth: str) -> None:
    """Have the alias answer at a URL: everybody with `NONE`, IAM's callers with `AWS_IAM`."""
    found = function.ensure(
        lambda: function.if_there("get_function_url_config", Qualifier=ALIAS),
        lambda: function.call("create_function_url_config", Qualifier=ALIAS, AuthType=auth),
    )
    if found["AuthType"] != auth:
        function.when_free("update_function_url_config", Qualifier=ALIAS, AuthType=auth)
    for name, statement in OPEN.items():
        if auth == "NONE":
            asked: dict[str, Any] = {
                "StatementId": name,
                "Qualifier": ALIAS,
                "Principal": "*",
                **statement,
            }
            function.ensure(
                lambda name=name: _allowed(function).get(name),  # type: ignore[misc]
                lambda asked=asked: function.call("add_permission", **asked),  # type: ignore[misc]
            )
        elif name in _allowed(function):
            function.if_there("remove_permission", Qualifier=ALIAS, StatementId=name)


def _allowed(function: Function) -> dict[str, Any]:
    """The statements on who may ask the alias, by name."""
    policy = function.if_there("get_policy", Qualifier=ALIAS)
    said = json.loads(policy["Policy"])["Statement"] if policy else []
    return {one.get("Sid", ""): one for one in said}
