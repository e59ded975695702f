"""The way of a version to the traffic, one and the same on every target.

    bringing_up -> shifting -> settling -> done
         |            |           |
         +------------+-----------+-> rolling_back -> rolled_back

Each step is written down before it is taken, and may be taken again. A rollout that was killed is
finished by the next one of the same version, and cleaned up by one of another; one that was being
settled is settled by either, unless it lost its traffic meanwhile. A version that returns by a
rollback is shifted to at once: nothing is learnt from the version it leaves. Knows targets by their
contract alone, and nothing of Dagster.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mlops_assets.deployment import step, truth
from mlops_assets.deployment.journal import Journal, Progress
from mlops_assets.deployment.probe import probe
from mlops_assets.deployment.spec import RolloutSpec
from mlops_assets.deployment.step import RefusedError, Step
from mlops_assets.deployment.targets.base import (
    LostError,
    Manifest,
    Release,
    Target,
    TargetContext,
    TargetError,
)
from mlops_assets.gateways.records import Endpoint

ATTENTION_S = 5.0
"""Seconds after which somebody who takes the candidate back is heard at the latest."""

Withdrawn = Callable[[], str]
"""Why the release is not wanted any more; empty while it is."""


class RolloutError(TargetError):
    """A version did not get the traffic; the message says why, and what serves instead."""


@dataclass(frozen=True)
class Outcome:
    """How a rollout went."""

    endpoint: Endpoint
    steps: tuple[Step, ...]
    changed: bool
    """Whether anything was done: not when the version was live already."""


def roll_out(
    target: Target,
    release: Release,
    bundle: Path,
    *,
    spec: RolloutSpec,
    journal: Journal,
    context: TargetContext,
    run: str,
    tell: Callable[[str], None],
    returns: bool = False,
    withdrawn: Withdrawn = lambda: "",
) -> Outcome:
    """Bring a release to the traffic, or leave the traffic where it is.

    Args:
        target: where.
        release: what.
        bundle: its verified bundle on local disk.
        spec: the steps, and what is harm.
        journal: of this endpoint.
        context: for the target.
        run: who asks, for the journal.
        tell: progress, in sentences.
        returns: whether it returns by a rollback. It then gets all of the traffic as soon as it
            answers right, without steps, and is held up by nothing that comes of the version it
            leaves.
        withdrawn: asked every few seconds while it comes up, and while it has steps of the traffic.

    Raises:
        RolloutError: the version was refused and removed; what served before serves.
        TargetError: it is not known how things stand, or something is left; the next rollout goes
            on from there.
    """
    # As the journal gives it back.
    manifest = json.loads(json.dumps(target.render(release, context)))
    if returns:
        target, spec = target.unguarded(), spec.model_copy(update={"steps": ()})
    rollout = _Rollout(target, spec, journal, context, tell, withdrawn)
    begun = rollout.resume(manifest)
    if begun is None and (live := target.serves(manifest, context)) is not None:
        tell(f"version {live.version} is live already")
        return Outcome(live, (), changed=False)
    if begun is not None and begun.stage == "settling":
        if (settled := rollout.finish(begun)) is not None:
            return Outcome(settled, (), changed=True)
        begun = None
    progress = begun or Progress(
        run=run,
        version=release.version,
        manifest=manifest,
        stage="bringing_up",
        share=0.0,
        began=context.now().isoformat(timespec="seconds"),
        reason="",
    )
    return rollout.forward(progress, bundle)


def clean_up(
    target: Target,
    *,
    spec: RolloutSpec,
    journal: Journal,
    context: TargetContext,
    tell: Callable[[str], None],
) -> bool:
    """End a rollout whose run was killed, without beginning another; whether there was one.

    Raises:
        TargetError: something is left.
    """
    begun = journal.read()
    if begun is None or begun.ended:
        return False
    _Rollout(target, spec, journal, context, tell).resume({})
    return True


def _attentive(context: TargetContext, heed: Callable[[], None]) -> TargetContext:
    """The same for whoever waits long: every few seconds of it `heed` is called, and what that
    raises ends the waiting."""
    heard = context.now()

    def sleep(seconds: float) -> None:
        nonlocal heard
        left = seconds
        while left > 0:
            context.sleep(pause := min(left, ATTENTION_S))
            left -= pause
            # After another pause as long it would be too late.
            if (context.now() - heard).total_seconds() + pause > ATTENTION_S:
                heard = context.now()
                heed()

    return replace(context, sleep=sleep)


class _Rollout:
    def __init__(
        self,
        target: Target,
        spec: RolloutSpec,
        journal: Journal,
        context: TargetContext,
        tell: Callable[[str], None],
        withdrawn: Withdrawn = lambda: "",
    ) -> None:
        self._target = target
        self._spec = spec
        self._journal = journal
        self._context = context
        self._tell = tell
        self._withdrawn = withdrawn

    def resume(self, manifest: Manifest) -> Progress | None:
        """What is to be gone on with; whatever else was begun is ended first."""
        begun = self._journal.read()
        if begun is None or begun.ended:
            return None
        who = f"version {begun.version}, begun by run {begun.run} at {begun.began}"
        if begun.stage == "settling" and begun.manifest != manifest:
            self._tell(f"settles {who}")
            self.finish(begun)
            return None
        if begun.stage == "rolling_back" or begun.manifest != manifest:
            self._tell(f"removes {who} and never finished")
            self._back(replace(begun, reason=begun.reason or "its run ended early"))
            return None
        self._tell(f"goes on with {who}: {begun.stage.replace('_', ' ')}")
        return begun

    def finish(self, begun: Progress) -> Endpoint | None:
        """Settle what a killed run was settling; None when it does not have the traffic any more,
        which ends it."""
        try:
            return self._settle(begun)
        except LostError as error:
            self._back(replace(begun, reason=str(error)))
            return None

    def forward(self, progress: Progress, bundle: Path) -> Outcome:
        version, manifest = progress.version, progress.manifest
        steps: list[Step] = []
        attentive = _attentive(self._context, self._heed)
        try:
            self._tell(f"brings up version {version}")
            self._journal.write(progress)
            self._target.apply(manifest, bundle, attentive)
            self._answers(manifest, bundle)
            self._heed()
            for share in self._shares(progress):
                progress = replace(progress, stage="shifting", share=share)
                self._journal.write(progress)
                steps.append(
                    step.take(
                        self._target,
                        manifest,
                        share,
                        spec=self._spec,
                        context=attentive,
                        tell=self._tell,
                    )
                )
            self._heed()
            progress = replace(progress, stage="shifting", share=1.0)
            self._journal.write(progress)
            self._target.shift(manifest, 1.0, self._context)
            self._answers(manifest, bundle)
        except (TargetError, RefusedError) as error:
            raise self._refuse(progress, str(error)) from error
        return Outcome(self._settle(progress), tuple(steps), changed=True)

    def _shares(self, progress: Progress) -> tuple[float, ...]:
        """The steps that are left, the one that was begun among them."""
        if not self._target.splits:
            return ()
        there = self._target.observe(progress.manifest["experiment"], self._context)
        if there is None or there.state == "stopped":
            return ()
        shares = [step / 100 for step in self._spec.steps]
        return tuple(share for share in shares if share >= progress.share)

    def _answers(self, manifest: Manifest, bundle: Path) -> None:
        experiment, version = manifest["experiment"], manifest["version"]
        found = probe(
            lambda records: self._target.ask(experiment, version, records, self._context),
            version=version,
            bundle_folder=bundle,
        )
        if not found.passed:
            raise RefusedError(f"it does not answer its golden requests: {found.reason}")
        self._tell(f"version {version}: {found.reason}")

    def _heed(self) -> None:
        """Those who take the candidate back."""
        if reason := self._withdrawn():
            raise RefusedError(reason)

    def _settle(self, progress: Progress) -> Endpoint:
        self._journal.write(replace(progress, stage="settling", share=1.0))
        self._tell(f"version {progress.version} has all of the traffic, and is settled")
        endpoint = self._target.settle(progress.manifest, self._context)
        self._journal.write(replace(progress, stage="done", share=1.0))
        self._tell(f"version {endpoint.version} is live")
        return endpoint

    def _refuse(self, progress: Progress, reason: str) -> RolloutError:
        """Roll back, and say what is there then."""
        left = self._back(replace(progress, reason=reason))
        return RolloutError(
            f"version {progress.version} was rolled back: {reason}. {truth.serving_words(left)}"
        )

    def _back(self, progress: Progress) -> Endpoint | None:
        self._journal.write(replace(progress, stage="rolling_back"))
        self._tell(f"rolls version {progress.version} back: {progress.reason}")
        try:
            left = self._target.rollback(progress.manifest, self._context)
        except TargetError as error:
            raise TargetError(
                f"version {progress.version} is to be rolled back ({progress.reason}), which did "
                f"not succeed: {error}. The next deployment tries again"
            ) from error
        self._journal.write(replace(progress, stage="rolled_back", share=0.0))
        return left
