"""Executes ONNX graphs: the model's input encoding travels in its metadata.

Such a file holds nodes and numbers, nothing that runs by itself; what an operator does is
onnxruntime's. Needs numpy and onnxruntime only.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.serving import mask_tables
from mlops_assets.serving.bundle import BundleError, Manifest
from mlops_assets.serving.encoding import ENCODING, INPUT, OUTPUT, EncodedModel, InputEncoding
from mlops_assets.serving.runtimes import onnx_links, onnx_trees

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Function = Callable[[Array], Array]


def load(folder: Path, manifest: Manifest) -> EncodedModel:
    """The model of a verified bundle as a function of columns.

    It gives (n, classes) probabilities for classification, (n,) values for regression.

    Raises:
        BundleError: the file is no ONNX graph of ours, or does not fit the manifest.
    """
    path = folder / manifest.model_file
    content = path.read_bytes()
    try:
        session = _session(content)
    except Exception as error:
        raise BundleError(f"{path.name} is not a loadable ONNX graph: {error}") from error
    encoding = _encoding(path, session)
    _check(path, session, encoding, manifest)
    try:
        execute = with_masks(content) or _asked(session)
        model = EncodedModel(encoding, _shaped(execute, manifest))
        width = model({name: [None] for name in encoding.names}).shape[-1]
    except Exception as error:
        raise BundleError(f"{path.name} cannot be executed: {error}") from error
    if width != (len(manifest.classes) or 1):
        raise BundleError(
            f"{path.name} gives {width} outputs a row; the manifest names "
            f"{len(manifest.classes) or 'no'} classes"
        )
    return model


def with_masks(content: bytes, *, least: int = mask_tables.LEAST_NODES) -> "Function | None":
    """The graph with its trees as masks, which sums them to the same bits; None where it has no
    trees of that size, or trees that have no masks.

    Raises:
        ValueError: it is not what `modeling.conversion` writes.
    """
    found = onnx_trees.take_out(content)
    sums = None if found is None else mask_tables.masks(found[0], least=least)
    if found is None or sums is None:
        return None
    if found[1] is None:
        return sums
    links = onnx_links.read(found[1])
    rest = links.function() if links else _asked(_session(found[1]))
    one = links.function_of_one() if links and sums.targets == 1 else None
    if one is None:
        return lambda matrix: rest(sums(matrix))
    return lambda matrix: one(sums.alone(matrix[0])) if len(matrix) == 1 else rest(sums(matrix))


def _asked(session: Any) -> "Function":
    names, run = [OUTPUT], session.run
    return lambda matrix: run(names, {INPUT: matrix})[0]


def _shaped(execute: "Function", manifest: Manifest) -> "Function":
    """(n,) for regression."""
    if manifest.task != "regression":
        return execute
    return lambda matrix: execute(matrix).reshape(-1)


def _session(content: bytes) -> Any:
    """One thread per call: an endpoint answers many at once."""
    # Read when the library is loaded; without it, it reports its use to its makers.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Both cost a small request more than they save: microseconds, and memory.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    # From memory: a graph cannot refer to files beside it.
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


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
