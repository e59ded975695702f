"""How far the study of an experiment has come. Reads only."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from mlops_assets.experiment.model import Experiment


@dataclass(frozen=True)
class Standing:
    """Trials of the study that the next run would go on with."""

    study: str
    finished: int
    total: int
    """Trials the YAML asks for, or the points of a search space that has fewer."""

    @property
    def left(self) -> int:
        return max(0, self.total - self.finished)


def study_standing(settings: Settings, experiment: "Experiment") -> Standing | None:
    """Of the last training set; None when there is none yet.

    Raises:
        StudyStoreError, DataStoreError: a store cannot be reached or read.
    """
    from mlops_assets.commands import kept
    from mlops_assets.gateways.study_store import StudyStore
    from mlops_assets.tuning.assets import study_name
    from mlops_assets.tuning.space import grid_size
    from mlops_assets.tuning.study import finished_trials

    training_set = kept.record(kept.store(settings), experiment.name, "training_set")
    if training_set is None:
        return None
    spec = experiment.tuning
    total = min(spec.n_trials, grid_size(spec.search_space) or spec.n_trials)
    name = study_name(experiment, training_set)
    if _is_absent(settings.study_url):
        return Standing(name, 0, total)
    store = StudyStore(settings.study_url)
    if name not in store.names():
        return Standing(name, 0, total)
    with store.read(name) as study:
        slots = [trial.slot for trial in finished_trials(study)]
    return Standing(name, sum(slot < total for slot in slots), total)


def _is_absent(url: str) -> bool:
    """A database in a file that is not there: asking it would make it."""
    path = url.removeprefix("sqlite:///")
    return path != url and not Path(path).exists()
