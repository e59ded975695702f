"""What realised quality is found to be: what it is held to, the verdict, and both in words."""

from dataclasses import dataclass

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.realised import Performance, QualityWindow
from mlops_assets.modeling.tasks import METRICS
from mlops_assets.monitoring.performance import inputs, verdict
from mlops_assets.monitoring.performance.verdict import Inputs, Standard, Verdict
from mlops_assets.monitoring.spec import QualitySpec
from mlops_assets.serving.bundle import Task

MOST = 14
"""Windows of the table that people see."""
CALIBRATED = "the probabilities are calibrated"
AS_BEFORE = "the outcome depends on the inputs as in training"
AS_HELD_OUT = "errors depend on the inputs as on the held-out rows"


@dataclass(frozen=True)
class Found:
    """Of the version that is live."""

    windows: tuple[QualityWindow, ...]
    """Of this version, oldest first."""
    standard: Standard
    verdict: Verdict
    drifted: Inputs | None
    """Of the windows that fell; None when the verdict is good."""
    words: str


def find(store: DataStore, experiment: Experiment, performance: Performance) -> Found:
    """Hold the newest windows to what the version was before it was registered; of a fall, look at
    the inputs too."""
    spec = experiment.monitoring.quality
    standard = _standard(experiment, performance)
    judged = verdict.judge(performance.windows, performance.version, standard, spec)
    drifted = None
    if not judged.passed:
        starts = {each.window.begins for each in judged.fallen}
        drifted = inputs.compare(store, experiment, performance, starts)
    ours = tuple(each for each in performance.windows if each.version == performance.version)
    if judged.note:
        estimate = _expected(ours, performance, standard.metric, experiment.task)
        words = f"not judged: {judged.note}{estimate}"
    else:
        words = verdict.words(judged, standard, spec, drifted)
    return Found(ours, standard, judged, drifted, words)


def rows(found: Found, spec: QualitySpec) -> list[dict[str, str | float]]:
    """The newest windows, the newest first."""
    return [verdict.row(each, found.standard, spec) for each in found.windows[: -MOST - 1 : -1]]


def _standard(experiment: Experiment, performance: Performance) -> Standard:
    metric = experiment.monitoring.quality.metric or experiment.metric
    rule = experiment.promotion.metrics.get(metric)
    return Standard(
        metric=metric,
        greater_is_better=METRICS[metric].greater_is_better,
        held_out=performance.held_out.get(metric),
        floor=None if rule is None else rule.floor,
    )


def _expected(
    ours: tuple[QualityWindow, ...], performance: Performance, metric: str, task: Task
) -> str:
    """The newest estimate, in words."""
    found = [window.estimated[metric] for window in ours if metric in window.estimated]
    if not found:
        return "; there is no estimate either"
    value, low, high = found[-1].value, found[-1].low, found[-1].high
    error = performance.held_out.get("calibration_error")
    known = f" (their error on held-out rows is {error.value:.2g})" if error is not None else ""
    return f"; estimated {metric} {value:.3g} ({low:.3g} to {high:.3g}) if {supposed(task, known)}"


def supposed(task: Task, known: str = "") -> str:
    """What an estimate rests on; `known` is said of the calibration."""
    if task == "regression":
        return AS_HELD_OUT
    return f"{CALIBRATED}{known} and {AS_BEFORE}"
