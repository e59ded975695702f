"""The pictures of an evaluation, as matplotlib figures. Pure."""

from typing import TYPE_CHECKING, Any

from mlops_assets.gateways.records import Json
from mlops_assets.modeling.figures import BLUE, GREY, RED, new_figure
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.serving.bundle import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def evaluation_figures(
    task: Task, outcome: Outcome, classes: tuple[Any, ...], importances: tuple[Json, ...]
) -> dict[str, "Figure"]:
    """The figures a person wants to see of this task, by name."""
    figures = {"importances": _importances(importances)}
    if task == "regression":
        return {"residuals": _residuals(outcome)} | figures
    if task == "binary_classification":
        figures = {"curves": _curves(outcome), "calibration": _calibration(outcome)} | figures
    return figures | {"confusion": _confusion(outcome, classes)}


def _curves(outcome: Outcome) -> "Figure":
    from sklearn.metrics import precision_recall_curve, roc_curve

    figure = new_figure(rows=2)
    upper, lower = figure.axes
    score = outcome.probabilities[:, 1]  # type: ignore[index]
    false_rate, true_rate, _ = roc_curve(outcome.truth, score)
    upper.plot(false_rate, true_rate, color=BLUE)
    upper.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    upper.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    precision, recall, _ = precision_recall_curve(outcome.truth, score)
    lower.plot(recall, precision, color=BLUE)
    lower.axhline(outcome.truth.mean(), color=GREY, linestyle=":")
    lower.set(xlabel="recall", ylabel="precision", title="Precision and recall", ylim=(0, 1.02))
    return figure


def _calibration(outcome: Outcome) -> "Figure":
    from sklearn.calibration import calibration_curve

    figure = new_figure(rows=2)
    upper, lower = figure.axes
    score = outcome.probabilities[:, 1]  # type: ignore[index]
    observed, predicted = calibration_curve(outcome.truth, score, n_bins=10, strategy="quantile")
    upper.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    upper.plot(predicted, observed, color=BLUE, marker="o", markersize=4)
    upper.set(xlabel="predicted probability", ylabel="observed share", title="Calibration")
    bins = 30
    lower.hist(score[outcome.truth == 0], bins=bins, color=GREY, alpha=0.7, label="negative")
    lower.hist(score[outcome.truth == 1], bins=bins, color=RED, alpha=0.7, label="positive")
    lower.set(xlabel="predicted probability", ylabel="rows", title="Scores")
    lower.legend(frameon=False)
    return figure


def _confusion(outcome: Outcome, classes: tuple[Any, ...]) -> "Figure":
    from sklearn.metrics import confusion_matrix

    figure = new_figure()
    (axis,) = figure.axes
    counts = confusion_matrix(outcome.truth, outcome.predicted, labels=range(len(classes)))
    axis.imshow(counts / counts.sum(axis=1, keepdims=True).clip(1), cmap="Blues", vmin=0, vmax=1)
    names = [str(label) for label in classes]
    axis.set_xticks(range(len(names)), names, rotation=0 if len(names) < 5 else 60)
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel="predicted", ylabel="true", title="Confusion")
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            dark = count > 0.55 * line.sum()
            color = "white" if dark else "black"
            axis.text(column, row, str(count), ha="center", va="center", color=color)
    return figure


def _residuals(outcome: Outcome) -> "Figure":
    figure = new_figure(rows=2)
    upper, lower = figure.axes
    bounds = [
        min(outcome.truth.min(), outcome.predicted.min()),
        max(outcome.truth.max(), outcome.predicted.max()),
    ]
    upper.plot(bounds, bounds, color=GREY, linestyle=":")
    upper.scatter(outcome.predicted, outcome.truth, s=8, alpha=0.5, color=BLUE)
    upper.set(xlabel="predicted", ylabel="true", title="Predicted against true")
    lower.axhline(0, color=GREY, linestyle=":")
    lower.scatter(outcome.predicted, outcome.truth - outcome.predicted, s=8, alpha=0.5, color=BLUE)
    lower.set(xlabel="predicted", ylabel="true - predicted", title="Residuals")
    return figure


def _importances(importances: tuple[Json, ...]) -> "Figure":
    figure = new_figure()
    (axis,) = figure.axes
    top = importances[:15][::-1]
    axis.barh(
        [entry["column"] for entry in top],
        [entry["importance"] for entry in top],
        xerr=[entry["sd"] for entry in top],
        color=BLUE,
        error_kw={"ecolor": GREY},
    )
    axis.set(xlabel="loss of quality when shuffled", title="Permutation importance")
    return figure
