"""The reference profile of a version, and what its endpoints profiled since."""

import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.gateways.profile_store import (
    importances_path,
    inputs_path,
    reference_path,
)
from mlops_assets.gateways.records import (
    Endpoint,
    ModelVersion,
    ProfiledWindow,
    ReferenceProfile,
    ServingProfile,
    TrainingSet,
)
from mlops_assets.gateways.registered import IMPORTANCES
from mlops_assets.modeling.scoring import opened
from mlops_assets.monitoring.counting import counted
from mlops_assets.monitoring.performance import expected_errors
from mlops_assets.monitoring.windows import lately
from mlops_assets.serving.bundle import REFERENCE_PROFILE, BundleError, Manifest, verify


def build(experiment: Experiment) -> dg.Definitions:
    return dg.Definitions(assets=[_reference_profile(experiment), _serving_profile(experiment)])


def _reference_profile(experiment: Experiment) -> dg.AssetsDefinition:
    @names.asset(
        experiment,
        "monitoring",
        names.REFERENCE_PROFILE,
        kinds={"whylogs"},
        description="What the version saw at training time, and what it says of held-out "
        "rows: the distributions that traffic is compared with. Comes with the version's bundle.",
        code=experiment.features.fingerprint(),
        ins={
            "training_set": dg.AssetIn(names.asset_key(experiment.name, names.TRAINING_SET)),
            "version": dg.AssetIn(names.asset_key(experiment.name, names.REGISTERED_VERSION)),
        },
    )
    def reference_profile(
        training_set: TrainingSet,
        version: ModelVersion,
        data_store: dg.ResourceParam[DataStore],
        model_registry: dg.ResourceParam[ModelRegistry],
    ) -> dg.MaterializeResult[ReferenceProfile]:
        with TemporaryDirectory() as folder:
            place = model_registry.download(version.bundle_uri, Path(folder))
            file = place / REFERENCE_PROFILE
            if not file.exists():
                raise dg.Failure(
                    f"{experiment.name}: version {version.version} holds no reference profile; "
                    "it was trained by an older program, train again",
                    allow_retries=False,
                )
            content = file.read_bytes()
            manifest = _manifest(place, experiment)
            if experiment.task == "regression" and experiment.monitoring.prediction_log is not None:
                _keep_errors(data_store, experiment, training_set, version, place)
        # A version that was evaluated before importances were kept has none.
        importances = model_registry.read_text(version.run_id, IMPORTANCES) or "{}"
        url = data_store.write_bytes(reference_path(experiment.name, version.version), content)
        data_store.write_json(
            importances_path(experiment.name, version.version), json.loads(importances)
        )
        data_store.write_json(
            inputs_path(experiment.name, version.version),
            {"schema": manifest.schema.to_json(), "entity": manifest.entity},
        )
        model_registry.tag_version(version.name, version.version, {"mlops.reference_profile": url})
        rows = training_set.train_rows + training_set.test_rows
        record = ReferenceProfile(url=url, rows=rows, version=version.version)
        return dg.MaterializeResult(
            value=record,
            metadata={
                "version": version.version,
                "rows": record.rows,
                "profile": dg.MetadataValue.path(url),
                "size_kb": round(len(content) / 1000),
            },
        )

    return reference_profile


def _keep_errors(
    store: DataStore,
    experiment: Experiment,
    training_set: TrainingSet,
    version: ModelVersion,
    folder: Path,
) -> None:
    rows = store.read_table(training_set.url)
    try:
        expected_errors.keep(
            store, experiment.name, version.version, opened=opened(folder), rows=rows
        )
    except BundleError as error:
        raise dg.Failure(f"{experiment.name}: {error}", allow_retries=False) from error


def _manifest(folder: Path, experiment: Experiment) -> Manifest:
    try:
        return verify(folder)
    except BundleError as error:
        raise dg.Failure(f"{experiment.name}: {error}", allow_retries=False) from error


def _serving_profile(experiment: Experiment) -> dg.AssetsDefinition:
    spec = experiment.monitoring
    kinds = [kind_of(type(target)) for target in experiment.deployment.targets]

    @names.asset(
        experiment,
        "monitoring",
        names.SERVING_PROFILE,
        kinds={"whylogs"},
        description=f"What the endpoints saw and said in the last {spec.lookback} "
        f"{spec.window} windows with traffic, each merged over targets, replicas and batches. "
        "Where a target left no profile, its logged rows are counted.",
        code=spec.fingerprint(),
        ins={
            kind: dg.AssetIn(
                names.endpoint_key(experiment.name, kind),
                dagster_type=Endpoint,
            )
            for kind in kinds
        },
        deps=[
            names.asset_key(experiment.name, names.BATCH, one.name)
            for one in experiment.deployment.batch
        ],
        freshness_policy=names.every_window(experiment),
    )
    def serving_profile(
        context: dg.AssetExecutionContext, data_store: dg.ResourceParam[DataStore], **endpoints: Any
    ) -> dg.MaterializeResult[ServingProfile]:
        record = lately(data_store, experiment, list(endpoints.values()), now=datetime.now(UTC))
        for url in record.unreadable:
            context.log.warning(f"{url} is not what its name says and was left out")
        if record.ahead:
            context.log.warning(
                f"{counted(len(record.ahead), 'file')} came before their windows began, the last "
                f"one {record.ahead[-1]}: see to the clocks"
            )
        return dg.MaterializeResult(
            value=record,
            metadata={
                "version": record.version,
                "rows": record.rows,
                "windows": len(record.windows),
                "newest_window": record.last or "none",
                "unreadable_files": len(record.unreadable),
                "files_ahead_of_time": len(record.ahead),
                "files_long_after_their_time": record.behind,
                "rows_counted_from_the_log": sum(each.from_log for each in record.windows),
                "least_share_in_that_log": _least([w for w in record.windows if w.from_log]),
                "rows_by_window": dg.MetadataValue.table(
                    [
                        dg.TableRecord(
                            {"window": w.start, "rows": w.rows, "from the log": w.from_log}
                        )
                        for w in record.windows
                    ]
                )
                if record.windows
                else "none",
            },
        )

    return serving_profile


def _least(windows: list[ProfiledWindow]) -> str:
    """Share of the requests in the log that holds least."""
    shares = [window.log_sample for window in windows]
    if None in shares:
        return "unknown: a log does not tell"
    return f"{min(filter(None, shares)):g}" if shares else "none"
