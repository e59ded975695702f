"""The coordinator of a study: the only process that proposes and records trials. Knows nothing
of estimators or data; the objective comes from the caller."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mlops_assets.gateways.study_store import StudyStore
from mlops_assets.tuning.coordinator import Coordinator, Progress
from mlops_assets.tuning.scoring import ObjectiveFactory
from mlops_assets.tuning.search import LAG
from mlops_assets.tuning.space import distributions, grid_size
from mlops_assets.tuning.spec import TuningSpec
from mlops_assets.tuning.trials import Direction, FinishedTrial, State, best, from_optuna
from mlops_assets.tuning.workers import Pool, WorkerError

if TYPE_CHECKING:
    import optuna

RECIPE = "recipe"


class StudyError(Exception):
    """The study gave no result; the message says why and what to do."""


class StudyInterrupted(StudyError):  # noqa: N818 - as KeyboardInterrupt
    """Somebody ended the run; what was finished is kept."""


@dataclass(frozen=True)
class StudyResult:
    """The best trial and all finished ones, by slot."""

    study: str
    best: FinishedTrial
    trials: tuple[FinishedTrial, ...]
    stopped: Literal["complete", "timeout"]
    """`timeout`: the time was over before all trials had run."""

    def count(self, state: State) -> int:
        return sum(trial.state == state for trial in self.trials)


def run(
    factory: ObjectiveFactory,
    spec: TuningSpec,
    *,
    study_name: str,
    store: StudyStore,
    direction: Direction,
    folds: int,
    on_start: Callable[[], None] = lambda: None,
    on_trial: Callable[[FinishedTrial, Progress], None] = lambda trial, progress: None,
    clock: Callable[[], float] = time.monotonic,
) -> StudyResult:
    """Run the trials of `spec` that the study does not hold yet, and return the best of all.

    The trials depend on the section, the seed and the objective only: not on the number of
    workers, nor on whether the study was interrupted and resumed. Each is recorded in one write
    when it is finished, so that a killed run leaves nothing half-done; trials that were under way
    run again. `on_start` is called here once, when the workers have their first trials, and
    `on_trial` after a trial is recorded; the workers go on meanwhile.

    Raises:
        StudyError: every trial failed, none was finished in time, the objective cannot be built,
            or the study was made with another search space, seed or number of folds.
        StudyInterrupted: SIGINT or SIGTERM.
        StudyStoreError: the store cannot be used, or another process holds the study.
    """
    try:
        distributions(spec.search_space, spec.search_space)
    except ValueError as error:
        raise StudyError(f"study {study_name!r}: {error}") from error
    with store.open(study_name, direction=direction) as study:
        _check_recipe(study, recipe(spec, folds))
        # A finite space has no more trials than points; an empty one has one.
        total = min(spec.n_trials, grid_size(spec.search_space) or spec.n_trials)
        coordinator = Coordinator(
            study=study,
            spec=spec,
            direction=direction,
            folds=folds,
            total=total,
            clock=clock,
            on_start=on_start,
            on_trial=on_trial,
            finished=_kept(study, total),
        )
        pool = Pool(factory, _workers(spec, total - len(coordinator.finished)))
        with _explained(coordinator):
            coordinator.run(pool)
        return _result(coordinator)


def finished_trials(study: "optuna.Study") -> tuple[FinishedTrial, ...]:
    """The finished trials of a study that `run` made, by slot."""
    latest = {}
    for frozen in study.get_trials(deepcopy=False):
        if (trial := from_optuna(frozen)) is not None:
            latest[trial.slot] = trial
    return tuple(latest[slot] for slot in sorted(latest))


def _result(coordinator: Coordinator) -> StudyResult:
    trials = tuple(coordinator.finished[slot] for slot in sorted(coordinator.finished))
    winner = best(trials, coordinator.direction)
    if winner is None:
        raise StudyError(_why_no_result(coordinator, trials))
    return StudyResult(
        study=coordinator.study.study_name,
        best=winner,
        trials=trials,
        stopped="complete" if len(trials) >= coordinator.total else "timeout",
    )


def _why_no_result(coordinator: Coordinator, trials: tuple[FinishedTrial, ...]) -> str:
    name = coordinator.study.study_name
    errors = Counter(trial.error for trial in trials)
    if not errors:
        return (
            f"study {name!r}: no trial was finished within "
            f"{coordinator.spec.timeout_minutes:g} minutes; raise tuning.timeout_minutes"
        )
    ((error, times),) = errors.most_common(1)
    return (
        f"study {name!r}: all {len(trials)} trials failed, {times} of them with: {error}. "
        "Mend the cause and run again; the failed trials are then repeated"
    )


@contextmanager
def _explained(coordinator: Coordinator) -> Iterator[None]:
    name, finished = coordinator.study.study_name, coordinator.finished
    try:
        yield
    except KeyboardInterrupt as error:
        raise StudyInterrupted(_what_is_kept(name, len(finished), coordinator.total)) from error
    except WorkerError as error:
        raise StudyError(f"study {name!r}: {error}") from error
    except BaseException as error:
        error.add_note(_what_is_kept(name, len(finished), coordinator.total))
        raise


def _what_is_kept(name: str, finished: int, total: int) -> str:
    return (
        f"study {name!r} was interrupted; {finished} of {total} trials are finished and kept. "
        "Run it again to go on from there"
    )


def _kept(study: "optuna.Study", total: int) -> dict[int, FinishedTrial]:
    """The finished trials to build on. Where all failed, nothing is lost by repeating them."""
    trials = finished_trials(study)
    if all(trial.state == "failed" for trial in trials):
        return {}
    return {trial.slot: trial for trial in trials if trial.slot < total}


def recipe(spec: TuningSpec, folds: int) -> dict[str, Any]:
    """What decides the trials apart from the objective. A study keeps it and refuses another;
    `n_trials`, `workers` and `timeout_minutes` may change from run to run."""
    space = {name: d.model_dump(mode="json") for name, d in sorted(spec.search_space.items())}
    return {
        "search_space": space,
        "seed": spec.seed,
        "pruning": spec.pruning,
        "folds": folds,
        "lag": LAG,
    }


def _check_recipe(study: "optuna.Study", asked: dict[str, Any]) -> None:
    made_with = study.user_attrs.get(RECIPE)
    if made_with is None and not study.get_trials(deepcopy=False):
        study.set_user_attr(RECIPE, asked)
        return
    if made_with is None:
        raise StudyError(
            f"study {study.study_name!r} holds trials that were not made here; use another name"
        )
    if changed := sorted(key for key in asked if asked[key] != made_with.get(key)):
        raise StudyError(
            f"study {study.study_name!r} was made with another {', '.join(changed)}; its trials "
            "cannot be continued. Use another study name, or the old values"
        )


def _workers(spec: TuningSpec, trials: int) -> int:
    import joblib

    # Affinity and container limits count, not only the machine.
    return max(1, min(spec.workers or int(joblib.cpu_count()), LAG, trials))
