"""The loop of a study: which trial runs next, what is recorded when one ends or its worker dies.
Knows nothing of estimators, data or where the study is kept."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mlops_assets.tuning.interrupts import Interrupts
from mlops_assets.tuning.scoring import Outcome, Task
from mlops_assets.tuning.search import LAG, propose, prune_thresholds
from mlops_assets.tuning.space import distributions
from mlops_assets.tuning.spec import TuningSpec
from mlops_assets.tuning.trials import Direction, FinishedTrial, State, best, to_optuna
from mlops_assets.tuning.workers import Lost, Pool, WorkerError

if TYPE_CHECKING:
    import optuna

RETRIES = 2
"""Times a trial is run again after the worker that ran it was killed."""
GIVE_UP_AFTER = 20
"""A study whose first trials all failed stops here: something is wrong with all of them."""


@dataclass(frozen=True)
class Progress:
    """Where the study stands."""

    finished: int
    total: int
    best: float | None
    eta_seconds: float | None
    """None until the first trial of this run is finished."""


@dataclass
class Coordinator:
    """Starts trials in the order of their slots, records each, and reports it."""

    study: "optuna.Study"
    spec: TuningSpec
    direction: Direction
    folds: int
    total: int
    clock: Callable[[], float]
    on_start: Callable[[], None]
    on_trial: Callable[[FinishedTrial, Progress], None]
    finished: dict[int, FinishedTrial]
    running: dict[int, Task] = field(default_factory=dict)
    losses: Counter[int] = field(default_factory=Counter)
    failed_starts: int = 0
    started_at: float = 0.0
    done_here: int = 0

    def run(self, pool: Pool) -> None:
        """Until all trials are finished or the time is over; the pool is closed in any case.

        Raises:
            WorkerError: no worker can build the objective.
        """
        self.started_at = self.clock()
        interrupts = Interrupts()
        with interrupts.guard():
            try:
                self._fill(pool)
                self.on_start()
                while self.running:
                    with interrupts.window():
                        pool.wait()
                    finished = [self._handle(event, pool) for event in pool.collect()]
                    # What the caller does with a trial must not keep a worker waiting.
                    self._fill(pool)
                    for reported in finished:
                        if reported is not None:
                            self.on_trial(*reported)
            finally:
                pool.close()

    def _fill(self, pool: Pool) -> None:
        while pool.has_room and (slot := self._next_slot()) is not None:
            task = self._task(slot)
            self.running[slot] = task
            pool.submit(task)

    def _next_slot(self) -> int | None:
        timeout = self.spec.timeout_minutes
        if timeout is not None and self.clock() - self.started_at >= 60 * timeout:
            return None
        todo = (s for s in range(self.total) if s not in self.finished and s not in self.running)
        slot = next(todo, None)
        if slot is None or any(running <= slot - LAG for running in self.running):
            return None
        if slot >= GIVE_UP_AFTER and self._is_hopeless():
            return None
        return slot

    def _task(self, slot: int) -> Task:
        trials = [t for s, t in self.finished.items() if s <= slot - LAG]
        pending = {s: task.parameters for s, task in self.running.items()} | {
            s: t.parameters for s, t in self.finished.items() if slot - LAG < s < slot
        }
        thresholds: tuple[float | None, ...] = (None,) * self.folds
        if self.spec.pruning:
            thresholds = prune_thresholds(
                trials, slot=slot, folds=self.folds, direction=self.direction
            )
        parameters = propose(
            self.spec.search_space,
            slot=slot,
            finished=trials,
            pending=pending,
            seed=self.spec.seed,
            direction=self.direction,
        )
        return Task(slot, parameters, thresholds, self.direction == "maximize")

    def _handle(self, event: Outcome | Lost, pool: Pool) -> tuple[FinishedTrial, Progress] | None:
        """The trial that the event finished, if any, recorded."""
        if isinstance(event, Outcome):
            self.failed_starts = 0
            return self._record(self._trial(event))
        slot, cause = event.task.slot, _cause_of_death(event.exit_code)
        if not event.ready:
            self.failed_starts += 1
            if self.failed_starts > RETRIES:
                raise WorkerError(f"workers end while they build the objective: {cause}")
        else:
            self.losses[slot] += 1
        if self.losses[slot] <= RETRIES:
            pool.submit(event.task)
            return None
        error = f"the worker died {self.losses[slot]} times during this trial: {cause}"
        return self._record(self._trial(Outcome(slot, (), 0.0, error=error)))

    def _trial(self, outcome: Outcome) -> FinishedTrial:
        state: State = "failed" if outcome.error else "pruned" if outcome.pruned else "complete"
        return FinishedTrial(
            slot=outcome.slot,
            parameters=self.running[outcome.slot].parameters,
            state=state,
            folds=outcome.folds,
            seconds=round(outcome.seconds, 4),
            error=outcome.error,
        )

    def _record(self, trial: FinishedTrial) -> tuple[FinishedTrial, Progress]:
        active = distributions(self.spec.search_space, trial.parameters)
        self.study.add_trial(to_optuna(trial, active, finished_at=datetime.now(UTC)))
        del self.running[trial.slot]
        self.finished[trial.slot] = trial
        self.done_here += 1
        winner = best(self.finished.values(), self.direction)
        left, spent = self.total - len(self.finished), self.clock() - self.started_at
        score = None if winner is None else winner.score
        eta = left * spent / self.done_here
        return trial, Progress(len(self.finished), self.total, score, eta)

    def _is_hopeless(self) -> bool:
        first = (self.finished.get(slot) for slot in range(GIVE_UP_AFTER))
        return not any(trial is not None and trial.state != "failed" for trial in first)


def _cause_of_death(exit_code: int) -> str:
    if exit_code == -9:
        return "killed by signal 9, most often for lack of memory; lower tuning.workers"
    return f"ended by signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
