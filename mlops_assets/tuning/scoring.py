"""The program inside a worker process: build the objective once, score parameters fold by fold.
Knows no study, no storage and no other worker."""

import os
import pickle
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from statistics import fmean
from typing import Any

Objective = Callable[[Mapping[str, Any], int], float]
"""The score of parameters on a fold."""
ObjectiveFactory = Callable[[], Objective]
"""Makes the objective, once in each worker. It must be picklable and importable there."""

# One thread each: the workers are the parallelism, and sums over another number of threads
# differ in the last digits.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}


@dataclass(frozen=True)
class Task:
    """What one trial asks of a worker."""

    slot: int
    parameters: dict[str, Any]
    thresholds: tuple[float | None, ...]
    """One per fold: give up when the running mean falls behind it."""
    greater_is_better: bool


@dataclass(frozen=True)
class Outcome:
    """What a worker answers."""

    slot: int
    folds: tuple[float, ...]
    seconds: float
    pruned: bool = False
    error: str | None = None


def main(descriptor: int, parent: int) -> None:
    """The worker's program: build the objective, then answer tasks until the pipe closes."""
    os.environ.update(ONE_THREAD)
    os.dup2(2, 1)  # what the objective prints must not mix with the caller's output
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    connection: Connection[Any, Any] = Connection(descriptor)
    try:
        objective = pickle.loads(connection.recv())()  # noqa: S301 - from our own parent
    except Exception as error:  # noqa: BLE001 - the boundary to the user's code
        connection.send(_in_words(error))
        return
    connection.send(None)
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        outcome = score(objective, task)
        connection.send(vars(outcome))


def score(
    objective: Objective, task: Task, clock: Callable[[], float] = time.perf_counter
) -> Outcome:
    """Run the folds one after another until all are done, one fails, or the trial falls behind."""
    started = clock()
    folds: list[float] = []
    for fold, threshold in enumerate(task.thresholds):
        try:
            value = float(objective(task.parameters, fold))
        except Exception as error:  # noqa: BLE001 - the boundary to the user's code
            text = f"fold {fold}: {_in_words(error)}"
            return _outcome(task, folds, clock() - started, error=text)
        if not abs(value) < float("inf"):
            error_text = f"the score of fold {fold} is {value}, not a finite number"
            return _outcome(task, folds, clock() - started, error=error_text)
        folds.append(value)
        if threshold is not None and _behind(fmean(folds), threshold, task.greater_is_better):
            return _outcome(task, folds, clock() - started, pruned=True)
    return _outcome(task, folds, clock() - started)


def _outcome(
    task: Task,
    folds: Sequence[float],
    seconds: float,
    *,
    pruned: bool = False,
    error: str | None = None,
) -> Outcome:
    return Outcome(task.slot, tuple(folds), seconds, pruned, error)


def _behind(mean: float, threshold: float, greater_is_better: bool) -> bool:
    return mean < threshold if greater_is_better else mean > threshold


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:2000]


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, even in the middle of a fold."""
    while os.getppid() == parent:
        time.sleep(0.25)
    os._exit(1)
