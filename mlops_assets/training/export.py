"""Writes the serving bundle of a fitted model."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.records import TrainingSet
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.modeling.scoring import columns, records
from mlops_assets.serving import bundle, ensemble
from mlops_assets.serving.bundle import Golden, Manifest
from mlops_assets.serving.profile import Profile
from mlops_assets.serving.schema import InputSchema
from mlops_assets.serving.scorer import Scores
from mlops_assets.training.evaluation import golden_rows
from mlops_assets.training.fitting import Fitted

if TYPE_CHECKING:
    import pandas as pd

MODEL_FILES = {"onnx": "model.onnx", "sklearn": "model.skops"}
"""By runtime."""
CHUNK = 50_000
"""Rows handed to the sketches at once."""


@dataclass(frozen=True)
class Exported:
    """A bundle on local disk."""

    folder: Path
    manifest: Manifest
    digest: str


def manifest(
    experiment: Experiment,
    training_set: TrainingSet,
    fitted: Fitted,
    *,
    schema: InputSchema,
    run_id: str,
    code: str,
) -> Manifest:
    """What a bundle says of its model, which reads the columns of `schema`, before it is sealed."""
    return Manifest(
        model=experiment.model_name,
        run_id=run_id,
        task=experiment.task,
        runtime=experiment.training.runtime,
        model_file=MODEL_FILES[experiment.training.runtime],
        schema=schema,
        classes=training_set.classes,
        threshold=fitted.threshold,
        entity=experiment.features.entity,
        data_digest=training_set.digest,
        code_version=code,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        files={},
    )


def write(
    folder: Path,
    estimator: Any,
    manifest: Manifest,
    *,
    train: "pd.DataFrame",
    test: "pd.DataFrame",
    answered: Callable[["pd.DataFrame"], Outcome],
) -> Exported:
    """Write a sealed bundle into the empty `folder`.

    Args:
        folder: an existing, empty folder.
        estimator: fitted, over a frame of the schema's columns.
        manifest: what the model is; file digests are filled in.
        train: rows it was fitted on.
        test: rows held out; some become the golden requests.
        answered: what the estimator says of rows.

    Raises:
        BundleError: the estimator cannot be stored in a format that is safe to load.
        ConversionError: it does not become an ONNX graph, which the manifest asks for.
    """
    if manifest.runtime == "onnx":
        _write_graph(folder, estimator, manifest, train)
    else:
        from mlops_assets.serving.runtimes import sklearn as runtime

        runtime.save(estimator, folder / manifest.model_file)
    _write_golden(folder, manifest, golden_rows(test, manifest.schema), answered)
    _write_profile(folder, manifest, train, test, answered(test))
    sealed = bundle.seal(folder, manifest)
    return Exported(folder, sealed, bundle.digest(folder))


def labels(outcome: Outcome, classes: tuple[Any, ...]) -> list[Any]:
    """Predictions as the data writes them."""
    if not classes:
        return [float(value) for value in outcome.predicted]
    return [classes[int(code)] for code in outcome.predicted]


def _write_golden(
    folder: Path,
    manifest: Manifest,
    rows: "pd.DataFrame",
    answered: Callable[["pd.DataFrame"], Outcome],
) -> None:
    scores = _scores(answered(rows), manifest)
    bundle.write_golden(
        folder,
        Golden(
            records=tuple(records(rows, manifest.schema)),
            predictions=tuple(scores.predictions),
            probabilities=tuple(tuple(row) for row in scores.probabilities),
        ),
    )


def _write_profile(
    folder: Path,
    manifest: Manifest,
    train: "pd.DataFrame",
    test: "pd.DataFrame",
    expected: Outcome,
) -> None:
    """The distributions that traffic is compared with: features of all rows, outputs of those the
    model was not fitted on."""
    profile = Profile(manifest.schema, when=datetime.fromisoformat(manifest.created_at))
    for start in range(0, len(train), CHUNK):
        profile.track(columns(train.iloc[start : start + CHUNK], manifest.schema), None)
    for start in range(0, len(test), CHUNK):
        some = slice(start, start + CHUNK)
        scores = _scores(expected.take(some), manifest)
        profile.track(columns(test.iloc[some], manifest.schema), scores)
    (folder / bundle.REFERENCE_PROFILE).write_bytes(profile.serialize())


def _scores(outcome: Outcome, manifest: Manifest) -> Scores:
    probabilities = outcome.probabilities
    return Scores(
        labels(outcome, manifest.classes),
        [] if probabilities is None else probabilities.tolist(),
    )


def _write_graph(folder: Path, estimator: Any, manifest: Manifest, train: "pd.DataFrame") -> None:
    from mlops_assets.modeling.conversion.convert import convert

    converted = convert(estimator, schema=manifest.schema, rows=train)
    (folder / manifest.model_file).write_bytes(converted.model)
    if converted.explained is not None:
        ensemble.save(converted.explained, folder)
