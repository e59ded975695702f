"""What MLflow holds of how a version was made, and the same made anew, from data to bundle.
Writes to a scratch folder alone."""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from mlops_assets.experiment.model import Experiment
    from mlops_assets.gateways.data_store import DataStore
    from mlops_assets.gateways.model_registry import ModelRegistry
    from mlops_assets.gateways.records import TrainingSet

Tell = Callable[[str, str], None]
"""Told what is being done: a short label, and a sentence."""


class ReproductionError(Exception):
    """The version cannot be built anew; the message says what is missing or changed."""


@dataclass(frozen=True)
class Recorded:
    """What MLflow holds of how a version was made."""

    version: int
    tags: Mapping[str, str]
    experiment: "Experiment"
    """As the YAML was that was logged with the run."""
    estimator: str
    parameters: dict[str, Any]
    environment: str


def read(
    registry: "ModelRegistry", experiment: "Experiment", version: int, folder: Path
) -> Recorded:
    """What MLflow holds of how a version was made.

    Raises:
        RegistryError: there is no such version, or MLflow does not answer.
        ReproductionError: it was not made by an experiment, or its run is gone.
    """
    from mlops_assets.experiment import loader
    from mlops_assets.gateways import versions

    found = registry.version(experiment.model_name, version)
    wanted = ("mlops.bundle_uri", "mlops.data_digest", "mlops.snapshot_digest")
    if missing := [tag for tag in wanted if tag not in found.tags]:
        raise ReproductionError(
            f"version {version} of {experiment.model_name} lacks the tags {', '.join(missing)}: it "
            "was not registered by an experiment of ours"
        )
    if found.adopted:
        raise ReproductionError(
            f"version {version} of {experiment.model_name} was registered by somebody else: what "
            "it was made from is not written down here"
        )
    run = versions.run_record(registry, found.run_id)
    if run is None:
        raise ReproductionError(
            f"run {found.run_id} of version {version} is gone from MLflow, and with it the YAML "
            "and the parameters"
        )
    (folder / "run").mkdir()
    file = registry.download(f"runs:/{found.run_id}/experiment.yaml", folder / "run")
    try:
        then = loader.load_text(file.read_text("utf-8"), experiment.path)
    except loader.ExperimentError as error:
        raise ReproductionError(
            f"the YAML of version {version} does not fit this program any more:\n{error}"
        ) from error
    parameters = {k: v for k, v in run.parameters.items() if k != "estimator"}
    return Recorded(
        version=version,
        tags=found.tags,
        experiment=then,
        estimator=run.parameters.get("estimator", then.training.estimator),
        parameters={name: typed(then, name, text) for name, text in parameters.items()},
        environment=run.tags.get("mlops.environment", ""),
    )


def typed(experiment: "Experiment", name: str, text: str) -> Any:
    """A parameter that MLflow holds as text, as the YAML writes its like; else as Python does."""
    given = experiment.training.parameters
    fixed = [given[name]] if name in given else []
    searched = experiment.tuning.search_space.get(name)
    for value in (*fixed, *getattr(searched, "choices", ())):
        if str(value) == text:
            return value
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def snapshot(
    settings: Settings, recorded: Recorded, store: "DataStore", scratch: "DataStore", tell: Tell
) -> tuple["pd.DataFrame", str]:
    """The rows as the source held them then, and where they were found."""
    from dataclasses import replace

    from mlops_assets import resources
    from mlops_assets.features.assets import storable
    from mlops_assets.gateways.data_store import frame_digest

    experiment, wanted = recorded.experiment, recorded.tags["mlops.snapshot_digest"]
    path = f"{experiment.name}/snapshots/{wanted[:16]}.parquet"
    if store.exists(path):
        tell("data", f"reading the snapshot {wanted[:12]}")
        return store.read_table(store.at(path)), f"the snapshot {wanted[:12]}"
    tell("data", f"the snapshot {wanted[:12]} is gone: reading the source again")
    here = replace(resources.source_context(settings), directory=experiment.path.parent)
    source = experiment.features.source
    frame = storable(source.read(here))
    if (found := frame_digest(frame)) != wanted:
        raise ReproductionError(
            f"the snapshot {path} is gone, and the source holds other data now: "
            f"{source.location(here)} has digest {found[:12]}, recorded is {wanted[:12]}"
        )
    url = scratch.write_table("snapshot.parquet", frame)
    return scratch.read_table(url), "the source, read again: its digest is the recorded one"


def training_set(
    recorded: Recorded,
    raw: "pd.DataFrame",
    store: "DataStore",
    scratch: "DataStore",
    tell: Tell,
) -> "TrainingSet":
    """The training set built anew, which is the recorded one."""
    from mlops_assets.features import inference
    from mlops_assets.features.assets import schema_path
    from mlops_assets.features.table import FeatureError, TableSchema
    from mlops_assets.gateways.data_store import frame_digest

    experiment, wanted = recorded.experiment, recorded.tags["mlops.data_digest"]
    tell("features", "typing, cleaning and splitting the rows by the recorded YAML")
    schemas = []
    if store.exists(path := schema_path(experiment)):
        schemas.append(TableSchema.from_json(store.read_json(store.at(path))))
    try:
        schemas.append(inference.infer(raw, experiment.features, experiment.task))
    except FeatureError as error:
        if not schemas:
            raise ReproductionError(f"the snapshot does not fit the YAML: {error}") from error
    # One was written down before the version, or anew since: the digest tells which was meant.
    for schema in schemas:
        built = _divided(experiment, raw, schema, scratch)
        if built.digest == wanted:
            return built
    snapshot = recorded.tags["mlops.snapshot_digest"]
    if (found := frame_digest(raw)) != snapshot:
        raise ReproductionError(
            f"the data was changed: the snapshot has digest {found[:12]}, recorded is "
            f"{snapshot[:12]}"
        )
    raise ReproductionError(
        f"the snapshot is the recorded one, but features and split come out otherwise: the "
        f"training set has digest {built.digest[:12]}, recorded is {wanted[:12]}. "
        f"It was made by {recorded.environment or 'an unknown environment'}, with the code "
        f"{recorded.tags.get('mlops.code_version', 'of an unknown commit')}"
    )


def _divided(
    experiment: "Experiment", raw: "pd.DataFrame", schema: Any, scratch: "DataStore"
) -> "TrainingSet":
    """By way of Parquet files, as the assets of the experiment hand rows on."""
    from mlops_assets.features import cleaning, splits
    from mlops_assets.features.assets import labelled
    from mlops_assets.gateways.data_store import frame_digest
    from mlops_assets.gateways.records import Snapshot, TrainingSet
    from mlops_assets.modeling.folds import SPLIT, TRAIN

    keep = experiment.training.slices
    clean = cleaning.conform(raw, schema, experiment.features, keep=keep).frame
    features = scratch.write_table(f"features/{frame_digest(clean)}.parquet", clean)
    frame = labelled(scratch.read_table(features), schema)
    try:
        divided = splits.split(
            frame, experiment.features, experiment.task, schema.inputs.names, keep=keep
        )
    except splits.SplitError as error:
        raise ReproductionError(f"the rows cannot be split as they were: {error}") from error
    digest = frame_digest(divided.frame)
    train = int((divided.frame[SPLIT] == TRAIN).sum())
    return TrainingSet(
        url=scratch.write_table(f"training_sets/{digest}.parquet", divided.frame),
        digest=digest,
        train_rows=train,
        test_rows=len(divided.frame) - train,
        schema=tuple(schema.inputs.to_json()),
        classes=schema.classes,
        ordered=divided.ordered,
        split=divided.words,
        leaks=(),
        snapshot=Snapshot("", "", len(raw), tuple(raw.columns), "", ""),
    )


def bundle(
    recorded: Recorded, made: "TrainingSet", scratch: "DataStore", folder: Path, tell: Tell
) -> None:
    """Fit the model with the recorded parameters and seed, and export it into the empty `folder`.

    Raises:
        ReproductionError: it cannot be fitted or exported.
    """
    from mlops_assets.modeling.folds import SPLIT, TEST, TRAIN
    from mlops_assets.modeling.pipeline import EstimatorError
    from mlops_assets.serving.bundle import BundleError
    from mlops_assets.serving.schema import InputSchema
    from mlops_assets.training import export, fitting

    experiment, schema = recorded.experiment, InputSchema.from_json(list(made.schema))
    tell("model", f"fitting {recorded.estimator} with the recorded parameters")
    rows = scratch.read_table(made.url)
    train, test = rows[rows[SPLIT] == TRAIN], rows[rows[SPLIT] == TEST]
    try:
        fitted = fitting.fit(
            train,
            spec=experiment.training.model_copy(update={"estimator": recorded.estimator}),
            task=experiment.task,
            schema=schema,
            parameters=recorded.parameters,
            ordered=made.ordered,
            seed=experiment.tuning.seed,
        )
        tell("bundle", "exporting it")
        export.write(
            folder,
            fitted.estimator,
            export.manifest(
                experiment, made, fitted, schema=schema, run_id="reproduced", code="reproduced"
            ),
            train=train,
            test=test,
            answered=partial(fitted.outcome, task=experiment.task, schema=schema),
        )
    except (fitting.FittingError, EstimatorError, BundleError) as error:
        raise ReproductionError(f"the model cannot be built anew: {error}") from error
