"""A report out of what monitoring left behind: its records, and the profiles they name."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.data_store import DataStore, DataStoreError
from mlops_assets.gateways.realised import Performance
from mlops_assets.gateways.records import ProfiledWindow, ServingProfile
from mlops_assets.monitoring import comparison, data_quality, judgement
from mlops_assets.monitoring.comparison import Compared
from mlops_assets.monitoring.judgement import Judgement, What
from mlops_assets.monitoring.performance import finding
from mlops_assets.monitoring.profiles import Reader
from mlops_assets.monitoring.report import sections
from mlops_assets.monitoring.report.record import Report, Section, State, worst


@dataclass(frozen=True)
class Left:
    """What monitoring left of an experiment; None where it never made it."""

    profile: ServingProfile | None
    performance: Performance | None
    windows: tuple[ProfiledWindow, ...]
    """Traffic that is shown, oldest first, of whichever version."""
    since: datetime | None = None
    """When the first window of quality that is shown began at the earliest, aware; None for all.
    It changes no verdict."""


def monitored(
    experiment: Experiment, store: DataStore, left: Left, *, now: datetime
) -> tuple[Section, ...]:
    """Quality, traffic, drift of inputs and of predictions, and data quality. What cannot be read
    is said in its section.

    Args:
        experiment: whose.
        store: where the profiles are.
        left: what monitoring left there.
        now: aware.
    """
    reader, profile, performance = Reader(store), left.profile, left.performance
    length = timedelta(seconds=experiment.monitoring.window_seconds)

    def of_quality() -> Section:
        if performance is None:
            return sections.quality(experiment, None)
        found = finding.find(store, experiment, performance)
        shown = [w for w in found.windows if left.since is None or w.begins >= left.since]
        return sections.quality(experiment, replace(found, windows=tuple(shown)))

    def of_data() -> Section:
        return sections.data(
            None if profile is None else data_quality.judge(experiment, profile, reader)
        )

    compared: list[Compared] = []

    def of_drift(title: str, what: What) -> Section:
        found: Judgement | None = None
        if profile is not None:
            if not compared:
                compared.append(comparison.compare(experiment, profile, reader))
            found = judgement.judge(what, compared[0], experiment.monitoring.drift)
        return sections.drift(experiment, title, found)

    return (
        _readable(sections.QUALITY, of_quality),
        sections.traffic(left.windows, length, now),
        _readable(sections.DRIFT, lambda: of_drift(sections.DRIFT, "inputs")),
        _readable(sections.PREDICTIONS, lambda: of_drift(sections.PREDICTIONS, "predictions")),
        _readable(sections.DATA, of_data),
    )


def of_version(
    experiment: Experiment, profile: ServingProfile, found: tuple[Section, ...], at: str
) -> Report:
    """The report that a version carries: what monitoring says of it, and nothing of the platform.

    Args:
        experiment: whose.
        profile: of the version.
        found: the sections, from `monitored`.
        at: ISO 8601, UTC.
    """
    return Report(
        experiment=experiment.name,
        description=experiment.description,
        owner=experiment.owner,
        at=sections.moment(at),
        state=state(found),
        headline=sections.verdict_of(f"Version {profile.version} of {experiment.name}", found),
        facts=(
            ("Model", f"{experiment.model_name}, version {profile.version}"),
            ("Live since", sections.moment(profile.live_since)),
            ("Newest window", sections.moment(profile.last) if profile.last else "none yet"),
        ),
        sections=found,
    )


def state(found: tuple[Section, ...]) -> State:
    """The worst that was judged; `unknown` where nothing was."""
    return worst(tuple(one.state for one in found if one.state != "unknown"))


def briefly(found: tuple[Section, ...]) -> str:
    """The answers in a few words, in a row."""
    return "; ".join(f"{one.title.lower()}: {one.brief}" for one in found if one.brief)


def _readable(title: str, make: Callable[[], Section]) -> Section:
    try:
        return make()
    except (DataStoreError, ValueError) as error:
        return Section(title, "unknown", "cannot be read", (str(error),))
