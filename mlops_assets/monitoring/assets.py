"""The reference profile of a version, and what its endpoints profiled since."""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.gateways.profile_store import ProfileStore
from mlops_assets.gateways.records import (
    Endpoint,
    ModelVersion,
    ReferenceProfile,
    ServingProfile,
    TrainingSet,
)
from mlops_assets.monitoring import profiles
from mlops_assets.serving.bundle import REFERENCE_PROFILE


def build(experiment: Experiment) -> dg.Definitions:
    return dg.Definitions(assets=[_reference_profile(experiment), _serving_profile(experiment)])


def reference_path(experiment: str, version: int) -> str:
    """Where the reference profile of a version stands on the data store."""
    return f"{experiment}/reference_profiles/{version}.bin"


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
            file = model_registry.download(version.bundle_uri, Path(folder)) / REFERENCE_PROFILE
            if not file.exists():
                raise dg.Failure(
                    f"{experiment.name}: version {version.version} holds no reference profile; "
                    "it was trained by an older program, train again",
                    allow_retries=False,
                )
            content = file.read_bytes()
        url = data_store.write_bytes(reference_path(experiment.name, version.version), content)
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


def _serving_profile(experiment: Experiment) -> dg.AssetsDefinition:
    spec = experiment.monitoring
    kinds = [kind_of(type(target)) for target in experiment.deployment.targets]
    allowed = timedelta(seconds=spec.window_seconds * (spec.max_age_windows + 1))

    @names.asset(
        experiment,
        "monitoring",
        names.SERVING_PROFILE,
        kinds={"whylogs"},
        description=f"What the endpoints saw and said in the last {spec.lookback} "
        f"{spec.window} windows with traffic, merged over targets and replicas.",
        code=spec.fingerprint(),
        ins={
            kind: dg.AssetIn(
                names.endpoint_key(experiment.name, kind),
                dagster_type=Endpoint,
            )
            for kind in kinds
        },
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=allowed),
    )
    def serving_profile(
        context: dg.AssetExecutionContext, data_store: dg.ResourceParam[DataStore], **endpoints: Any
    ) -> dg.MaterializeResult[ServingProfile]:
        live: list[Endpoint] = list(endpoints.values())
        version = max(endpoint.version for endpoint in live)
        current = [endpoint for endpoint in live if endpoint.version == version]
        increments = ProfileStore(data_store).increments(
            experiment.name, version, [e.target for e in current], windows=spec.lookback
        )
        merged, rows, unreadable = _merge(data_store, [i.url for i in increments])
        for url in unreadable:
            context.log.warning(f"{url} is no profile and was left out")
        windows = [increment.window.isoformat() for increment in increments]
        path = f"{experiment.name}/serving_profiles/{version}/{context.run.run_id}.bin"
        profile = None if merged is None else data_store.write_bytes(path, merged)
        record = ServingProfile(
            url=profile,
            rows=rows,
            version=version,
            first=windows[0] if windows else None,
            last=windows[-1] if windows else None,
            live_since=max(endpoint.since for endpoint in current),
            unreadable=tuple(unreadable),
        )
        return dg.MaterializeResult(
            value=record,
            metadata={
                "version": version,
                "rows": rows,
                "files": len(increments),
                "windows": len(set(windows)),
                "newest_window": record.last or "none",
                "unreadable_files": len(unreadable),
            },
        )

    return serving_profile


def _merge(store: DataStore, urls: list[str]) -> tuple[bytes | None, int, list[str]]:
    """The merged profile, its rows, and the files that are none."""
    found, unreadable = [], []
    for url in urls:
        try:
            found.append(profiles.deserialize(store.read_bytes(url)))
        except ValueError:
            unreadable.append(url)
    if not found:
        return None, 0, unreadable
    merged = profiles.merge(found)
    return profiles.serialize(merged), profiles.rows(merged), unreadable
