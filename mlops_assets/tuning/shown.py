"""A study as MLflow shows it: each finished trial once, as a child of one run. Knows no Dagster."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.gateways.run_log import TrialRecord
from mlops_assets.tuning.trials import FinishedTrial


@dataclass
class ShownStudy:
    """What MLflow shows of a study; `open` it before anything else."""

    registry: ModelRegistry
    experiment: str
    study: str
    run_id: str = ""
    """The parent run."""
    _slots: set[int] = field(default_factory=set)

    def open(self, tag: str, value: str, *, name: str) -> AbstractContextManager[None]:
        """Find or make the parent run by its tag, and what is shown already; the run ends as the
        context does."""
        self.run_id = self.registry.run_for(self.experiment, tag, value, name=name)
        self._slots = self.registry.logged_slots(self.experiment, self.study)
        return self.registry.writing(self.run_id)

    def add(self, trials: Iterable[FinishedTrial]) -> None:
        """Show the trials that are not shown yet."""
        for trial in trials:
            if trial.slot not in self._slots:
                self.registry.log_trial(self.run_id, self.study, _record(trial))
                self._slots.add(trial.slot)


def _record(trial: FinishedTrial) -> TrialRecord:
    return TrialRecord(
        slot=trial.slot,
        parameters=trial.parameters,
        score=trial.score,
        state=trial.state,
        seconds=trial.seconds,
        fold_scores=trial.folds,
    )
