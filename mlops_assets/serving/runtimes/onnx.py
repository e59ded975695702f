"""Executes ONNX graphs: the model's input encoding travels in its metadata.

Such a file holds nodes and numbers, nothing that runs by itself; what an operator does is
onnxruntime's. Needs numpy and onnxruntime only.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.serving.bundle import BundleError, Manifest
from mlops_assets.serving.encoding import ENCODING, INPUT, OUTPUT, EncodedModel, InputEncoding

if TYPE_CHECKING:
    import numpy as np


def load(folder: Path, manifest: Manifest) -> EncodedModel:
    """The model of a verified bundle as a function of columns.

    It gives (n, classes) probabilities for classification, (n,) values for regression.

    Raises:
        BundleError: the file is no ONNX graph of ours, or does not fit the manifest.
    """
    path = folder / manifest.model_file
    session = _session(path)
    encoding = _encoding(path, session)
    _check(path, session, encoding, manifest)
    names, run = [OUTPUT], session.run
    regression = manifest.task == "regression"

    def execute(matrix: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        answer: np.ndarray[Any, Any] = run(names, {INPUT: matrix})[0]
        return answer.reshape(-1) if regression else answer

    model = EncodedModel(encoding, execute)
    try:
        width = model({name: [None] for name in encoding.names}).shape[-1]
    except Exception as error:
        raise BundleError(f"{path.name} cannot be executed: {error}") from error
    if width != (len(manifest.classes) or 1):
        raise BundleError(
            f"{path.name} gives {width} outputs a row; the manifest names "
            f"{len(manifest.classes) or 'no'} classes"
        )
    return model


def _session(path: Path) -> Any:
    """One thread per call: an endpoint answers many at once."""
    # Read when the library is loaded; without it, it reports its use to its makers.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        # From memory: a graph cannot refer to files beside it.
        return onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise BundleError(f"{path.name} is not a loadable ONNX graph: {error}") from error


def _encoding(path: Path, session: Any) -> InputEncoding:
    stored = session.get_modelmeta().custom_metadata_map.get(ENCODING)
    if stored is None:
        raise BundleError(f"{path.name} does not say how its columns are encoded")
    try:
        return InputEncoding.from_json(json.loads(stored))
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path.name}: its encoding is unreadable: {error!r}") from error


def _check(path: Path, session: Any, encoding: InputEncoding, manifest: Manifest) -> None:
    if encoding.names != manifest.schema.names:
        raise BundleError(f"{path.name} reads other columns than the manifest names")
    found = [(each.name, each.type) for each in (*session.get_inputs(), *session.get_outputs())]
    if found != [(INPUT, "tensor(double)"), (OUTPUT, "tensor(double)")]:
        raise BundleError(
            f"{path.name} has inputs and outputs {found}; expected {INPUT} and {OUTPUT} in float64"
        )
