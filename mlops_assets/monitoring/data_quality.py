"""The quality of the newest windows, read from the profiles of a version and of its traffic."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.profile_store import reference_path
from mlops_assets.gateways.records import ServingProfile
from mlops_assets.monitoring import expectations, summaries, violations
from mlops_assets.monitoring.profiles import Reader
from mlops_assets.monitoring.violations import Alarm
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


def judge(experiment: Experiment, profile: ServingProfile, reader: Reader) -> Quality:
    """Hold the newest windows to what is expected of them."""
    monitoring = experiment.monitoring
    spec, rules = monitoring.data_quality, monitoring.drift
    units = judged(profile.windows, min_rows=rules.min_rows, most=rules.windows)
    if not units:
        said = (
            f"not judged: {profile.rows} rows, {rules.min_rows} are needed "
            "(monitoring.drift.min_rows)"
        )
        return Quality(profile.version, 0, 0, (), passed=True, reason=said)
    url = reader.store.at(reference_path(experiment.name, profile.version))
    trained = summaries.summarize(reader.view([url]))
    wrong = expectations.problems(trained, monitoring.expectations, profile.version)
    expected = expectations.derive(trained, monitoring.expectations, spec)
    found = [
        violations.judge(
            expected, summaries.summarize(reader.view(window.url for window in unit)), spec
        )
        for unit in units
    ]
    alarms = violations.over_windows(found, rules)
    rows = sum(window.rows for window in units[-1])
    return Quality(
        profile.version,
        len(units),
        rows,
        alarms,
        passed=not wrong and not any(alarm.alarming for alarm in alarms),
        reason="; ".join([*wrong, _said(alarms, len(expected), rows)]),
    )


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
        return f"{of} of {columns} columns are not as expected: {shown}"
    if alarms:
        return f"no alarm yet: {shown}"
    return f"{columns} columns over {rows:,} rows are as expected"
