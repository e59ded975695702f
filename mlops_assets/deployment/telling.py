"""Asks every endpoint of an experiment what it says of itself, all at once and not for long."""

from functools import partial

from mlops_assets.deployment import at_once, counts
from mlops_assets.deployment.targets.base import Target, TargetContext, TargetError
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.gateways.telemetry import State, Telemetry

PATIENCE = 20.0
"""Seconds for all of them together."""


def told(
    experiment: Experiment, version: int, context: TargetContext, *, patience: float = PATIENCE
) -> tuple[Telemetry, ...]:
    """What each endpoint tells, in the order of the YAML.

    Args:
        experiment: whose endpoints are asked.
        version: whose traffic counts.
        context: of the targets.
        patience: seconds, after which one that has told nothing counts as silent.
    """
    targets = dict(enumerate(experiment.deployment.targets))
    asks = {
        number: partial(_ask, experiment, target, version, context)
        for number, target in targets.items()
    }
    found = at_once.answers(asks, patience=patience)
    said = at_once.late(patience)
    return tuple(
        found.get(number) or _telemetry(target, context, _lack(target), said)
        for number, target in targets.items()
    )


def _ask(experiment: Experiment, target: Target, version: int, context: TargetContext) -> Telemetry:
    try:
        there = target.observe(experiment.name, context)
    except TargetError as error:
        return _telemetry(target, context, "unknown", str(error))
    if there is None:
        return _telemetry(target, context, "silent", "nothing is deployed there")
    if there.state != "live":
        detail = f": {there.detail}" if there.detail else ""
        return _telemetry(target, context, "silent", f"it is {there.state}{detail}")
    slower_than = experiment.deployment.rollout.slow_ms / 1000
    try:
        sources = target.measure(experiment.name, slower_than, context).get(version)
    except TargetError as error:
        return _telemetry(target, context, _lack(target), str(error))
    if not sources:
        said = f"it serves version {there.version}, and nothing of version {version} answers"
        return _telemetry(target, context, _lack(target), said)
    traffic = counts.total(sources.values())
    return Telemetry(
        kind_of(type(target)),
        context.now().isoformat(),
        "answers",
        "",
        requests=traffic.requests,
        rows=traffic.rows,
        refused=dict(traffic.refused),
        log=traffic.log,
        counts_probes=target.counts_probes,
        by_platform=not target.tells,
    )


def _lack(target: Target) -> State:
    """What it means that an endpoint which is said to be live tells nothing."""
    return "silent" if target.tells else "unknown"


def _telemetry(target: Target, context: TargetContext, state: State, detail: str) -> Telemetry:
    return Telemetry(kind_of(type(target)), context.now().isoformat(), state, detail)
