"""The model card tells what the records hold, and only that."""

from dataclasses import replace
from typing import Any

import pytest

from mlops_assets.gateways.records import (
    Comparison,
    Evaluation,
    Footprint,
    Measured,
    Metric,
    Snapshot,
    TrainedModel,
    TrainingSet,
)
from mlops_assets.training import card
from mlops_assets_tests.builders import SCHEMA, make_experiment

SNAPSHOT = Snapshot(
    url="data/churn.parquet",
    digest="d" * 64,
    rows=7043,
    columns=("a",),
    location="churn.csv",
    taken_at="2026-01-01T00:00:00+00:00",
)
TRAINING_SET = TrainingSet(
    url="data/set.parquet",
    digest="e" * 64,
    train_rows=5634,
    test_rows=1409,
    schema=tuple(SCHEMA.to_json()),
    classes=("No", "Yes"),
    ordered=False,
    split="20% of the rows held out within classes, 5 folds",
    leaks=(),
    snapshot=SNAPSHOT,
)
MODEL = TrainedModel(
    run_id="run7",
    model_uri="models:/m-1",
    bundle_uri="runs:/run7/bundle",
    bundle_digest="f" * 64,
    threshold=0.3125,
    parity={},
    parameters={"C": 0.5, "alpha": 2},
    code_version="abc123-dirty",
    data_digest="e" * 64,
    snapshot_digest="d" * 64,
)
EVALUATION = Evaluation(
    run_id="run7",
    rows=1409,
    metrics={"roc_auc": Metric(0.8412, 0.82, 0.8611)},
    slices=(
        {
            "column": "contract",
            "value": "one|year",
            "rows": 1200,
            "metric": "roc_auc",
            "value_of": 0.8,
            "low": 0.75,
            "high": 0.85,
        },
        {"column": "contract", "value": "two", "rows": 9, "note": "fewer than 30 rows"},
    ),
    measured=(
        Measured("roc_auc", "", "", 1409, 0.84, 0.83, Metric(0.01, -0.004, 0.024), 0.95, ""),
        Measured("roc_auc", "contract", "two", 9, None, None, None, 0.0, "fewer than 200 rows"),
    ),
    asked="abc",
    footprint=Footprint(latency_ms=0.051, bundle_mb=1.5),
    champion=Comparison(3, 0.125, Footprint(latency_ms=0.1, bundle_mb=2.25), note=""),
)
IMPORTANCES = ({"column": "tenure", "importance": 0.12, "sd": 0.01},)


def rendered(**records: Any) -> str:
    usual: dict[str, Any] = {
        "model": MODEL,
        "training_set": TRAINING_SET,
        "evaluation": EVALUATION,
        "importances": IMPORTANCES,
        "code_version": MODEL.code_version,
        "experiment": make_experiment(),
    }
    given = {**usual, **records}
    return card.render(given.pop("experiment"), **given)


@pytest.mark.parametrize(
    "words",
    [
        "# churn\n\nWhich customers leave within the next month.",
        "- Estimator: `sklearn.linear_model.LogisticRegression`(C=0.5, alpha=2)",
        "- Rows: 5,634 training, 1,409 held out",
        "- MLflow run: `run7`; bundle `ffffffffffff`; code `abc123-dirty`",
        "| roc_auc | 0.8412 | 0.8200 to 0.8611 |",
        "`Yes` is predicted from a probability of 0.3125 on, the best for f1 on rows",
        "calibrated (sigmoid)",
        "| contract | one\\|year | 1,200 | 0.8000 (0.7500 to 0.8500) |",
        "| contract | two | 9 | fewer than 30 rows |",
        "| tenure | 0.1200 ± 0.0100 |",
        "| metric | rows | model | version 3 | difference |",
        "| roc_auc | all | 0.8400 | 0.8300 | +0.0100 (-0.0040 to +0.0240) |",
        "12.5% of the predictions are others. A row takes 0.051 ms, 0.1 the champion; the bundle "
        "has 1.5 MB, 2.25 the champion's.",
        "- Source: `churn.csv`, 7,043 rows, taken 2026-01-01T00:00:00+00:00",
        "- Split: 20% of the rows held out within classes, 5 folds",
        "| `charges` | numeric | 18.0 to 120.0 | may be missing |",
        "| `contract` | categorical | monthly, one year, two years |",
    ],
)
def test_the_card_says(words: str) -> None:
    assert words in rendered()


def test_what_does_not_apply_is_left_out() -> None:
    text = rendered(model=replace(MODEL, threshold=None), evaluation=replace(EVALUATION, slices=()))
    assert "## Decision threshold" not in text
    assert "## Slices" not in text
    assert "\n\n\n" not in text


def test_a_champion_that_is_not_comparable_is_named_with_the_reason() -> None:
    silent = Comparison(3, None, None, note="it predicts other classes")
    text = rendered(evaluation=replace(EVALUATION, champion=silent, measured=()))
    assert "Version 3 is not comparable: it predicts other classes." in text
    assert "## Beside the champion" not in rendered(evaluation=replace(EVALUATION, champion=None))


def test_a_fixed_threshold_and_raw_probabilities_are_called_that() -> None:
    training = {
        "estimator": "sklearn.linear_model.LogisticRegression",
        "threshold": 0.4,
        "calibration": "none",
    }
    text = rendered(experiment=make_experiment(training=training))
    assert "a fixed threshold of the YAML" in text
    assert "Probabilities are the estimator's own." in text
    assert "had not seen" not in text


def test_tables_keep_their_columns() -> None:
    lines = card.slices_table(EVALUATION.slices).splitlines()
    assert lines[0] == "| column | value | rows | roc_auc |"
    assert {line.replace("\\|", "").count("|") for line in lines} == {5}


def test_every_type_of_input_says_what_was_seen_of_it() -> None:
    plain = {"nullable": False, "categories": [], "minimum": None, "maximum": None}
    shown = card.inputs_table(
        (
            {**plain, "name": "plan", "type": "categorical", "categories": ["a", "b"]},
            {**plain, "name": "addon", "type": "boolean"},
            {**plain, "name": "age", "type": "numeric", "minimum": 1.0, "maximum": 9.5},
        )
    )
    assert [line.split(" | ")[2] for line in shown.splitlines()[2:]] == [
        "a, b",
        "false, true",
        "1.0 to 9.5",
    ]
