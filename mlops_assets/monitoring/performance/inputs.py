"""Whether the inputs of the windows whose quality fell had drifted, each column or all together: a
fall without is another illness than a fall with it."""

from collections.abc import Collection
from datetime import datetime, timedelta

from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.profile_store import reference_path
from mlops_assets.gateways.realised import LoggedRows, Performance
from mlops_assets.monitoring import distributions, drift, files, profiles, windows
from mlops_assets.monitoring.performance import combinations, logged
from mlops_assets.monitoring.performance.verdict import Inputs
from mlops_assets.serving.recording import window_start
from mlops_assets.serving.scorer import OUTPUTS


def compare(
    store: DataStore, experiment: Experiment, performance: Performance, starts: Collection[datetime]
) -> Inputs:
    """The inputs of some windows together, beside what the version saw at training time.

    Whatever `monitoring.drift.against` says: the quality they explain is compared with that of the
    training too. Rows are told apart only where no column drifted: they are read for it.

    Args:
        store: where profiles and logged rows are.
        experiment: whose.
        performance: of the version that answered.
        starts: of windows of `monitoring.quality.window`, aware; at least one.
    """
    rows, drifted = _columns(store, experiment, performance.version, starts)
    if drifted:
        return Inputs(rows, drifted)
    log = _logged(store, experiment, performance.version, starts)
    try:
        _, found = combinations.separate(
            store, experiment, log, data_digest=performance.data_digest
        )
        return Inputs(rows, (), found)
    except ValueError as error:
        return Inputs(rows, (), unseen=str(error))


def _columns(
    store: DataStore, experiment: Experiment, version: int, starts: Collection[datetime]
) -> tuple[int, tuple[str, ...]]:
    """Rows that were profiled, and the columns that drifted; 0 where that is not known."""
    spec, seconds = experiment.monitoring, experiment.monitoring.quality_window_seconds
    kinds = [kind_of(type(target)) for target in experiment.deployment.targets]
    left = files.find(store, experiment, version, kinds)
    wanted = {each.window for each in left.every()}
    wanted = {each for each in wanted if window_start(each.timestamp(), seconds) in starts}
    found = windows.collect(store, experiment.name, version, left.within(wanted)).windows
    path = reference_path(experiment.name, version)
    rows = sum(window.rows for window in found)
    if rows < spec.drift.min_rows or not store.exists(path):
        return 0, ()
    reader = profiles.Reader(store)
    reference, current = reader.view([store.at(path)]), reader.view(each.url for each in found)
    compared = distributions.compare(reference, current)
    columns = [column for column in compared if column.column not in OUTPUTS]
    drifted = [column for column in drift.judge(columns, spec.drift) if column.drifted]
    drifted.sort(key=lambda column: -column.jensen_shannon)
    return rows, tuple(column.column for column in drifted)


def _logged(
    store: DataStore, experiment: Experiment, version: int, starts: Collection[datetime]
) -> LoggedRows:
    seconds = experiment.monitoring.quality_window_seconds
    until = max(starts) + timedelta(seconds=seconds)
    index = logged.index(store, experiment.name, since=min(starts), until=until)
    kept = [
        each
        for each in index.windows
        if window_start(datetime.fromisoformat(each.start).timestamp(), seconds) in starts
    ]
    return LoggedRows(version, tuple(kept), index.unreadable)
