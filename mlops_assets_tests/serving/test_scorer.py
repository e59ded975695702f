import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline

from mlops_assets.serving import bundle
from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.runtimes import sklearn as runtime
from mlops_assets.serving.scorer import Scorer, ScoringError
from mlops_assets_tests.builders import SCHEMA


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_bundle_answers_as_its_estimator(task, request):
    built = request.getfixturevalue(task)
    scorer = Scorer.open(built.folder)
    scores = scorer.score(built.columns)
    answers = scores.predictions if task == "regression" else scores.probabilities
    np.testing.assert_allclose(answers, built.expected(400), rtol=0, atol=1e-12)
    scorer.self_test()


def test_the_threshold_decides_and_the_positive_class_is_last(binary):
    scorer = Scorer.open(binary.folder)
    scores = scorer.score(binary.columns)
    between = [p for _, p in scores.probabilities if 0.4 <= p < 0.5]
    assert between, "the rows hold none that threshold and argmax decide differently"
    decided = ["Yes" if p >= 0.4 else "No" for _, p in scores.probabilities]
    assert scores.predictions == decided
    exact = scores.probabilities[0][1]
    at_threshold = replace(scorer, manifest=replace(scorer.manifest, threshold=exact))
    assert at_threshold.score(binary.columns).predictions[0] == "Yes"


def test_the_most_probable_of_several_classes_is_predicted(multiclass):
    scores = Scorer.open(multiclass.folder).score(multiclass.columns)
    expected = multiclass.expected(400).argmax(axis=1)
    assert scores.predictions == [multiclass.manifest.classes[i] for i in expected]
    assert set(scores.predictions) == {"high", "low", "middle"}


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("error", [2e-6, 1e-7])
def test_golden_requests_are_replayed_to_a_millionth(task, error, request, tmp_path):
    built = request.getfixturevalue(task)
    folder = shutil.copytree(built.folder, tmp_path / "copy")
    golden = json.loads((folder / "golden.json").read_text())
    if task == "binary":
        golden["probabilities"][2][0] += error
    else:
        golden["predictions"][2] *= 1 + error
    (folder / "golden.json").write_text(json.dumps(golden))
    bundle.seal(folder, replace(built.manifest, files={}))
    scorer = Scorer.open(folder)
    if error < 1e-6:
        scorer.self_test()
    else:
        with pytest.raises(BundleError, match="golden request 2"):
            scorer.self_test()


def test_values_out_of_the_models_reach_are_a_scoring_error(regression):
    scorer = Scorer.open(regression.folder)
    with pytest.raises(ScoringError, match="not finite"):
        replace(scorer, _predict=lambda _: np.array([np.nan])).score({})


def test_a_calibrated_forest_survives_saving(executed_by_sklearn, tmp_path):
    binary = executed_by_sklearn
    table = runtime.frame(SCHEMA, binary.columns)
    forest = RandomForestClassifier(5, random_state=0)
    model = CalibratedClassifierCV(
        make_pipeline(binary.estimator["columns"], forest), method="isotonic", cv=2
    ).fit(table, binary.estimator.predict(table))
    runtime.save(model, tmp_path / "model.skops")
    execute = runtime.load(tmp_path, binary.manifest)
    np.testing.assert_array_equal(execute(binary.columns), model.predict_proba(table))


def test_frames_have_the_types_pipelines_are_fitted_on():
    columns = {
        "contract": ["monthly", None],
        "senior": [True, None],
        "charges": [None, 2],
        "tenure": [1, 2.5],
    }
    table = runtime.frame(SCHEMA, columns)
    assert list(table.columns) == list(SCHEMA.names)
    assert [str(t) for t in table.dtypes] == ["float64", "float64", "float64", "object"]
    assert table["contract"].tolist() == ["monthly", None]
    np.testing.assert_array_equal(table["senior"], [1.0, np.nan])
