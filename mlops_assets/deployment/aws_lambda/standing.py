"""How things stand with a function's versions: which one a manifest is about, what succeeds what,
and what people are told.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from mlops_assets.deployment.aws_lambda import alias as lambda_alias
from mlops_assets.deployment.aws_lambda import code as lambda_code
from mlops_assets.deployment.aws_lambda.alias import Alias, Standing
from mlops_assets.deployment.aws_lambda.function import Function, Published
from mlops_assets.deployment.targets.base import Manifest
from mlops_assets.gateways.records import Endpoint


def of(
    manifest: Manifest, published: Sequence[Published], variables: Mapping[str, str] | None = None
) -> Published | None:
    """The newest version made from a manifest; with these variables, unless any will do."""
    wanted = lambda_code.fingerprint(manifest)
    found = [
        one
        for one in published
        if one.manifest == wanted and variables in (None, dict(one.variables))
    ]
    return found[-1] if found else None


def succeeding(
    before: Standing, candidate: Published, published: Sequence[Published], now: datetime
) -> Standing:
    """What stands once the candidate is settled."""
    since = now.isoformat(timespec="seconds")
    if candidate.number == before.stable:
        return replace(before, since=since, stopped=False)
    old = {one.number: one.version for one in published}.get(before.stable or "", 0)
    previous = before.previous if old in (0, candidate.version) else old
    return Standing(candidate.number, since, previous, kept=before.stable)


def clear(function: Function, published: Sequence[Published], keep: Collection[str | None]) -> None:
    """Remove all other versions."""
    for one in published:
        if one.number not in keep:
            function.remove(one.number)


def stop(function: Function, published: Sequence[Published]) -> None:
    """Let nothing of the function run, nor wait; what runs ends by itself."""
    for one in published:
        function.provision(one.number, None)
    function.reserve(0)


def endpoint(
    experiment: str, function: Function, alias: Alias, published: Sequence[Published]
) -> Endpoint:
    """What answers callers, as far as AWS says."""
    known, shares = {one.number: one for one in published}, alias.shares
    stable = alias.standing.stable
    number = stable if stable in shares else alias.primary
    one, address = known.get(str(number)), lambda_alias.address(function)
    traffic: dict[str, float] = {}
    for each, share in shares.items():
        version = str(known[each].version if each in known else 0)
        traffic[version] = traffic.get(version, 0.0) + share
    problem = ""
    if one is None or not one.version:
        problem = f"the alias leads to version {number} of the function, which is not of ours"
    elif address is None:
        problem = "its URL is gone; deploy again to make another one"
    stopped = function.reserved() == 0
    return Endpoint(
        experiment=experiment,
        target="aws_lambda",
        url="" if address is None else address[0],
        version=0 if one is None else one.version,
        bundle_digest="" if one is None else one.bundle_digest,
        since=alias.standing.since,
        previous_version=alias.standing.previous,
        state="stopped" if stopped else ("failed" if problem else "live"),
        detail=problem,
        traffic=traffic if len(traffic) > 1 else {},
    )
