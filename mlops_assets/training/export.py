"""Writes the serving bundle of a fitted model."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.records import TrainingSet
from mlops_assets.modeling import profiling
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.modeling.scoring import records
from mlops_assets.serving import bundle, ensemble
from mlops_assets.serving.bundle import Golden, Manifest
from mlops_assets.serving.contents import Contents
from mlops_assets.serving.contents import answered as outputs
from mlops_assets.serving.schema import InputSchema
from mlops_assets.serving.scorer import Scores
from mlops_assets.training.evaluation import golden_rows
from mlops_assets.training.fitting import Fitted

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
    begun = profiling.Begun(datetime.fromisoformat(manifest.created_at), {})
    profile, refused = profiling.profiled(
        _parts(train, test, expected),
        partial(_contents, manifest=manifest),
        begun,
        workers=profiling.processes(len(train) + len(test)),
    )
    for reason in refused.values():
        raise ValueError(f"rows of the training set cannot be profiled: {reason}")
    (folder / bundle.REFERENCE_PROFILE).write_bytes(profile.serialize())


def _parts(
    train: "pd.DataFrame", test: "pd.DataFrame", expected: Outcome
) -> Iterator[tuple["pd.DataFrame", Outcome | None]]:
    yield from ((some, None) for some in profiling.chunks_of(train))
    done = 0
    for some in profiling.chunks_of(test):
        yield some, expected.take(slice(done, done + len(some)))
        done += len(some)


def _contents(
    part: tuple["pd.DataFrame", Outcome | None], *, manifest: Manifest
) -> Iterator[Contents]:
    rows, outcome = part
    found = profiling.of_frame(rows, manifest.schema)
    said = {} if outcome is None else outputs(_scores(outcome, manifest), None)
    yield Contents(found.rows, found.columns | said)


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
