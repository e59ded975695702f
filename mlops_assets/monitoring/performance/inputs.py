"""Whether the inputs of the windows whose quality fell had drifted: a fall without is another
illness than a fall with it."""

from collections.abc import Collection
from datetime import datetime

from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.profile_store import ProfileStore, reference_path
from mlops_assets.monitoring import distributions, drift, profiles, windows
from mlops_assets.monitoring.performance.verdict import Inputs
from mlops_assets.serving.contents import PREDICTION, PROBABILITY
from mlops_assets.serving.recording import window_start


def compare(
    store: DataStore, experiment: Experiment, version: int, starts: Collection[datetime]
) -> Inputs:
    """The profiles of some windows together, beside what the version saw at training time.

    Whatever `monitoring.drift.against` says: the quality they explain is compared with that of the
    training too.

    Args:
        store: where the profiles are.
        experiment: whose.
        version: that answered.
        starts: of windows of `monitoring.quality.window`, aware.
    """
    spec, seconds = experiment.monitoring, experiment.monitoring.quality_window_seconds
    kinds = [kind_of(type(target)) for target in experiment.deployment.targets]
    flushed = [
        each
        for each in ProfileStore(store).increments(experiment.name, version, kinds)
        if window_start(each.window.timestamp(), seconds) in starts
    ]
    found = windows.collect(store, experiment.name, version, flushed).windows
    path = reference_path(experiment.name, version)
    rows = sum(window.rows for window in found)
    if rows < spec.drift.min_rows or not store.exists(path):
        return Inputs(0, ())
    reference = profiles.deserialize(store.read_bytes(store.at(path)))
    views = [profiles.deserialize(store.read_bytes(window.url)) for window in found]
    columns = [
        column
        for column in distributions.compare(reference, profiles.merge(views))
        if column.column not in (PREDICTION, PROBABILITY)
    ]
    drifted = [column for column in drift.judge(columns, spec.drift) if column.drifted]
    drifted.sort(key=lambda column: -column.jensen_shannon)
    return Inputs(rows, tuple(column.column for column in drifted))
