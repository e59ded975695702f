"""The live endpoint of each target, as an asset."""

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.deployment import releases
from mlops_assets.deployment.targets.base import Release, Target, TargetContext, TargetError
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.model_registry import CHAMPION, ModelRegistry, RegistryError
from mlops_assets.gateways.profile_store import PredictionStore, ProfileStore
from mlops_assets.gateways.records import Endpoint
from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.recording import Recording


class DeployConfig(dg.Config):
    """One-off knobs of a run."""

    version: int | None = None
    """The champion when the deployment was asked for. A newer champion supersedes it."""


def build(experiment: Experiment) -> dg.Definitions:
    return dg.Definitions(
        assets=[_endpoint(experiment, target) for target in experiment.deployment.targets]
    )


def _endpoint(experiment: Experiment, target: Target) -> dg.AssetsDefinition:
    kind = kind_of(type(target))

    @names.asset(
        experiment,
        "deployment",
        names.ENDPOINTS,
        kind,
        kinds={kind},
        description=f"The champion, live on the `{kind}` target. A new version takes over "
        "without a failed request; one that does not start leaves the old one serving.",
        code=target.fingerprint(),
        deps=[names.asset_key(experiment.name, names.REGISTERED_VERSION)],
        pool=f"deploy_{experiment.name}_{kind}",
    )
    def endpoint(
        context: dg.AssetExecutionContext,
        config: DeployConfig,
        data_store: dg.ResourceParam[DataStore],
        model_registry: dg.ResourceParam[ModelRegistry],
        target_context: dg.ResourceParam[TargetContext],
    ) -> dg.MaterializeResult[Endpoint]:
        version = model_registry.aliases(experiment.model_name).get(CHAMPION)
        if version is None:
            raise dg.Failure(
                f"{experiment.name}: no version has the alias {CHAMPION}; promote one in MLflow",
                allow_retries=False,
            )
        if config.version not in (None, version):
            context.log.warning(
                f"version {config.version} was superseded by {version}, which is deployed instead"
            )
        try:
            with TemporaryDirectory() as folder:
                found = releases.fetch(model_registry, experiment.model_name, version, Path(folder))
                release = Release(
                    experiment.name,
                    version,
                    found.folder,
                    found.digest,
                    _recording(experiment, data_store, version, kind),
                )
                live = target.apply(target.render(release, target_context), target_context)
        except (TargetError, RegistryError, BundleError) as error:
            raise dg.Failure(f"{experiment.name} on {kind}: {error}") from error
        context.log.info(f"version {live.version} answers at {live.url}")
        return dg.MaterializeResult(
            value=live,
            metadata={
                **{k: v for k, v in asdict(live).items() if v is not None and k != "url"},
                "url": dg.MetadataValue.url(live.url),
                "registry": dg.MetadataValue.url(
                    model_registry.version_url(experiment.model_name, version)
                ),
            },
            tags={names.VERSION_TAG: str(version)},
        )

    return endpoint


def _recording(experiment: Experiment, store: DataStore, version: int, kind: str) -> Recording:
    """What the endpoint keeps of its traffic, as the YAML's section on monitoring asks."""
    return experiment.monitoring.recording(
        profiles_url=ProfileStore(store).url_for(experiment.name, version, kind),
        log_url=PredictionStore(store).url_for(experiment.name, version, kind),
    )
