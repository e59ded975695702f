"""Writes the serving bundle of a fitted model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.modeling.outcome import Outcome
from mlops_assets.modeling.scoring import records
from mlops_assets.serving import bundle, ensemble
from mlops_assets.serving.bundle import Golden, Manifest

if TYPE_CHECKING:
    import pandas as pd

MODEL_FILES = {"onnx": "model.onnx", "sklearn": "model.skops"}
"""By runtime."""


@dataclass(frozen=True)
class Exported:
    """A bundle on local disk."""

    folder: Path
    manifest: Manifest
    digest: str


def write(
    folder: Path,
    estimator: Any,
    manifest: Manifest,
    *,
    train: "pd.DataFrame",
    golden: "pd.DataFrame",
    expected: Outcome,
) -> Exported:
    """Write a sealed bundle into the empty `folder`.

    Args:
        folder: an existing, empty folder.
        estimator: fitted, over a frame of the schema's columns.
        manifest: what the model is; file digests are filled in.
        train: rows it was fitted on.
        golden: rows to replay wherever the bundle is loaded.
        expected: what the estimator says of those rows.

    Raises:
        BundleError: the estimator cannot be stored in a format that is safe to load.
        ConversionError: it does not become an ONNX graph, which the manifest asks for.
    """
    if manifest.runtime == "onnx":
        _write_graph(folder, estimator, manifest, train)
    else:
        from mlops_assets.serving.runtimes import sklearn as runtime

        runtime.save(estimator, folder / manifest.model_file)
    bundle.write_golden(
        folder,
        Golden(
            records=tuple(records(golden, manifest.schema)),
            predictions=tuple(labels(expected, manifest.classes)),
            probabilities=()
            if expected.probabilities is None
            else tuple(tuple(row) for row in expected.probabilities.tolist()),
        ),
    )
    sealed = bundle.seal(folder, manifest)
    return Exported(folder, sealed, bundle.digest(folder))


def labels(outcome: Outcome, classes: tuple[Any, ...]) -> list[Any]:
    """Predictions as the data writes them."""
    if not classes:
        return [float(value) for value in outcome.predicted]
    return [classes[int(code)] for code in outcome.predicted]


def _write_graph(folder: Path, estimator: Any, manifest: Manifest, train: "pd.DataFrame") -> None:
    from mlops_assets.modeling.conversion.convert import convert

    converted = convert(estimator, schema=manifest.schema, rows=train)
    (folder / manifest.model_file).write_bytes(converted.model)
    if converted.explained is not None:
        ensemble.save(converted.explained, folder)
