"""The search: which parameters a trial gets, and when it may give up. Pure, and independent of
how many trials run at once: trial `slot` sees the scores of the slots up to `slot - LAG` only."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from mlops_assets.gateways.study_store import quiet_optuna
from mlops_assets.tuning.space import (
    Space,
    distribution,
    grid_size,
    identity,
    is_active,
    ordered,
    points,
    suggest,
)
from mlops_assets.tuning.trials import Direction, FinishedTrial, running_means

if TYPE_CHECKING:
    import optuna

LAG = 8
"""Trials that may run at once. Part of what a study is: another number gives other trials."""
STARTUP = 5
"""Scored trials before the sampler learns from them; until then it draws at random."""
MIN_PEERS = 5
"""Complete trials before a trial may be pruned."""


def propose(
    space: Space,
    *,
    slot: int,
    finished: Sequence[FinishedTrial],
    pending: Mapping[int, Mapping[str, Any]],
    seed: int,
    direction: Direction,
) -> dict[str, Any]:
    """The parameters of trial `slot`: equal arguments give equal parameters, on any machine.

    `finished` may hold any trials; those of slots above `slot - LAG` are not looked at. `pending`
    holds the parameters (scores not yet known, or not yet to be used) of the slots in between, so
    that trials that run at once keep apart. A finite space is drawn from without repetition.
    """
    import numpy as np

    if not space:
        return {}
    state = int(np.random.SeedSequence([seed, slot]).generate_state(1)[0])
    known = sorted((t for t in finished if t.slot <= slot - LAG), key=lambda t: t.slot)
    between = [dict(pending[s]) for s in sorted(pending) if slot - LAG < s < slot]
    with quiet_optuna():
        study = _study_of(space, known, between, state=state, direction=direction)
        trial = study.ask()
        parameters: dict[str, Any] = {}
        for name in ordered(space):
            if is_active(space[name], parameters):
                parameters[name] = suggest(trial, name, space[name])
    seen = {identity(p) for p in [t.parameters for t in known] + between}
    if identity(parameters) not in seen:
        return parameters
    return _unseen(space, seen, state) or parameters


def prune_thresholds(
    finished: Sequence[FinishedTrial], *, slot: int, folds: int, direction: Direction
) -> tuple[float | None, ...]:
    """Per fold, the running mean that trial `slot` must not fall behind: the median of the
    complete trials up to `slot - LAG`. None where the trial goes on whatever it scored: at the
    first fold, at the last, and while there are fewer than `MIN_PEERS` to compare with."""
    peers = [t for t in finished if t.slot <= slot - LAG and t.state == "complete"]
    if len(peers) < MIN_PEERS:
        return (None,) * folds
    means = [running_means(t.folds) for t in peers]
    return tuple(
        median(m[fold] for m in means) if 0 < fold < folds - 1 else None for fold in range(folds)
    )


def _study_of(
    space: Space,
    known: Sequence[FinishedTrial],
    between: Sequence[Mapping[str, Any]],
    *,
    state: int,
    direction: Direction,
) -> "optuna.Study":
    import optuna

    conditional = any(dimension.when is not None for dimension in space.values())
    sampler = optuna.samplers.TPESampler(
        seed=state, n_startup_trials=STARTUP, multivariate=True, group=conditional
    )
    study = optuna.create_study(direction=direction, sampler=sampler)
    every = {name: distribution(name, dimension) for name, dimension in space.items()}
    states = {
        "complete": optuna.trial.TrialState.COMPLETE,
        "pruned": optuna.trial.TrialState.PRUNED,
    }
    for trial in known:
        if trial.state == "failed":
            continue
        means = running_means(trial.folds)
        study.add_trial(
            optuna.trial.create_trial(
                state=states[trial.state],
                value=means[-1],
                params=trial.parameters,
                distributions={name: every[name] for name in trial.parameters},
                # Of pruned trials the sampler compares the last value, hence the running mean.
                intermediate_values={len(means) - 1: means[-1]},
            )
        )
    for parameters in between:
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING,
                params=dict(parameters),
                distributions={name: every[name] for name in parameters},
            )
        )
    return study


def _unseen(space: Space, seen: set[tuple[Any, ...]], state: int) -> dict[str, Any] | None:
    """A random point of a finite space that no earlier slot took."""
    import numpy as np

    if grid_size(space) is None:
        return None
    left = [point for point in points(space) if identity(point) not in seen]
    return left[int(np.random.default_rng(state).integers(len(left)))] if left else None
