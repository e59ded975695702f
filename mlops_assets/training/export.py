"""Writes the serving bundle of a fitted model, and proves that it predicts what the model does."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.gateways.records import Json
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.modeling.scoring import opened, records
from mlops_assets.serving import bundle
from mlops_assets.serving.bundle import Golden, Manifest

if TYPE_CHECKING:
    import pandas as pd

MODEL_FILE = "model.skops"


@dataclass(frozen=True)
class Exported:
    """A bundle on local disk."""

    folder: Path
    manifest: Manifest
    digest: str


def write(
    folder: Path, estimator: Any, manifest: Manifest, *, golden: "pd.DataFrame", expected: Outcome
) -> Exported:
    """Write a sealed bundle into the empty `folder`.

    Args:
        folder: an existing, empty folder.
        estimator: fitted, over a frame of the schema's columns.
        manifest: what the model is; file digests are filled in.
        golden: rows to replay wherever the bundle is loaded.
        expected: what the estimator says of those rows.

    Raises:
        BundleError: the estimator cannot be stored in a format that is safe to load.
    """
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


def parity(folder: Path, rows: "pd.DataFrame", expected: Outcome) -> Json:
    """Load the bundle as an endpoint does, score the rows, and compare.

    Returns:
        `rows`, `max_difference` (of probabilities, or of values relative to the largest), and
        `label_flips`.
    """
    import numpy as np

    answered = opened(folder).outcome(rows)
    if expected.probabilities is None or answered.probabilities is None:
        scale = max(1.0, float(np.abs(expected.predicted).max()))
        difference = np.abs(answered.predicted - expected.predicted).max() / scale
        flips = 0
    else:
        difference = np.abs(answered.probabilities - expected.probabilities).max()
        flips = int((answered.predicted != expected.predicted).sum())
    return {"rows": len(rows), "max_difference": float(difference), "label_flips": flips}
