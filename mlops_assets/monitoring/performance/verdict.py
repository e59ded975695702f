"""Whether realised quality holds, and what kind of fall it is when it does not. Pure.

A window has fallen when the realised metric is shown to be worse than on the held-out rows by more
than the margin: the interval of their difference lies wholly beyond it. The two are measured on
different rows, so that the interval follows from theirs: the square-and-add limits of Zou and
Donner 2008 (after Newcombe 1998). Or when its whole interval is beyond the floor.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mlops_assets.gateways.realised import QualityWindow
from mlops_assets.gateways.records import Metric
from mlops_assets.monitoring.domain import Separation
from mlops_assets.monitoring.spec import QualitySpec


@dataclass(frozen=True)
class Standard:
    """What the realised metric is held to."""

    metric: str
    greater_is_better: bool
    held_out: Metric | None
    """Of the version before it was registered; None where nobody wrote it down."""
    floor: float | None
    """The worst acceptable value, of `registry.promotion`."""


@dataclass(frozen=True)
class Fall:
    """A window that was looked at."""

    window: QualityWindow
    realised: Metric
    worse_by: Metric | None
    """How much worse than on the held-out rows, positive for worse; None without these."""
    fallen: bool


@dataclass(frozen=True)
class Verdict:
    """Over the newest windows."""

    looked_at: tuple[Fall, ...]
    """Oldest first; empty when nothing can be judged."""
    passed: bool
    note: str
    """Why nothing can be judged; empty when it can."""

    @property
    def fallen(self) -> tuple[Fall, ...]:
        return tuple(each for each in self.looked_at if each.fallen)


@dataclass(frozen=True)
class Inputs:
    """How the inputs of some windows are distributed beside those of the training."""

    rows: int
    """0 where that is not known."""
    drifted: tuple[str, ...]
    """The columns that are not as in training, the furthest first."""
    together: Separation | None = None
    """Of their rows, where no column drifted; None where that is not known."""
    unseen: str = ""
    """Why it is not known."""

    def words(self) -> str:
        """What kind of fall it is."""
        if self.drifted:
            return f"with drifted inputs: {', '.join(self.drifted[:3])} not as in training"
        if self.together is not None and self.together.drifted:
            by = ", ".join(self.together.telling[:3])
            return (
                "with drifted inputs: no column alone, but their combinations are not as in "
                f"training (area {self.together.auc:.2f}{f', by {by}' if by else ''})"
            )
        if not self.rows:
            return "whether its inputs drifted is not known: too few rows of these windows profiled"
        if self.together is None:
            return (
                "concept drift as far as single columns tell: each holds; their combinations are "
                f"not known ({self.unseen})"
            )
        return "concept drift: the inputs hold, so what they say of the outcome has changed"


def judge(
    windows: Sequence[QualityWindow], version: int, standard: Standard, spec: QualitySpec
) -> Verdict:
    """The newest windows of a version that have enough labels.

    Args:
        windows: of all versions, oldest first.
        version: that is live.
        standard: what its metric is held to.
        spec: when a fall is an alarm.
    """
    ours = [window for window in windows if window.version == version]
    if standard.held_out is None and standard.floor is None:
        return Verdict((), True, f"nobody wrote down {standard.metric} of version {version}")
    enough = [
        window
        for window in ours
        if window.labelled >= spec.min_labels and standard.metric in window.realised
    ]
    if not enough:
        most = max((window.labelled for window in ours), default=0)
        return Verdict(
            (),
            True,
            f"no window of version {version} has {spec.min_labels} labels and every class yet, the "
            f"best has {most} (monitoring.quality.min_labels)",
        )
    looked_at = tuple(_look(window, standard, spec) for window in enough[-spec.windows :])
    fallen = sum(each.fallen for each in looked_at)
    return Verdict(looked_at, fallen < spec.at_least, "")


def _look(window: QualityWindow, standard: Standard, spec: QualitySpec) -> Fall:
    realised = window.realised[standard.metric]
    worse = None
    if standard.held_out is not None:
        worse = worse_by(standard.held_out, realised, greater=standard.greater_is_better)
    fallen = (worse is not None and worse.low > spec.margin) or _beyond(realised, standard)
    return Fall(window, realised, worse, fallen)


def worse_by(then: Metric, now: Metric, *, greater: bool) -> Metric:
    """How much worse a metric is now, with the interval of the difference; positive for worse."""
    first, second = (then, now) if greater else (now, then)
    gap = first.value - second.value
    return Metric(
        gap,
        gap - math.hypot(first.value - first.low, second.high - second.value),
        gap + math.hypot(first.high - first.value, second.value - second.low),
    )


def worst(standard: Standard, spec: QualitySpec) -> float | None:
    """The value that a window has to be shown to be worse than; None without held-out rows."""
    if standard.held_out is None:
        return None
    return standard.held_out.value + (-spec.margin if standard.greater_is_better else spec.margin)


def row(window: QualityWindow, standard: Standard, spec: QualitySpec) -> dict[str, str | float]:
    """A window in the table that people see; what is not known is empty."""
    realised = window.realised.get(standard.metric)
    estimated = window.estimated.get(standard.metric)
    judged = realised is not None and window.labelled >= spec.min_labels
    return {
        "window": window.start,
        "realised": "" if realised is None else _shown(realised),
        "fallen": "yes" if judged and _look(window, standard, spec).fallen else "",
        "predictions": window.predictions,
        "labelled": f"{window.coverage:.0%}",
        "lag": "" if window.lag_median_s is None else f"{window.lag_median_s / 3600:.1f} h",
        "estimated": "" if estimated is None else _shown(estimated),
    }


def _beyond(realised: Metric, standard: Standard) -> bool:
    """Shown to be beyond the floor."""
    if standard.floor is None:
        return False
    if standard.greater_is_better:
        return realised.high < standard.floor
    return realised.low > standard.floor


def words(verdict: Verdict, standard: Standard, spec: QualitySpec, inputs: Inputs | None) -> str:
    """The verdict as a sentence.

    Args:
        verdict: with windows that were looked at.
        standard: what they were held to.
        spec: the rule.
        inputs: of the fallen windows; None when the verdict is good.
    """
    newest, metric = verdict.looked_at[-1], standard.metric
    against = ", ".join(
        text
        for text in (
            f"{_shown(standard.held_out)} on held-out rows" if standard.held_out else "",
            f"a floor of {standard.floor:g}" if standard.floor is not None else "",
        )
        if text
    )
    if verdict.passed:
        seen = len(verdict.fallen)
        more = f"; lower in {seen}, {spec.at_least} are an alarm" if seen else ""
        return (
            f"{metric} {_shown(newest.realised)} on {newest.window.labelled:,} labelled rows "
            f"({newest.window.coverage:.0%}) holds against {against}{more}"
        )
    last = verdict.fallen[-1]
    kind = f"; {inputs.words()}" if inputs is not None else ""
    return (
        f"{metric} fell in {len(verdict.fallen)} of {len(verdict.looked_at)} windows, last to "
        f"{_shown(last.realised)} on {last.window.labelled:,} labelled rows "
        f"({last.window.coverage:.0%}), against {against}{kind}"
    )


def _shown(metric: Metric) -> str:
    return f"{metric.value:.3g} ({metric.low:.3g} to {metric.high:.3g})"
