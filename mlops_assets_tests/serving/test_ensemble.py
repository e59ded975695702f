"""Arrays of a model survive their file, and nothing else is read from it."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from mlops_assets.serving.ensemble import EXPLANATION, LinearModel, TreeEnsemble, load, save

TREES = TreeEnsemble(
    feature=np.array([0, -1, -1], dtype=np.int32),
    threshold=np.array([np.inf, 0.0, 0.0]),
    differs=np.array([False, False, False]),
    missing_true=np.array([True, False, False]),
    true=np.array([1, -1, -1], dtype=np.int32),
    false=np.array([2, -1, -1], dtype=np.int32),
    cover=np.array([10.0, 4.0, 6.0]),
    value=np.array([[0.0], [0.1], [-5e-324]]),
    roots=np.array([0], dtype=np.int32),
    base=np.array([0.25]),
    scale="log_odds",
)
LINEAR = LinearModel(
    column=np.array([0, 1, 0], dtype=np.int32),
    reads=np.array(["value", "equals", "missing"]),
    code=np.array([0.0, 2.0, 0.0]),
    fill=np.array([1.5, np.nan, np.nan]),
    shift=np.array([1.0, 0.0, 0.1]),
    scaled=np.array([2.0, 1.0, 0.3]),
    mean=np.array([0.0, 0.4, 0.0]),
    weights=np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]),
    intercept=np.array([1.0, 2.0]),
    scale="value",
)


@pytest.mark.parametrize("model", [TREES, LINEAR], ids=["trees", "linear"])
def test_what_is_saved_is_what_is_loaded(model: TreeEnsemble | LinearModel, tmp_path: Path) -> None:
    save(model, tmp_path)
    again = load(tmp_path)
    assert type(again) is type(model)
    for field in fields(model):
        before, after = getattr(model, field.name), getattr(again, field.name)
        np.testing.assert_array_equal(before, after)
        assert getattr(before, "dtype", None) == getattr(after, "dtype", None)


def test_a_bundle_without_explanation_has_none(tmp_path: Path) -> None:
    assert load(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"PK\x03\x04 torn"])
def test_anything_else_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / EXPLANATION).write_bytes(content)
    with pytest.raises(ValueError, match="holds no explanation"):
        load(tmp_path)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / EXPLANATION, kind=np.array("trees"), feature=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        load(tmp_path)
