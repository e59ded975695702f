"""Tables scored by the champion, as assets."""

import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.deployment import releases
from mlops_assets.deployment.batch import scoring
from mlops_assets.deployment.batch.profiles import Profiles
from mlops_assets.deployment.batch.scoring import BatchError
from mlops_assets.deployment.batch.spec import BatchSpec
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways import champions
from mlops_assets.gateways.data_store import DataStore, DataStoreError
from mlops_assets.gateways.model_registry import CHAMPION, ModelRegistry, RegistryError
from mlops_assets.gateways.profile_store import ProfileStore
from mlops_assets.gateways.records import ScoredTables
from mlops_assets.gateways.table_files import TableFiles
from mlops_assets.serving.bundle import BundleError


def build(experiment: Experiment) -> dg.Definitions:
    return dg.Definitions(
        assets=[_scored(experiment, spec) for spec in experiment.deployment.batch]
    )


def _scored(experiment: Experiment, spec: BatchSpec) -> dg.AssetsDefinition:
    @names.asset(
        experiment,
        "deployment",
        names.BATCH,
        spec.name,
        kinds={"parquet"},
        description=f"`{spec.input}` scored by the champion, file by file, into `{spec.output}`: "
        "the predictions that an endpoint would give. Files that were scored by the same version "
        "are left as they are, so that a run that was ended goes on where it was.",
        code=spec.fingerprint(),
        deps=[names.asset_key(experiment.name, names.REGISTERED_VERSION)],
        pool=f"score_{experiment.name}_{spec.name}",
    )
    def scored(
        context: dg.AssetExecutionContext,
        data_store: dg.ResourceParam[DataStore],
        model_registry: dg.ResourceParam[ModelRegistry],
    ) -> dg.MaterializeResult[ScoredTables]:
        version = champions.current(
            model_registry, experiment.model_name, by_hand=experiment.promotion.by_hand
        )
        if version is None:
            raise dg.Failure(
                f"{experiment.name}: no version has the alias {CHAMPION}; mlops promote gives it "
                "to one",
                allow_retries=False,
            )
        source, target = (
            TableFiles(_located(url, experiment), data_store.storage_options)
            for url in (spec.input, spec.output)
        )
        began = time.monotonic()
        try:
            with TemporaryDirectory() as folder:
                found = releases.fetch(model_registry, experiment.model_name, version, Path(folder))
                outcome = scoring.score(
                    found.folder,
                    version=version,
                    spec=spec,
                    source=source,
                    target=target,
                    profiles=Profiles(
                        ProfileStore(data_store),
                        experiment.name,
                        spec.name,
                        version,
                        experiment.monitoring.window_seconds,
                        lambda: datetime.now(UTC),
                    ),
                    tell=context.log.info,
                )
        except (RegistryError, BundleError, DataStoreError, BatchError) as error:
            raise dg.Failure(f"{experiment.name}, batch {spec.name}: {error}") from error
        seconds = time.monotonic() - began
        fresh = sum(one.rows for one in outcome.scored)
        return dg.MaterializeResult(
            value=ScoredTables(target.url, version, outcome.rows, outcome.invalid),
            metadata={
                "dagster/row_count": outcome.rows,
                "version": version,
                "files_scored": len(outcome.scored),
                "files_left_as_they_are": len(outcome.skipped),
                "rows_scored": fresh,
                "rows_per_second": round(fresh / seconds) if fresh else 0,
                "invalid_rows": outcome.invalid,
                "predictions": dg.MetadataValue.path(target.url),
            },
            tags={names.VERSION_TAG: str(version)},
        )

    return scored


def _located(url: str, experiment: Experiment) -> str:
    return url if "://" in url else str((experiment.path.parent / url).absolute())
