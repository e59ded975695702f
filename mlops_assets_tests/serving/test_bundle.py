import json
import pickle
import shutil

import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier

from mlops_assets.serving import bundle
from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.runtimes import sklearn as runtime
from mlops_assets.serving.scorer import Scorer
from mlops_assets_tests.builders import make_columns


class Exploding:
    """A type of ours, which no endpoint knows."""

    def __init__(self, value=1):
        self.value = value


@pytest.fixture
def copy(executed_by_sklearn, tmp_path):
    return shutil.copytree(executed_by_sklearn.folder, tmp_path / "copy")


def edit(folder, **changes):
    content = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**content, **changes}))


def test_an_intact_bundle_is_verified(executed_by_sklearn, copy):
    assert bundle.verify(copy) == executed_by_sklearn.manifest
    assert bundle.digest(copy) == executed_by_sklearn.digest


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda f: (f / "manifest.json").unlink(), "no bundle"),
        (lambda f: (f / "manifest.json").write_text("{"), "not JSON"),
        (lambda f: (f / "manifest.json").write_text("[]"), "format"),
        (lambda f: edit(f, format=99), "update mlops_assets"),
        (lambda f: edit(f, surprise=1), "incomplete"),
        (lambda f: edit(f, schema=3), "incomplete"),
        (lambda f: edit(f, files=["model.skops"]), "files"),
        (lambda f: edit(f, model_file="../other"), "no digest"),
        (lambda f: (f / "model.skops").unlink(), "lacks"),
        (lambda f: (f / "more.py").write_text(""), "does not name"),
        (lambda f: (f / "model.skops").write_bytes(b"x"), "not the file"),
        (lambda f: (f / "golden.json").unlink() or (f / "golden.json").mkdir(), "regular file"),
        (
            lambda f: (
                (f / "model.skops").rename(f.parent / "m")
                and (f / "model.skops").symlink_to(f.parent / "m")
            ),
            "regular file",
        ),
    ],
)
def test_a_damaged_bundle_is_refused(copy, damage, word):
    damage(copy)
    with pytest.raises(BundleError, match=word):
        Scorer.open(copy)


def test_a_pickle_is_never_loaded(copy):
    (copy / "model.skops").write_bytes(pickle.dumps(DecisionTreeClassifier()))
    _seal_as_is(copy)
    with pytest.raises(BundleError, match="not a skops archive"):
        Scorer.open(copy)


def test_a_type_that_is_not_listed_is_refused_by_name(copy):
    skops.io.dump(Exploding(), copy / "model.skops")
    _seal_as_is(copy)
    with pytest.raises(BundleError, match=r"test_bundle\.Exploding"):
        Scorer.open(copy)


def test_an_archive_of_something_else_is_refused(copy):
    shutil.make_archive(str(copy.parent / "other"), "zip", copy)
    shutil.move(copy.parent / "other.zip", copy / "model.skops")
    _seal_as_is(copy)
    with pytest.raises(BundleError, match="not a readable skops archive"):
        Scorer.open(copy)


def test_a_model_that_does_not_fit_the_manifest_is_refused(copy):
    _seal_as_is(copy, task="multiclass_classification", classes=["a", "b", "c"], threshold=None)
    with pytest.raises(BundleError, match="knows 2 classes, the manifest names 3"):
        Scorer.open(copy)
    _seal_as_is(copy, runtime="onnx")
    with pytest.raises(BundleError, match=r"model\.skops is not a loadable ONNX graph"):
        Scorer.open(copy)
    _seal_as_is(copy, runtime="wasm")
    with pytest.raises(BundleError, match="runtime 'wasm'"):
        Scorer.open(copy)


def test_an_input_named_like_an_output_is_refused(copy):
    content = json.loads((copy / "manifest.json").read_text())
    content["schema"][0]["name"] = "prediction"
    _seal_as_is(copy, schema=content["schema"])
    with pytest.raises(BundleError, match="'prediction'"):
        Scorer.open(copy)


def test_saving_refuses_what_an_endpoint_would_refuse(tmp_path):
    with pytest.raises(BundleError, match=r"FunctionTransformer.*needs types"):
        runtime.save(FunctionTransformer(func=make_columns), tmp_path / "model.skops")
    assert list(tmp_path.iterdir()) == []


def _seal_as_is(folder, **changes):
    content = {**json.loads((folder / "manifest.json").read_text()), **changes}
    (folder / "manifest.json").unlink()
    bundle.seal(folder, _manifest(content))


def _manifest(content):
    schema = bundle.InputSchema.from_json(content["schema"])
    classes = tuple(content["classes"])
    return bundle.Manifest(**{**content, "schema": schema, "classes": classes})
