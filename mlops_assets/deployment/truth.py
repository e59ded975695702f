"""Whether what is really live is what the registry says should be. Pure."""

from dataclasses import dataclass

from mlops_assets.deployment.breach import Breach
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
    breach: Breach | None = None
    """What is live, and what should be, where it does not."""


def unknown(reason: object) -> Verdict:
    """Of an endpoint that cannot be judged."""
    said = f"it cannot be found out: {reason}"
    return Verdict(False, said, known=False, breach=Breach("not known", "the champion"))


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
            breach=Breach(f"version {progress.version} half rolled out", "rollout ended"),
        )
    if champion is None:
        return Verdict(True, "no version is the champion yet")
    if deploying:
        return Verdict(True, f"version {champion} is being deployed")
    if stopped:
        return Verdict(True, f"{STOPPED}; the champion is version {champion}")
    due = f"version {champion}"
    if endpoint is None:
        said = f"nothing was ever deployed; the champion is version {champion}"
        return Verdict(False, said, breach=Breach("nothing", due))
    if endpoint.state != "live":
        said = f"the endpoint is {endpoint.state}: {endpoint.detail or 'no detail'}"
        return Verdict(False, said, breach=Breach(endpoint.state, f"{due} live"))
    live = f"version {endpoint.version}"
    if endpoint.version != champion:
        said = f"{live} is live; the champion is {due}"
        return Verdict(False, said, breach=Breach(live, due))
    if digest is not None and endpoint.bundle_digest != digest:
        other, registered = endpoint.bundle_digest[:12], digest[:12]
        said = f"{live} is live with bundle {other}; registered was {registered}"
        return Verdict(False, said, breach=Breach(f"bundle {other}", f"bundle {registered}"))
    if len(endpoint.traffic) > 1:
        shares = ", ".join(f"version {v}: {share:.0%}" for v, share in endpoint.traffic.items())
        said = f"the traffic is split, and no rollout is under way: {shares}"
        return Verdict(False, said, breach=Breach(shares, f"{due}: 100%"))
    return Verdict(True, f"version {champion} is live and the champion")


def serving_words(endpoint: Endpoint | None) -> str:
    """What callers get, in a sentence."""
    if endpoint is None or endpoint.state != "live":
        return "Nothing serves"
    return f"Version {endpoint.version} still serves at {endpoint.url}"
