"""Logged rows beside those of the training, all columns together."""

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.realised import LoggedRows
from mlops_assets.monitoring import domain
from mlops_assets.monitoring.counting import counted
from mlops_assets.monitoring.domain import Separation
from mlops_assets.monitoring.performance import features
from mlops_assets.monitoring.performance.features import Tables


def separate(
    store: DataStore, experiment: Experiment, log: LoggedRows, *, data_digest: str
) -> tuple[Tables, Separation]:
    """How well the newest rows that a version answered are told from its training set.

    Args:
        store: where both are.
        experiment: whose.
        log: what was logged, and by which version.
        data_digest: of the training set; may be empty.

    Raises:
        ValueError: too few rows, or the training set is gone.
    """
    spec = experiment.monitoring.drift
    found = features.tables(
        store, experiment.name, log, data_digest=data_digest, most=domain.MOST_ROWS
    )
    if found is None or min(len(found.logged), len(found.reference)) < spec.min_rows:
        there = 0 if found is None else len(found.logged)
        said = f"{counted(there, 'logged row')} beside the training set"
        raise ValueError(f"{said}, {spec.min_rows} are needed (monitoring.drift.min_rows)")
    return found, domain.separate(found.reference, found.logged, spec)
