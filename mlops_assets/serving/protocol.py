"""The Open Inference Protocol, version 2: tensors in JSON, made into rows, and scores into tensors.

Pure. Knows neither HTTP nor the model.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Struct

from mlops_assets.serving.bundle import Manifest
from mlops_assets.serving.reader import Reader, Rows
from mlops_assets.serving.refusals import bad, shown
from mlops_assets.serving.scorer import Scores

DATATYPES = {"numeric": "FP64", "boolean": "BOOL", "categorical": "BYTES"}
INTEGERS = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
FLOATS = ("FP64", "FP32", "FP16", "BF16")
ALLOWED = {
    "numeric": (*FLOATS, *INTEGERS),
    "boolean": ("BOOL", *INTEGERS),
    "categorical": ("BYTES",),
}
ENTITY_ALLOWED = ("BYTES", *INTEGERS)


class Tensor(Struct, forbid_unknown_fields=True):
    """One input: its data flat or nested, row by row."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] | None = None


class Output(Struct, forbid_unknown_fields=True):
    """An output the caller wants."""

    name: str
    parameters: dict[str, Any] | None = None


class Request(Struct, forbid_unknown_fields=True):
    """The body of a request."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[Output] | None = None


@dataclass(frozen=True)
class Inference:
    """A request that was read."""

    rows: Rows
    id: str | None
    parameters: dict[str, Any] | None
    outputs: tuple[str, ...]
    """Names of the outputs to answer with."""
    explain: bool

    def answer(self, manifest: Manifest, version: str, scores: Scores) -> dict[str, Any]:
        """The body of the answer, without the id of a request that has none."""
        given = {"id": self.id, "parameters": self.parameters}
        data = {
            "predictions": scores.predictions,
            "probabilities": [value for row in scores.probabilities for value in row],
        }
        rows = len(scores.predictions)
        tensors = [
            {**output, "shape": [rows, *output["shape"][1:]], "data": data[output["name"]]}
            for output in outputs_of(manifest)
            if output["name"] in self.outputs
        ]
        if manifest.task != "regression" and _label_datatype(manifest) == "BYTES":
            for tensor in tensors:
                if tensor["name"] == "predictions":
                    tensor["data"] = [str(label) for label in tensor["data"]]
        return {
            "model_name": manifest.model,
            "model_version": version,
            **{name: value for name, value in given.items() if value is not None},
            "outputs": tensors,
        }


_decoder = msgspec.json.Decoder(Request)


def read(body: bytes, manifest: Manifest, reader: Reader) -> Inference:
    """The rows of a request: one input per column of shape [n] or [n, 1], or, when every column is
    numeric, one of shape [n, columns] under any name.

    Raises:
        RequestError: 400 when the body does not fit the schema, 413 when it has too many rows.
    """
    try:
        request = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise bad("bad_tensor", f"the body is no inference request: {error}") from error
    except (ValueError, RecursionError) as error:
        raise bad("not_json", f"the body is not JSON: {error}") from error
    names = tuple(output["name"] for output in outputs_of(manifest))
    wanted = tuple(output.name for output in request.outputs or ()) or names
    if unknown := sorted(set(wanted) - set(names)):
        raise bad(
            "unknown_output", f"unknown output {shown(unknown[0])}; allowed: {', '.join(names)}"
        )
    parameters = request.parameters or {}
    explain = parameters.get("explain", False)
    if not isinstance(explain, bool):
        raise bad("wrong_type", f"parameters.explain is {shown(explain)}; allowed: true, false")
    return Inference(
        reader.table(_columns(request.inputs, manifest)),
        request.id,
        request.parameters,
        wanted,
        explain,
    )


def outputs_of(manifest: Manifest) -> list[dict[str, Any]]:
    """Name, datatype and shape of what the model answers; -1 stands for the number of rows."""
    if manifest.task == "regression":
        return [{"name": "predictions", "datatype": "FP64", "shape": [-1]}]
    return [
        {"name": "predictions", "datatype": _label_datatype(manifest), "shape": [-1]},
        {"name": "probabilities", "datatype": "FP64", "shape": [-1, len(manifest.classes)]},
    ]


def metadata(manifest: Manifest, version: str, digest: str) -> dict[str, Any]:
    """The model's description."""
    return {
        "name": manifest.model,
        "versions": [version],
        "version": version,
        "platform": f"mlops_assets_{manifest.runtime}",
        "task": manifest.task,
        "classes": list(manifest.classes),
        "threshold": manifest.threshold,
        "bundle_digest": digest,
        "inputs": [
            {"name": column.name, "datatype": DATATYPES[column.type], "shape": [-1]}
            for column in manifest.schema.columns
        ],
        "outputs": outputs_of(manifest),
    }


def _label_datatype(manifest: Manifest) -> str:
    types = {type(label) for label in manifest.classes}
    return "INT64" if types == {int} else "BOOL" if types == {bool} else "BYTES"


def _columns(inputs: list[Tensor], manifest: Manifest) -> dict[str, list[Any]]:
    allowed = {column.name: ALLOWED[column.type] for column in manifest.schema.columns}
    if manifest.entity is not None:
        allowed[manifest.entity] = ENTITY_ALLOWED
    columns: dict[str, list[Any]] = {}
    for tensor in inputs:
        if tensor.name in columns:
            raise bad("bad_tensor", f"input {shown(tensor.name)} stands twice")
        if tensor.name in allowed:
            _check_datatype(tensor, allowed[tensor.name])
            columns[tensor.name] = _flat(tensor, width=1)
        elif len(tensor.shape) == 2 and not set(columns) & set(manifest.schema.names):
            columns |= _matrix(tensor, manifest)
        else:
            columns[tensor.name] = []
    return columns


def _matrix(tensor: Tensor, manifest: Manifest) -> dict[str, list[Any]]:
    names = manifest.schema.names
    for column in manifest.schema.columns:
        if column.type != "numeric":
            raise bad(
                "unknown_field",
                f"unknown field {shown(tensor.name)}; field {column.name!r} is {column.type}, so "
                f"the model takes one input per field: {', '.join(names)}",
            )
    _check_datatype(tensor, ALLOWED["numeric"])
    values = _flat(tensor, width=len(names))
    return {name: values[index :: len(names)] for index, name in enumerate(names)}


def _check_datatype(tensor: Tensor, allowed: tuple[str, ...]) -> None:
    if tensor.datatype not in allowed:
        raise bad(
            "wrong_type",
            f"field {shown(tensor.name)} has datatype {shown(tensor.datatype)}; allowed: "
            f"{', '.join(allowed)}",
        )


def _flat(tensor: Tensor, *, width: int) -> list[Any]:
    """The n * width values of a tensor, row by row."""
    shape, data = tensor.shape, tensor.data
    rows = shape[0] if shape else -1
    if shape[1:] != [width] and not (width == 1 and len(shape) == 1):
        expected = "[n] or [n, 1]" if width == 1 else f"[n, {width}]"
        raise bad(
            "bad_shape",
            f"field {shown(tensor.name)} has shape {shown(shape)}; {expected} is expected",
        )
    if len(shape) == 2 and len(data) == rows and all(isinstance(row, list) for row in data):
        if any(len(row) != width for row in data):
            raise bad("bad_shape", f"field {shown(tensor.name)} has rows of other lengths")
        data = [value for row in data for value in row]
    if len(data) != rows * width:
        raise bad(
            "bad_shape",
            f"field {shown(tensor.name)} has {len(data)} values; its shape {shown(shape)} asks "
            f"for {rows * width}",
        )
    return data
