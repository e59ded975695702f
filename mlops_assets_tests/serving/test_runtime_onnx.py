"""What the ONNX runtime loads, and what it refuses with a reason."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from sklearn.tree import DecisionTreeClassifier

from mlops_assets.modeling.conversion.convert import convert
from mlops_assets.serving.bundle import BundleError, Manifest
from mlops_assets.serving.encoding import Categories, InputEncoding
from mlops_assets.serving.runtimes import onnx as runtime
from mlops_assets.serving.runtimes.sklearn import frame
from mlops_assets_tests.builders import SCHEMA, Built


def written(folder: Path, content: bytes, built: Built) -> Manifest:
    (folder / "model.onnx").write_bytes(content)
    return Manifest(
        **{
            **vars(built.manifest),
            "runtime": "onnx",
            "model_file": "model.onnx",
        }
    )


def converted(built: Built) -> bytes:
    table = frame(SCHEMA, built.columns)
    return convert(built.estimator, schema=SCHEMA, rows=table).model


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_graph_answers_as_its_estimator(task: str, request: Any, tmp_path: Path) -> None:
    built = request.getfixturevalue(task)
    execute = runtime.load(tmp_path, written(tmp_path, converted(built), built))
    np.testing.assert_allclose(execute(built.columns), built.expected(400), rtol=0, atol=1e-13)
    first = {name: values[:1] for name, values in built.columns.items()}
    np.testing.assert_allclose(execute(first), built.expected(1), rtol=0, atol=1e-13)


def edited(content: bytes, **changes: Any) -> bytes:
    model = onnx.load_from_string(content)
    for name, change in changes.items():
        change(getattr(model, name))
    return bytes(model.SerializeToString())


def external(graph: Any) -> None:
    constant = graph.initializer[0]
    constant.ClearField("raw_data")
    constant.data_location = TensorProto.EXTERNAL
    constant.external_data.add(key="location", value="golden.json")


def no_encoding(properties: Any) -> None:
    del properties[:]


def other_columns(properties: Any) -> None:
    columns = json.loads(properties[0].value)
    properties[0].value = json.dumps(columns[::-1])


def torn_encoding(properties: Any) -> None:
    properties[0].value = properties[0].value[:-3]


def other_output(graph: Any) -> None:
    graph.node[-1].output[0] = graph.output[0].name = "z"


def one_output(graph: Any) -> None:
    graph.node[-1].output[0] = "both"
    graph.node.append(helper.make_node("ReduceMax", ["both", "axis"], ["y"]))
    graph.initializer.append(helper.make_tensor("axis", TensorProto.INT64, [1], [1]))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"graph": external}, "not a loadable ONNX graph"),
        ({"metadata_props": no_encoding}, "does not say how its columns are encoded"),
        ({"metadata_props": torn_encoding}, "its encoding is unreadable"),
        ({"metadata_props": other_columns}, "reads other columns"),
        ({"graph": other_output}, "expected x and y in float64"),
        ({"graph": one_output}, "gives 1 outputs a row; the manifest names 2 classes"),
    ],
)
def test_another_graph_is_refused(changes: Any, reason: str, binary: Built, tmp_path: Path) -> None:
    manifest = written(tmp_path, edited(converted(binary), **changes), binary)
    with pytest.raises(BundleError, match=reason):
        runtime.load(tmp_path, manifest)


@pytest.mark.parametrize(
    "content",
    [b"", b"not a graph", pickle.dumps(DecisionTreeClassifier()), b"PK\x03\x04"],
    ids=["empty", "text", "pickle", "archive"],
)
def test_what_is_no_graph_is_refused(content: bytes, binary: Built, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"model\.onnx is not a loadable ONNX graph"):
        runtime.load(tmp_path, written(tmp_path, content, binary))


def test_an_encoding_survives_its_json() -> None:
    nan = float("nan")
    encoding = InputEncoding(
        ("age", "city"), (None, Categories({"a": 0.0, "": 1.0}, missing=nan, unknown=-1.0))
    )
    again = InputEncoding.from_json(json.loads(json.dumps(encoding.to_json(), allow_nan=False)))
    columns = {"age": [True, None, 2**53 + 1], "city": ["", None, "new"]}
    matrix = [[1.0, 1.0], [nan, nan], [9007199254740992.0, -1.0]]
    np.testing.assert_array_equal(again.matrix(columns), matrix)
    for row in range(3):
        one = {name: [values[row]] for name, values in columns.items()}
        np.testing.assert_array_equal(again.matrix(one), matrix[row : row + 1])
