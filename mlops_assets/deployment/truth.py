"""Whether what is really live is what the registry says should be. Pure."""

from dataclasses import dataclass

from mlops_assets.deployment.journal import Progress
from mlops_assets.gateways.records import Endpoint

STOPPED = "it was stopped by `mlops stop`, and is not to answer until it is deployed again"


@dataclass(frozen=True)
class Verdict:
    """Whether an endpoint serves the champion."""

    passed: bool
    reason: str
    abandoned: bool = False
    """A rollout was begun, and nobody is there who ends it."""
    known: bool = True
    """Whether it could be found out."""


def unknown(reason: object) -> Verdict:
    """Of an endpoint that cannot be judged."""
    return Verdict(False, f"it cannot be found out: {reason}", known=False)


def serves_the_champion(
    endpoint: Endpoint | None,
    *,
    champion: int | None,
    digest: str | None,
    progress: Progress | None,
    deploying: bool,
    stopped: bool,
) -> Verdict:
    """Compare an endpoint with the registry.

    Args:
        endpoint: as observed now; None when nothing was ever deployed.
        champion: version with the alias; None when no version has it.
        digest: of the champion's bundle, as registered.
        progress: the newest rollout, if there was one.
        deploying: whether a run works on it, or is about to.
        stopped: whether it is silent because somebody wants it to be.
    """
    if progress is not None and not progress.ended:
        if deploying:
            return Verdict(True, f"version {progress.version} is being rolled out")
        return Verdict(
            False,
            f"the rollout of version {progress.version}, begun by run {progress.run}, was left "
            "unfinished: deploy again, which finishes or removes it",
            abandoned=True,
        )
    if champion is None:
        return Verdict(True, "no version is the champion yet")
    if deploying:
        return Verdict(True, f"version {champion} is being deployed")
    if stopped:
        return Verdict(True, f"{STOPPED}; the champion is version {champion}")
    if endpoint is None:
        return Verdict(False, f"nothing was ever deployed; the champion is version {champion}")
    if endpoint.state != "live":
        return Verdict(False, f"the endpoint is {endpoint.state}: {endpoint.detail or 'no detail'}")
    if endpoint.version != champion:
        return Verdict(
            False, f"version {endpoint.version} is live; the champion is version {champion}"
        )
    if digest is not None and endpoint.bundle_digest != digest:
        return Verdict(
            False,
            f"version {champion} is live with bundle {endpoint.bundle_digest[:12]}; registered "
            f"was {digest[:12]}",
        )
    if len(endpoint.traffic) > 1:
        shares = ", ".join(f"version {v}: {share:.0%}" for v, share in endpoint.traffic.items())
        return Verdict(False, f"the traffic is split, and no rollout is under way: {shares}")
    return Verdict(True, f"version {champion} is live and the champion")


def serving_words(endpoint: Endpoint | None) -> str:
    """What callers get, in a sentence."""
    if endpoint is None or endpoint.state != "live":
        return "Nothing serves"
    return f"Version {endpoint.version} still serves at {endpoint.url}"
