"""From the file of a bundle to what a caller reads."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mlops_assets.modeling.conversion.convert import convert
from mlops_assets.serving import ensemble
from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.ensemble import LinearModel
from mlops_assets.serving.explain import Explainer, Explanation, NotExplainableError
from mlops_assets.serving.runtimes import onnx
from mlops_assets.serving.runtimes.sklearn import frame
from mlops_assets.serving.scorer import Scorer
from mlops_assets_tests.serving.trees import Leaf, Split, explained, flat

NAN = math.nan

LINEAR = LinearModel(
    column=np.array([0, 1, 1, 1, 2], "i4"),
    reads=np.array(["value", "equals", "equals", "missing", "value"]),
    code=np.array([0.0, 1.0, 2.0, 0.0, 0.0]),
    fill=np.array([4.0, 0.0, 0.0, 0.0, NAN]),
    shift=np.array([2.0, 0.0, 0.0, 0.0, 0.0]),
    scaled=np.array([0.5, 1.0, 1.0, 1.0, 1.0]),
    mean=np.array([0.1, 0.3, 0.2, 0.05, 7.0]),
    weights=np.array([[1.0, -1.0], [2.0, 0.0], [0.0, 3.0], [1.0, 1.0], [0.5, 0.0]]),
    intercept=np.array([0.25, -0.5]),
    scale="log_odds",
)


def test_a_linear_model_moves_by_weight_times_distance_from_the_mean():
    matrix = [[3.0, 1.0, 8.0, 0.0], [NAN, NAN, 8.0, 0.0]]
    found = explained(LINEAR, matrix)
    encoded = np.array([[2.0, 1.0, 0.0, 0.0, 8.0], [4.0, 0.0, 0.0, 1.0, 8.0]])
    each = (encoded - LINEAR.mean)[..., None] * LINEAR.weights
    by_column = [each[:, :1], each[:, 1:4], each[:, 4:], each[:, :0]]
    expected = np.stack([part.sum(axis=1) for part in by_column], axis=1)
    np.testing.assert_allclose(found.contributions, expected, atol=1e-12)
    total = found.base_values + found.contributions.sum(axis=1)
    np.testing.assert_allclose(total, encoded @ LINEAR.weights + LINEAR.intercept, atol=1e-12)


def test_what_a_caller_reads():
    one = Explanation("log_odds", ("a", "b"), np.array([0.5]), np.array([[[1.0], [2.0]]]))
    assert one.to_json() == {
        "scale": "log_odds",
        "base_values": 0.5,
        "contributions": [{"a": 1.0, "b": 2.0}],
    }
    two = Explanation("log_odds", ("a",), np.array([0.5, 1.5]), np.array([[[1.0, 2.0]]]))
    assert two.to_json() == {
        "scale": "log_odds",
        "base_values": [0.5, 1.5],
        "contributions": [{"a": [1.0, 2.0]}],
    }


STUMP = flat([Split(0, 0.0, Leaf(1, (1.0,)), Leaf(2, (2.0,)))])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"cover": np.array([3.0, 1.0])}, "unequally"),
        ({"cover": np.array([3.0, 4.0, -1.0])}, "less than nothing"),
        ({"base": np.zeros(2)}, "1 output"),
        ({"feature": np.array([4, -1, -1])}, "other columns"),
        ({"true": np.array([2, -1, -1])}, "trees"),
        ({"true": np.array([0, -1, -1])}, "trees"),
        ({"false": np.array([9, -1, -1])}, "trees"),
        ({"roots": np.array([1])}, "trees"),
        ({"roots": np.array([], int)}, "trees"),
    ],
)
def test_arrays_that_are_no_trees_are_refused(damage, reason):
    with pytest.raises(ValueError, match=reason):
        Explainer.of(replace(STUMP, **damage), ("a", "b", "c", "d"), outputs=1)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"shift": np.zeros(4)}, "unequally"),
        ({"weights": np.zeros((5, 1))}, "2 output"),
        ({"column": np.array([0, 1, 1, 1, 4])}, "columns"),
        ({"reads": np.array(["value"] * 4 + ["log"])}, "does not know"),
    ],
)
def test_arrays_that_are_no_linear_model_are_refused(damage, reason):
    with pytest.raises(ValueError, match=reason):
        Explainer.of(replace(LINEAR, **damage), ("a", "b", "c", "d"), outputs=2)


def test_a_bundle_explains_what_its_file_says(executed_by_sklearn, tmp_path):
    binary = executed_by_sklearn
    assert Explainer.load(binary.folder, binary.manifest) is None
    ensemble.save(STUMP, tmp_path)
    explainer = Explainer.load(tmp_path, binary.manifest)
    assert explainer.names == binary.manifest.schema.names
    assert explainer.explain(np.zeros((1, 4))).contributions[0, 0] == pytest.approx([1 - 5 / 3])
    several = replace(binary.manifest, task="multiclass_classification", classes=("a", "b", "c"))
    with pytest.raises(BundleError, match="3 output"):
        Explainer.load(tmp_path, several)
    (tmp_path / ensemble.EXPLANATION).write_bytes(b"torn")
    with pytest.raises(BundleError, match="cannot explain"):
        Explainer.load(tmp_path, binary.manifest)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_contributions_add_up_to_what_the_estimator_sums(task, request, tmp_path):
    built = request.getfixturevalue(task)
    table = frame(built.manifest.schema, built.columns)
    converted = convert(built.estimator, schema=built.manifest.schema, rows=table)
    (tmp_path / "model.onnx").write_bytes(converted.model)
    ensemble.save(converted.explained, tmp_path)
    manifest = replace(built.manifest, runtime="onnx", model_file="model.onnx")
    explainer = Explainer.load(tmp_path, manifest)
    scorer = Scorer(manifest, tmp_path, "", onnx.load(tmp_path, manifest), explainer)

    found = scorer.explain(built.columns)
    method = "predict" if task == "regression" else "decision_function"
    summed = getattr(built.estimator, method)(table).reshape(len(table), -1)
    total = found.base_values + found.contributions.sum(axis=1)
    np.testing.assert_allclose(total, summed, rtol=1e-9, atol=1e-9)
    assert found.scale == ("value" if task == "regression" else "log_odds")


def test_no_explanation_has_a_reason(executed_by_sklearn):
    scorer = Scorer.open(executed_by_sklearn.folder)
    with pytest.raises(NotExplainableError, match="runtime 'onnx' with decision trees"):
        scorer.explain(executed_by_sklearn.columns)


def test_contributions_that_overflow_are_not_given():
    with pytest.raises(NotExplainableError, match="not finite"):
        explained(LINEAR, [[NAN, NAN, NAN, 0.0]])
