"""What drift found of the inputs or of the predictions: the verdict in words, the ranked table, and
the pictures. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from mlops_assets.monitoring import charts, comparison, drift
from mlops_assets.monitoring.comparison import Compared, Judged
from mlops_assets.monitoring.counting import counted
from mlops_assets.monitoring.drawing import Picture
from mlops_assets.monitoring.drift import ColumnAlarm, ColumnDrift
from mlops_assets.monitoring.spec import DriftSpec
from mlops_assets.serving.scorer import OUTPUTS

What = Literal["inputs", "predictions"]

SHOWN_ALWAYS = 2
"""Columns whose distributions are drawn though they are as they were."""


@dataclass(frozen=True)
class Judgement:
    """Of one side of the traffic."""

    what: What
    passed: bool
    reason: str
    alarms: tuple[ColumnAlarm, ...] = ()
    """Ranked; empty when nothing was judged."""
    windows: tuple[Judged, ...] = ()
    """With the columns that count, oldest first: those that were judged, and some before them."""
    verdicts: tuple[tuple[ColumnDrift, ...], ...] = ()
    """Of the columns of each window."""

    @property
    def judged(self) -> bool:
        return bool(self.alarms)

    @property
    def alarming(self) -> tuple[ColumnAlarm, ...]:
        return tuple(alarm for alarm in self.alarms if alarm.alarming)

    @property
    def furthest(self) -> float:
        """The distance that the first alarm is about; without one the greatest of a column in the
        newest window."""
        if self.alarming:
            return self.alarming[0].worst.jensen_shannon
        return max(alarm.newest.jensen_shannon for alarm in self.alarms)


def judge(what: What, compared: Compared, spec: DriftSpec) -> Judgement:
    """Whether inputs, or predictions, are as what they are compared with."""
    outputs = what == "predictions"
    wanted = None if outputs else spec.columns
    windows = tuple(
        replace(
            window,
            columns=tuple(
                c for c in window.columns if _is_judged(c.column, wanted, outputs=outputs)
            ),
        )
        for window in compared.windows
        if window.same_version or not outputs
    )
    if not windows:
        return Judgement(what, passed=True, reason=f"not judged: {compared.note}")
    if not windows[-1].columns:
        said = f"no column to judge: {', '.join(wanted or ()) or what} in neither profile"
        return Judgement(what, passed=False, reason=said)
    verdicts = tuple(drift.judge(window.columns, spec) for window in windows)
    alarms = drift.over_windows(verdicts, spec, compared.importances)
    return Judgement(
        what,
        passed=not any(alarm.alarming for alarm in alarms),
        reason=_words(what, alarms, windows[-1], spec),
        alarms=alarms,
        windows=windows,
        verdicts=verdicts,
    )


def pictures(found: Judgement, spec: DriftSpec) -> list[Picture]:
    """Distances over the windows, then and now of the columns that drifted in any of them, and of
    the first two always; none without a verdict. Checks are kept for a year: green ones are
    small."""
    if not found.judged:
        return []
    ranked = [alarm.newest.column for alarm in found.alarms]
    drifted = sum(alarm.times > 0 for alarm in found.alarms)
    shown = ranked[: max(drifted, SHOWN_ALWAYS)]
    return [
        _trend(found, ranked, spec),
        *charts.then_and_now(found.windows[-1].columns, shown),
    ]


def _trend(found: Judgement, ranked: list[str], spec: DriftSpec) -> Picture:
    """How far the first columns lay in each window."""
    by_window: list[Mapping[str, float]] = [
        {each.column: each.jensen_shannon for each in window} for window in found.verdicts
    ]
    return charts.over_windows(
        f"Jensen-Shannon distance from {comparison.NAMES[spec.against]}",
        [window.start for window in found.windows],
        {name: [window.get(name) for window in by_window] for name in ranked[: charts.MOST]},
        limit=spec.effect,
        words=f"counts from {spec.effect:g} on",
    )


def row(alarm: ColumnAlarm) -> dict[str, str | float]:
    """A row of the ranked table; what does not apply is empty."""
    newest = alarm.newest
    shown = {
        "column": newest.column,
        "alarm": "yes" if alarm.alarming else "",
        "windows": f"{alarm.times} of {alarm.of}",
        "importance": alarm.importance,
        "jensen_shannon": newest.jensen_shannon,
        "psi": newest.psi,
        "ks": newest.ks,
        "wasserstein": newest.wasserstein,
        "p_value": newest.p_value,
        "q_value": newest.q_value,
        "most_moved": newest.moved,
    }
    return {
        name: "" if value is None else float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in shown.items()
    }


def _is_judged(column: str, wanted: tuple[str, ...] | None, *, outputs: bool) -> bool:
    return (column in OUTPUTS) == outputs and (wanted is None or column in wanted)


def _words(what: What, alarms: tuple[ColumnAlarm, ...], newest: Judged, spec: DriftSpec) -> str:
    reference = comparison.WORDS[spec.against]
    alarming = [alarm for alarm in alarms if alarm.alarming]
    if alarming:
        first = ", ".join(
            f"{a.worst.column} ({a.worst.jensen_shannon:.2f}, in {a.times} of {a.of} windows, "
            f"{a.worst.moved})"
            for a in alarming[:3]
        )
        are = "is" if len(alarming) == 1 else "are"
        return (
            f"{len(alarming)} of {counted(len(alarms), 'column')} of {what} {are} not as "
            f"{reference}: {first}"
        )
    if seen := [alarm.newest.column for alarm in alarms if alarm.newest.drifted]:
        are = "is" if len(seen[:3]) == 1 else "are"
        return (
            f"no alarm yet: in the newest window {', '.join(seen[:3])} of {what} {are} not as "
            f"{reference}; {spec.at_least} of {spec.windows} windows are an alarm"
        )
    are = "is" if len(alarms) == 1 else "are"
    return (
        f"{counted(len(alarms), 'column')} of {what} over {counted(newest.rows, 'row')} {are} as "
        f"{reference}"
    )
