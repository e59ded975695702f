"""AWS Lambda: a function per experiment, a published version per version of ours, one alias."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from mlops_assets.deployment.aws_lambda import alias as lambda_alias
from mlops_assets.deployment.aws_lambda import code as lambda_code
from mlops_assets.deployment.aws_lambda import events as lambda_events
from mlops_assets.deployment.aws_lambda import metrics as lambda_metrics
from mlops_assets.deployment.aws_lambda import standing as lambda_standing
from mlops_assets.deployment.aws_lambda.alias import Alias, Standing
from mlops_assets.deployment.aws_lambda.function import NOT_YET, Function
from mlops_assets.deployment.aws_lambda.spec import LambdaSpec, name_of
from mlops_assets.deployment.distributions import PackageError
from mlops_assets.deployment.targets.base import (
    Counts,
    LostError,
    Manifest,
    TargetContext,
    TargetError,
)
from mlops_assets.gateways.aws import READ_TIMEOUT, CloudError, Patience, Service
from mlops_assets.gateways.records import Endpoint
from mlops_assets.serving import client
from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.client import Answer, EndpointError

INTERVAL = 1.0
"""Seconds between two questions for what takes Lambda its time."""

P = ParamSpec("P")
R = TypeVar("R")


def told(method: Callable[P, R]) -> Callable[P, R]:
    """What AWS or the package refuses, as the contract has it."""

    @wraps(method)
    def telling(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except (CloudError, PackageError, BundleError) as error:
            raise TargetError(str(error)) from error

    return telling


class AwsLambda(LambdaSpec):
    """A function on AWS Lambda, for traffic that comes and goes."""

    kind: Literal["aws_lambda"]
    """`aws_lambda`."""

    @told
    def apply(self, manifest: Manifest, bundle: Path, context: TargetContext) -> None:
        """Publish the candidate, which nobody is led to, and have it answer once."""
        function = self._function(manifest["experiment"], context)
        self.key(context)
        variables = lambda_code.variables(manifest, context)
        there = function.ours(manifest["experiment"]) is not None
        found = lambda_standing.of(manifest, function.published() if there else [], variables)
        if found is None:
            settings = lambda_code.settings(manifest, variables, context.now().isoformat())
            with lambda_code.packed(manifest, bundle, context) as (code, sha256):
                function.put(code, settings, manifest["experiment"])
            found = function.publish(lambda_code.description(manifest), sha256)
        function.await_active(found.number)
        _make_room(function, manifest["reserved_concurrency"])
        function.provision(found.number, manifest["provisioned_concurrency"])
        event = lambda_events.event("GET", "/v2/health/ready", "", {})
        answer = lambda_events.response(function.invoke(found.number, event, NOT_YET))
        if answer.status != 200:
            raise TargetError(f"version {manifest['version']} is not ready: {answer.body[:300]}")

    @told
    def ask(
        self,
        experiment: str,
        version: int,
        records: Sequence[Mapping[str, Any]],
        context: TargetContext,
    ) -> Answer:
        function = self._function(experiment, context)
        found = [one for one in function.published() if one.version == version]
        if not found:
            raise TargetError(f"version {version} of {experiment} is not on Lambda")
        headers = {"content-type": client.JSON, client.PROBE_HEADER: "1"}
        if (key := self.key(context)) is not None:
            headers["authorization"] = f"Bearer {key}"
        event = lambda_events.event("POST", "/invocations", client.body(records), headers)
        url = f"{function.name}:{found[-1].number}"
        try:
            said = lambda_events.response(function.invoke(found[-1].number, event))
        except CloudError as error:
            if error.operation != "invoke" or not error.code.startswith("failed"):
                raise
            raise EndpointError(
                url, status=502, reason=error.code, message=error.message, request_id=""
            ) from error
        except ValueError as error:
            raise EndpointError(
                url, status=200, reason="", message=str(error), request_id=""
            ) from error
        return client.read(url, said.status, said.body, said.request_id)

    @told
    def shift(self, manifest: Manifest, share: float, context: TargetContext) -> float:
        function = self._function(manifest["experiment"], context)
        candidate = lambda_standing.of(manifest, function.published())
        if candidate is None:
            raise TargetError(f"version {manifest['version']} was not brought up")
        alias = lambda_alias.read(function)
        standing = Standing() if alias is None else alias.standing
        if standing.stable is None:
            if share > 0:
                lambda_alias.point(function, Alias(candidate.number, {}, standing))
                lambda_alias.listen(function, manifest["auth"])
            else:
                lambda_alias.remove(function)
            return 1.0 if share > 0 else 0.0
        if candidate.number == standing.stable or share == 0:
            wanted = Alias(standing.stable, {}, standing)
        elif share < 1:
            wanted = Alias(standing.stable, {candidate.number: share}, standing)
        else:
            wanted = Alias(candidate.number, {standing.stable: 0.0}, standing)
        lambda_alias.point(function, wanted)
        return wanted.shares.get(candidate.number, 0.0)

    @told
    def settle(self, manifest: Manifest, context: TargetContext) -> Endpoint:
        experiment = manifest["experiment"]
        function = self._function(experiment, context)
        published = function.published()
        candidate, alias = lambda_standing.of(manifest, published), lambda_alias.read(function)
        if candidate is None or alias is None or alias.primary != candidate.number:
            raise LostError(f"callers are not led to version {manifest['version']} any more")
        if function.reserved() == 0:
            raise LostError(f"{function.name} was stopped")
        standing = alias.standing
        if candidate.number != standing.stable or standing.stopped:
            standing = lambda_standing.succeeding(standing, candidate, published, context.now())
        if standing != alias.standing or not alias.alone:
            lambda_alias.point(function, Alias(candidate.number, {}, standing))
        lambda_alias.listen(function, manifest["auth"])
        lambda_standing.clear(function, published, keep={candidate.number, standing.kept})
        function.reserve(manifest["reserved_concurrency"])
        if standing.kept is not None:
            function.provision(standing.kept, None)
        return self._there(experiment, context)

    @told
    def rollback(self, manifest: Manifest, context: TargetContext) -> Endpoint | None:
        experiment = manifest["experiment"]
        function = self._function(experiment, context)
        if function.ours(experiment) is None:
            return None
        alias = lambda_alias.read(function)
        if alias is None or alias.standing.stable is None:
            function.remove()  # it was made for the candidate
            return None
        published, stable = function.published(), alias.standing.stable
        candidate = lambda_standing.of(manifest, published)
        if candidate is not None and candidate.number != stable:
            if not alias.alone:
                lambda_alias.point(function, alias.back())
            kept = {alias.standing.kept} - {candidate.number}
            lambda_standing.clear(function, published, keep={stable, *kept})
        if alias.standing.stopped:
            lambda_standing.stop(function, published)
        return self._there(experiment, context)

    @told
    def measure(self, experiment: str, slower_than: float, context: TargetContext) -> Counts:
        function = self._function(experiment, context)
        # Of two with the same version of ours, the newer one.
        numbers = {one.version: one for one in function.published() if one.version}
        if not numbers:
            return {}
        alias = lambda_alias.read(function)
        alone, since = None, max(one.when for one in numbers.values())
        if alias is not None and alias.alone:
            alone, since = alias.primary, datetime.fromisoformat(alias.standing.since)
        found = lambda_metrics.read(
            Service("cloudwatch", region=self.region, variables=context.variables),
            function.name,
            [one.number for one in numbers.values()],
            alone=alone,
            slower_than=slower_than,
            since=since,
            now=context.now(),
        )
        return {version: {one.number: found[one.number]} for version, one in numbers.items()}

    @told
    def observe(self, experiment: str, context: TargetContext) -> Endpoint | None:
        function = self._function(experiment, context)
        alias = lambda_alias.read(function)
        if alias is None or alias.standing.stable is None:
            return None
        return lambda_standing.endpoint(experiment, function, alias, function.published())

    @told
    def serves(self, manifest: Manifest, context: TargetContext) -> Endpoint | None:
        function = self._function(manifest["experiment"], context)
        alias = lambda_alias.read(function)
        if alias is None or not alias.alone:
            return None
        published = function.published()
        found = lambda_standing.of(manifest, published, lambda_code.variables(manifest, context))
        if found is None or found.number != alias.standing.stable:
            return None
        seen = lambda_standing.endpoint(manifest["experiment"], function, alias, published)
        address = lambda_alias.address(function)
        open_as_asked = address is not None and address[1] == manifest["auth"]
        return seen if seen.state == "live" and open_as_asked else None

    @told
    def retire(self, experiment: str, context: TargetContext) -> Endpoint | None:
        """Let nothing run any more: the function stays, with what it is to be brought back."""
        function = self._function(experiment, context)
        if function.ours(experiment) is None:
            return None
        alias = lambda_alias.read(function)
        if alias is None or alias.standing.stable is None:
            function.remove()  # nothing was ever settled
            return None
        lambda_alias.point(function, alias.back(stopped=True))
        lambda_standing.stop(function, function.published())
        return self._there(experiment, context)

    def _function(self, experiment: str, context: TargetContext) -> Function:
        lambdas = Service(
            "lambda",
            region=self.region,
            variables=context.variables,
            read_timeout=max(READ_TIMEOUT, self.timeout_s + 30.0),
        )
        patience = Patience(self.startup_timeout_s, INTERVAL, context.now, context.sleep)
        return Function(lambdas, name_of(experiment), patience)

    def _there(self, experiment: str, context: TargetContext) -> Endpoint:
        found = self.observe(experiment, context)
        if found is None:
            raise TargetError(f"{name_of(experiment)} is gone from Lambda")
        return found


def _make_room(function: Function, wanted: int | None) -> None:
    """For a candidate beside the stable version, which is to lose none of its own; what was stopped
    runs again."""
    there = function.reserved()
    if there is not None and (wanted is None or wanted > there):
        function.reserve(wanted)
