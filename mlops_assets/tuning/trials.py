"""What a finished trial is, and its form in an Optuna study. Knows no objective and no worker."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

Direction = Literal["maximize", "minimize"]
State = Literal["complete", "pruned", "failed"]

SLOT = "slot"
SECONDS = "seconds"
ERROR = "error"


@dataclass(frozen=True)
class FinishedTrial:
    """One trial that will not run again."""

    slot: int
    """Place in the study, from 0. It decides the parameters; the order of finishing does not."""
    parameters: dict[str, Any]
    state: State
    folds: tuple[float, ...]
    """Scores of the folds that ran: all of them when complete, fewer otherwise."""
    seconds: float
    """Time the objective took, without waiting."""
    error: str | None = None
    """Why the trial failed; None unless it did."""

    @property
    def score(self) -> float | None:
        """Mean over the folds; None unless the trial is complete."""
        return fmean(self.folds) if self.state == "complete" else None


def best(trials: Iterable[FinishedTrial], direction: Direction) -> FinishedTrial | None:
    """The complete trial with the best score, of equals the lowest slot; None without any."""
    sign = -1.0 if direction == "maximize" else 1.0
    complete = [t for t in trials if t.state == "complete"]
    return min(complete, key=lambda t: (sign * fmean(t.folds), t.slot), default=None)


def running_means(folds: Sequence[float]) -> list[float]:
    """Mean over the first fold, the first two, and so on."""
    return [fmean(folds[: k + 1]) for k in range(len(folds))]


def to_optuna(
    trial: FinishedTrial, distributions: Mapping[str, "BaseDistribution"], *, finished_at: datetime
) -> "FrozenTrial":
    """The trial as Optuna keeps it: fold scores as intermediate values, the rest as user
    attributes. `finished_at` is an aware time."""
    import optuna

    states = optuna.trial.TrialState
    attributes = {SLOT: trial.slot, SECONDS: round(trial.seconds, 4)}
    means = running_means(trial.folds)
    frozen = optuna.trial.create_trial(
        state={"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[
            trial.state
        ],
        value=None if trial.state == "failed" else means[-1],
        params=trial.parameters,
        distributions=dict(distributions),
        user_attrs=attributes if trial.error is None else attributes | {ERROR: trial.error},
        intermediate_values={k: v for k, v in enumerate(trial.folds) if math.isfinite(v)},
    )
    # Optuna's own storages keep naive local times.
    frozen.datetime_complete = finished_at.astimezone().replace(tzinfo=None)
    frozen.datetime_start = frozen.datetime_complete - timedelta(seconds=trial.seconds)
    return frozen


def from_optuna(frozen: "FrozenTrial") -> FinishedTrial | None:
    """The trial `to_optuna` wrote; None for one that came from elsewhere or is not finished."""
    from optuna.trial import TrialState

    names: dict[TrialState, State] = {
        TrialState.COMPLETE: "complete",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "failed",
    }
    if frozen.state not in names or SLOT not in frozen.user_attrs:
        return None
    return FinishedTrial(
        slot=frozen.user_attrs[SLOT],
        parameters=dict(frozen.params),
        state=names[frozen.state],
        folds=tuple(v for _, v in sorted(frozen.intermediate_values.items())),
        seconds=frozen.user_attrs[SECONDS],
        error=frozen.user_attrs.get(ERROR),
    )
