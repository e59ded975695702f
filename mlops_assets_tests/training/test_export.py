"""A written bundle answers as the estimator did, and says so itself."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_assets.modeling.outcome import Outcome
from mlops_assets.modeling.scoring import opened
from mlops_assets.serving import bundle
from mlops_assets.serving.bundle import BundleError, Manifest
from mlops_assets.training import export, fitting, parity
from mlops_assets.training.spec import TrainingSpec
from mlops_assets_tests.builders import CLASSES, SCHEMA
from mlops_assets_tests.training.tables import held_out_rows, train_rows

ESTIMATORS = {
    "binary_classification": "sklearn.ensemble.RandomForestClassifier",
    "multiclass_classification": "sklearn.ensemble.RandomForestClassifier",
    "regression": "sklearn.ensemble.RandomForestRegressor",
}


def exported(
    folder: Path, task: Any, *, runtime: Any = "onnx", **section: Any
) -> tuple[export.Exported, fitting.Fitted]:
    train = train_rows(task)
    fitted = fitting.fit(
        train,
        spec=TrainingSpec(estimator=ESTIMATORS[task], **section),
        task=task,
        schema=SCHEMA,
        parameters={"n_estimators": 10},
        ordered=False,
        seed=0,
    )
    manifest = Manifest(
        model="churn",
        run_id="run",
        task=task,
        runtime=runtime,
        model_file=export.MODEL_FILES[runtime],
        schema=SCHEMA,
        classes=CLASSES[task],
        threshold=fitted.threshold,
        data_digest="0" * 64,
        code_version="test",
        created_at="2026-01-01T00:00:00+00:00",
        files={},
    )
    folder.mkdir()
    written = export.write(
        folder,
        fitted.estimator,
        manifest,
        train=train,
        test=held_out_rows(task),
        answered=answered(fitted, task),
    )
    return written, fitted


def outcome(fitted: fitting.Fitted, rows: Any, task: Any) -> Outcome:
    return fitted.outcome(rows, task=task, schema=SCHEMA)


def answered(fitted: fitting.Fitted, task: Any) -> Any:
    return partial(outcome, fitted, task=task)


@pytest.mark.parametrize("task", ESTIMATORS)
@pytest.mark.parametrize("calibration", ["none", "isotonic"])
@pytest.mark.parametrize("runtime", ["onnx", "sklearn"])
def test_the_bundle_predicts_exactly_what_the_estimator_does(
    task: Any, calibration: Any, runtime: Any, tmp_path: Path
) -> None:
    written, fitted = exported(tmp_path / "bundle", task, runtime=runtime, calibration=calibration)
    rows = held_out_rows(task, rows=1000, seed=9)
    found = parity.prove(written.folder, rows, answered(fitted, task))
    assert found["max_difference"] <= (1e-15 if runtime == "onnx" else 0.0)
    assert found["label_flips"] == 0
    assert found["held_out_rows"] == 200
    kinds = ("held_out", "missing", "unseen_category", "extreme", "threshold")
    assert found["rows"] == sum(found[f"{kind}_rows"] for kind in kinds)
    assert (found["threshold_rows"] > 100) == (runtime == "onnx")
    assert found["refused"] > 0, "scikit-learn's trees refuse what float32 cannot hold"


@pytest.mark.parametrize("runtime", ["onnx", "sklearn"])
def test_nothing_in_a_bundle_can_be_executed(runtime: Any, tmp_path: Path) -> None:
    written, _ = exported(tmp_path / "bundle", "binary_classification", runtime=runtime)
    names = {path.name for path in written.folder.iterdir()}
    assert names == {
        "manifest.json",
        "golden.json",
        "reference_profile.bin",
        written.manifest.model_file,
    } | ({"explanation.npz"} if runtime == "onnx" else set())
    assert set(written.manifest.files) == names - {"manifest.json"}


def test_parity_reports_differences_and_flips(tmp_path: Path) -> None:
    written, fitted = exported(tmp_path / "bundle", "binary_classification")
    rows = held_out_rows(rows=500, seed=9)
    flips = 0

    def moved(asked: Any) -> Any:
        nonlocal flips
        expected = outcome(fitted, asked, "binary_classification")
        shifted = np.clip(expected.probabilities + np.array([0.25, -0.25]), 0, 1)
        labels = fitting.predict_labels(shifted, fitted.threshold)
        flips += int((labels != expected.predicted).sum())
        return replace(expected, probabilities=shifted, predicted=labels)

    found = parity.prove(written.folder, rows, moved)
    assert found["max_difference"] == pytest.approx(0.25)
    assert found["label_flips"] == flips > 0


def test_parity_of_a_regression_is_relative_to_its_values(tmp_path: Path) -> None:
    written, fitted = exported(tmp_path / "bundle", "regression")
    rows = held_out_rows("regression", rows=500, seed=9)

    def scaled(asked: Any) -> Any:
        expected = outcome(fitted, asked, "regression")
        return replace(expected, predicted=expected.predicted * 1.001)

    found = parity.prove(written.folder, rows, scaled)
    assert found["max_difference"] == pytest.approx(1e-3, rel=0.01)


def test_rows_that_the_estimator_refuses_are_left_out_one_by_one() -> None:
    columns = {name: [0, 1, 2, 3, 4, 5, 6] for name in SCHEMA.names}

    def grudging(asked: Any) -> Any:
        if (asked["tenure"] == 3).any():
            raise ValueError("no threes")
        values = asked["tenure"].to_numpy()
        return Outcome(values, np.where(values == 5, np.inf, values), None)

    parts = parity.scored(SCHEMA, columns, grudging)
    assert [value for part, _ in parts for value in part["charges"]] == [0, 1, 2, 4, 6]
    assert [value for _, found in parts for value in found.predicted] == [0, 1, 2, 4, 6]


@pytest.mark.parametrize("task", ESTIMATORS)
def test_golden_requests_are_what_the_data_writes_and_are_replayed(
    task: Any, tmp_path: Path
) -> None:
    written, _ = exported(tmp_path / "bundle", task)
    golden = bundle.read_golden(written.folder)
    assert 20 <= len(golden.records) <= 24
    assert any(record["charges"] is None for record in golden.records)
    assert any(record["contract"] is None for record in golden.records)
    if task == "regression":
        assert all(isinstance(value, float) for value in golden.predictions)
        assert golden.probabilities == ()
    else:
        assert set(golden.predictions) <= set(CLASSES[task])
        assert len(golden.probabilities) == len(golden.records)
    opened(written.folder)
    assert bundle.verify(written.folder) == written.manifest
    assert bundle.digest(written.folder) == written.digest


def test_a_bundle_whose_golden_answers_are_others_is_refused(tmp_path: Path) -> None:
    written, _ = exported(tmp_path / "bundle", "binary_classification")
    path = written.folder / bundle.GOLDEN
    content = json.loads(path.read_text())
    content["probabilities"][3] = [
        row + d for row, d in zip(content["probabilities"][3], (1e-3, -1e-3), strict=True)
    ]
    path.write_text(json.dumps(content))
    with pytest.raises(BundleError, match="not the file its manifest describes"):
        opened(written.folder)
    bundle.seal(written.folder, written.manifest)  # as somebody would who hides it
    assert bundle.digest(written.folder) != written.digest
    with pytest.raises(BundleError, match="golden request 3 is answered"):
        opened(written.folder)


def test_labels_are_written_as_in_the_data() -> None:
    codes = np.array([1.0, 0.0])
    assert export.labels(Outcome(codes, codes, np.eye(2)), ("no", True)) == [True, "no"]
    assert export.labels(Outcome(codes, codes, None), ()) == [1.0, 0.0]
