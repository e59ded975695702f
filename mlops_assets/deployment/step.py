"""One step of a rollout: the candidate has a share of the traffic, and is watched until it is known
whether it does harm. Knows nothing of the steps before and after it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mlops_assets.deployment import judge
from mlops_assets.deployment.counts import Growth
from mlops_assets.deployment.judge import Verdict
from mlops_assets.deployment.spec import RolloutSpec
from mlops_assets.deployment.targets.base import (
    HarmError,
    Manifest,
    Target,
    TargetContext,
    TargetError,
    Traffic,
)
from mlops_assets.gateways.wait import wait_until


class RefusedError(Exception):
    """The candidate is not fit, or not wanted; the message completes a sentence about it."""


@dataclass(frozen=True)
class Step:
    """A share of the traffic that the candidate had, and what was seen."""

    asked: float
    given: float
    """Where the platform deals in whole replicas, not quite what was asked for."""
    seconds: float
    candidate: Traffic
    stable: Traffic
    verdict: str


def take(
    target: Target,
    manifest: Manifest,
    share: float,
    *,
    spec: RolloutSpec,
    context: TargetContext,
    tell: Callable[[str], None],
) -> Step:
    """Give the candidate the share, and return once it may have more.

    Raises:
        RefusedError: it does harm, or nobody knows.
        TargetError: the platform refused.
    """
    given = target.shift(manifest, share, context)
    tell(f"version {manifest['version']} has {given:.0%} of the traffic")
    watch = _Watch(target, manifest, given, spec, context, tell)
    verdict = watch.lasting()
    tell(f"version {manifest['version']} at {given:.0%}: {verdict.reason}")
    return Step(share, given, watch.seconds, watch.candidate, watch.stable, verdict.reason)


class _Watch:
    def __init__(
        self,
        target: Target,
        manifest: Manifest,
        given: float,
        spec: RolloutSpec,
        context: TargetContext,
        tell: Callable[[str], None],
    ) -> None:
        self._target = target
        self._experiment, self._version = manifest["experiment"], manifest["version"]
        self._given = given
        self._spec = spec
        self._context = context
        self._tell = tell
        self._began = context.now()
        self._blind_since: datetime | None = None
        self._growth = Growth(restarts=target.tells)
        self._verdict = Verdict("unsure", "its traffic was not looked at yet")

    @property
    def seconds(self) -> float:
        return self._since(self._began)

    @property
    def candidate(self) -> Traffic:
        return self._growth.of({self._version})

    @property
    def stable(self) -> Traffic:
        return self._growth.of(self._growth.versions - {self._version})

    def lasting(self) -> Verdict:
        """The verdict on the whole step."""

        def passed() -> bool:
            self._look()
            return self._verdict.outcome == "fine" and self.seconds >= self._spec.bake_s

        try:
            wait_until(
                passed,
                timeout=self._spec.timeout_s,
                interval=self._spec.interval_s,
                clock=lambda: self._context.now().timestamp(),
                sleep=self._context.sleep,
            )
        except TimeoutError as error:
            if self._spec.when_unsure == "roll_back":
                raise RefusedError(
                    f"after {self._spec.timeout_s:g} s at {self._given:.0%} of the traffic it is "
                    f"still not known whether it is fine: {self._verdict.reason}"
                ) from error
        return self._verdict

    def _look(self) -> None:
        """One that fails is repeated before it counts: it says nothing of the version."""
        slower_than = self._spec.slow_ms / 1000
        try:
            now = self._target.measure(self._experiment, slower_than, self._context)
        except HarmError:
            raise
        except TargetError as error:
            self._blind(error)
            return
        self._blind_since = None
        self._growth.look(now)
        self._verdict = judge.judge(self.candidate, self.stable, self._spec.limits)
        if self._verdict.outcome == "harm":
            raise RefusedError(f"at {self._given:.0%} of the traffic, {self._verdict.reason}")
        if self._version not in now:
            said = f"version {self._version} tells nothing: none of it is ready"
            self._verdict = Verdict("unsure", said)

    def _blind(self, error: TargetError) -> None:
        self._blind_since = self._blind_since or self._context.now()
        lasts = self._since(self._blind_since)
        if lasts >= self._spec.blind_s:
            raise RefusedError(
                f"at {self._given:.0%} of the traffic it could not be measured for {lasts:g} s: "
                f"{error}"
            ) from error
        self._tell(f"a look at the traffic failed, and is repeated: {error}")
        self._verdict = Verdict("unsure", f"its traffic could not be measured: {error}")

    def _since(self, moment: datetime) -> float:
        return (self._context.now() - moment).total_seconds()
