"""What is judged: the newest windows of traffic, each beside what it is compared with."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.profile_store import importances_path, reference_path
from mlops_assets.gateways.records import ProfiledWindow, ServingProfile
from mlops_assets.monitoring import distributions
from mlops_assets.monitoring.distributions import Distributions
from mlops_assets.monitoring.profiles import Reader
from mlops_assets.monitoring.spec import EARLIER, Against, DriftSpec
from mlops_assets.monitoring.windows import judged, same_hours

WORDS: dict[Against, str] = {
    "training": "in training",
    "previous": "in the window before",
    "day_before": "at the same hours the day before",
    "week_before": "at the same hours the week before",
    "year_before": "at the same hours 52 weeks before",
}

NAMES: dict[Against, str] = {
    "training": "training",
    "previous": "the window before",
    "day_before": "the day before",
    "week_before": "the week before",
    "year_before": "52 weeks before",
}

SHOWN = 12
"""Windows that pictures show at least, where there are so many: more than are judged."""


@dataclass(frozen=True)
class Judged:
    """One window of traffic, or several that are judged as one."""

    start: str
    """Of the first, ISO 8601, UTC."""
    rows: int
    columns: tuple[Distributions, ...]
    same_version: bool
    """Whether the version that is compared with is the one that answered: with another one,
    predictions differ for that reason."""


@dataclass(frozen=True)
class Compared:
    """Everything drift is judged by."""

    version: int
    """That is live."""
    windows: tuple[Judged, ...]
    """Oldest first."""
    importances: dict[str, float]
    """Of the columns of the version; empty when they are not known."""
    note: str
    """Why there is no window, or none more."""


def compare(experiment: Experiment, profile: ServingProfile, reader: Reader) -> Compared:
    """Read the windows that count, some before them, and what they are compared with."""
    spec, store = experiment.monitoring.drift, reader.store
    windows = tuple(_windows(experiment, profile, reader))
    path = importances_path(experiment.name, profile.version)
    importances = store.read_json(store.at(path)) if store.exists(path) else {}
    return Compared(profile.version, windows, importances, _note(profile, spec, windows))


def _windows(experiment: Experiment, profile: ServingProfile, reader: Reader) -> Iterator[Judged]:
    spec = experiment.monitoring.drift
    chained = spec.against == "previous"
    most = max(spec.windows, SHOWN) + chained
    units = judged(profile, min_rows=spec.min_rows, most=most)
    trained: Any = None
    if units and spec.against == "training":
        path = reference_path(experiment.name, profile.version)
        trained = reader.view([reader.store.at(path)])
    for number, unit in enumerate(units):
        others: tuple[ProfiledWindow, ...] = ()
        if chained:
            others = units[number - 1] if number else ()
        elif earlier := EARLIER.get(spec.against):
            others = same_hours(unit, profile.before, earlier)
        reference = trained or _view(reader, others)
        if reference is None or (others and _rows(others) < spec.min_rows):
            continue
        yield Judged(
            unit[0].start,
            _rows(unit),
            distributions.compare(reference, _view(reader, unit)),
            all(other.version == profile.version for other in others),
        )


def _view(reader: Reader, windows: Iterable[ProfiledWindow]) -> Any:
    return reader.view(window.url for window in windows)


def _rows(windows: Iterable[ProfiledWindow]) -> int:
    return sum(window.rows for window in windows)


def _note(profile: ServingProfile, spec: DriftSpec, windows: tuple[Judged, ...]) -> str:
    if windows:
        return "another version answered then"
    if profile.rows < spec.min_rows:
        return f"{profile.rows} rows, {spec.min_rows} are needed (monitoring.drift.min_rows)"
    return f"fewer than {spec.min_rows} rows {WORDS[spec.against]} (monitoring.drift.against)"
