"""The quality of the newest windows, read from the profiles of a version and of its traffic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.profile_store import reference_path
from mlops_assets.gateways.records import ServingProfile
from mlops_assets.monitoring import charts, distributions, expectations, summaries, violations
from mlops_assets.monitoring.comparison import SHOWN
from mlops_assets.monitoring.counting import counted
from mlops_assets.monitoring.distributions import Distributions
from mlops_assets.monitoring.drawing import Picture
from mlops_assets.monitoring.profiles import Reader
from mlops_assets.monitoring.summaries import Summary
from mlops_assets.monitoring.violations import Alarm, Violation
from mlops_assets.monitoring.windows import judged


@dataclass(frozen=True)
class Quality:
    """The verdict on the newest windows, and why."""

    version: int
    windows: int
    """That were judged."""
    rows: int
    """Of the newest of them."""
    alarms: tuple[Alarm, ...]
    """Whatever did not hold in any of them."""
    passed: bool
    reason: str
    starts: tuple[str, ...] = ()
    """Of the windows that were looked at, ISO 8601, oldest first: those that were judged, and some
    before them."""
    found: tuple[tuple[Violation, ...], ...] = ()
    """What did not hold in each of them."""
    missing: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """By column that lacks values in one of them: their share in each."""
    beside: tuple[Distributions, ...] = ()
    """Of the columns that alarms are of: in training, and in the newest window."""


def judge(experiment: Experiment, profile: ServingProfile, reader: Reader) -> Quality:
    """Hold the newest windows to what is expected of them."""
    monitoring = experiment.monitoring
    spec, rules = monitoring.data_quality, monitoring.drift
    units = judged(profile, min_rows=rules.min_rows, most=max(rules.windows, SHOWN))
    if not units:
        said = (
            f"not judged: {profile.rows} rows, {rules.min_rows} are needed "
            "(monitoring.drift.min_rows)"
        )
        return Quality(profile.version, 0, 0, (), passed=True, reason=said)
    url = reader.store.at(reference_path(experiment.name, profile.version))
    reference = reader.view([url])
    trained = summaries.summarize(reference)
    wrong = expectations.problems(trained, monitoring.expectations, profile.version)
    expected = expectations.derive(trained, monitoring.expectations, spec)
    views = [reader.view(window.url for window in unit) for unit in units]
    seen = [summaries.summarize(view) for view in views]
    found = tuple(violations.judge(expected, window, spec) for window in seen)
    alarms = violations.over_windows(found, rules)
    rows = sum(window.rows for window in units[-1])
    concerned = {alarm.latest.column for alarm in alarms}
    beside = distributions.compare(reference, views[-1]) if concerned else ()
    return Quality(
        profile.version,
        min(len(units), rules.windows),
        rows,
        alarms,
        passed=not wrong and not any(alarm.alarming for alarm in alarms),
        reason="; ".join([*wrong, _said(alarms, len(expected), rows)]),
        starts=tuple(unit[0].start for unit in units),
        found=found,
        missing=_missing(seen),
        beside=tuple(each for each in beside if each.column in concerned),
    )


def _missing(seen: Sequence[Mapping[str, Summary]]) -> dict[str, tuple[float, ...]]:
    """By column, those that lack most first."""
    shares = {
        name: tuple(_share(window.get(name)) for window in seen)
        for name in dict.fromkeys(name for window in seen for name in window)
    }
    lacking = {name: each for name, each in shares.items() if any(each)}
    return dict(sorted(lacking.items(), key=lambda item: (-item[1][-1], item[0])))


def _share(summary: Summary | None) -> float:
    return summary.missing / summary.rows if summary is not None and summary.rows else 0.0


def pictures(quality: Quality) -> list[Picture]:
    """What did not hold over the windows, missing values, and the columns concerned then and now;
    none without a verdict."""
    drawn = []
    if broken := _broken(quality):
        title = "Rows that are not as expected"
        drawn.append(
            charts.over_windows(title, quality.starts, broken, limit=None, words="", percent=True)
        )
    if quality.missing:
        drawn.append(
            charts.over_windows(
                "Missing values",
                quality.starts,
                quality.missing,
                limit=None,
                words="",
                percent=True,
            )
        )
    ranked = dict.fromkeys(alarm.latest.column for alarm in quality.alarms)
    return [*drawn, *charts.then_and_now(quality.beside, [*ranked])]


def _broken(quality: Quality) -> dict[str, list[float | None]]:
    """By column and kind, alarms first: the share of the rows in each window."""
    first = [(alarm.latest.column, alarm.latest.kind) for alarm in quality.alarms]
    every = [(each.column, each.kind) for window in quality.found for each in window]
    return {
        f"{column}: {kind}": [
            next((v.share for v in window if (v.column, v.kind) == (column, kind)), 0.0)
            for window in quality.found
        ]
        for column, kind in dict.fromkeys([*first, *every])
    }


def row(alarm: Alarm) -> dict[str, str | float]:
    """A row of the table that people see."""
    latest = alarm.latest
    return {
        "column": latest.column,
        "what": latest.kind,
        "alarm": "yes" if alarm.alarming else "",
        "windows": f"{alarm.times} of {alarm.of}",
        "share": float(f"{latest.share:.4g}"),
        "allowed": float(f"{latest.allowed:.4g}"),
        "rows": latest.rows,
        "detail": latest.detail,
    }


def _said(alarms: Sequence[Alarm], columns: int, rows: int) -> str:
    alarming = [alarm for alarm in alarms if alarm.alarming]
    shown = ", ".join(
        f"{a.latest.column}: {a.latest.kind} in {a.latest.share:.1%} of {a.latest.rows:,} rows "
        f"({a.latest.detail}; {a.latest.allowed:.1%} may; {a.times} of {a.of} windows)"
        for a in (alarming or alarms)[:3]
    )
    if alarming:
        of = len({alarm.latest.column for alarm in alarming})
        are = "is" if of == 1 else "are"
        return f"{of} of {counted(columns, 'column')} {are} not as expected: {shown}"
    if alarms:
        return f"no alarm yet: {shown}"
    are = "is" if columns == 1 else "are"
    return f"{counted(columns, 'column')} over {counted(rows, 'row')} {are} as expected"
