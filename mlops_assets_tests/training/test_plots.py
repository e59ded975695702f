"""Every task has its figures, and they fit into the event log."""

import base64
import re
from typing import Any

import numpy as np
import pytest

from mlops_assets.modeling.figures import as_markdown
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.training.plots import evaluation_figures

IMPORTANCES = tuple({"column": f"c{k}", "importance": 0.1 / (k + 1), "sd": 0.01} for k in range(20))


def outcome(classes: int) -> Outcome:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, max(classes, 2), 300).astype(float)
    if not classes:
        return Outcome(truth * 10, truth * 9 + rng.normal(0, 1, 300), None)
    parts = rng.random((300, classes)) + np.eye(classes)[truth.astype(int)]
    probabilities = parts / parts.sum(axis=1, keepdims=True)
    return Outcome(truth, probabilities.argmax(axis=1).astype(float), probabilities)


@pytest.mark.parametrize(
    ("task", "classes", "names"),
    [
        ("binary_classification", 2, {"curves", "calibration", "confusion", "importances"}),
        ("multiclass_classification", 3, {"confusion", "importances"}),
        ("regression", 0, {"residuals", "importances"}),
    ],
)
def test_the_figures_of_a_task_are_small_pictures(task: Any, classes: int, names: set[str]) -> None:
    labels = tuple(f"class {k}" for k in range(classes))
    figures = evaluation_figures(task, outcome(classes), labels, IMPORTANCES)
    assert set(figures) == names
    text = as_markdown(figures)
    pictures = re.findall(r"!\[(\w+)\]\(data:image/png;base64,([^)]+)\)", text)
    assert {name for name, _ in pictures} == names
    for _, picture in pictures:
        content = base64.b64decode(picture)
        assert content.startswith(b"\x89PNG")
        assert len(content) < 50_000


def test_the_confusion_counts_every_row() -> None:
    told = outcome(2)
    figure = evaluation_figures("binary_classification", told, ("no", "yes"), IMPORTANCES)[
        "confusion"
    ]
    (axis,) = figure.axes
    counts = [int(text.get_text()) for text in axis.texts]
    wanted = [
        int(((told.truth == t) & (told.predicted == p)).sum()) for t in (0, 1) for p in (0, 1)
    ]
    assert counts == wanted
    assert [label.get_text() for label in axis.get_yticklabels()] == ["no", "yes"]


def test_a_model_that_never_predicts_a_class_can_be_shown() -> None:
    told = outcome(3)
    lazy = Outcome(np.zeros(300), np.zeros(300), told.probabilities)
    assert "confusion" in evaluation_figures("multiclass_classification", lazy, ("a", "b", "c"), ())


def test_the_most_important_columns_stand_on_top() -> None:
    figure = evaluation_figures("regression", outcome(0), (), IMPORTANCES)["importances"]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"c{k}" for k in range(15)][::-1]
