"""The live endpoint of each target, as an asset."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.deployment import history, preflight, releases, reports, rollout, shadow, truth
from mlops_assets.deployment.breach import metadata_of
from mlops_assets.deployment.journal import Journal
from mlops_assets.deployment.recall import Recall, rollback_in
from mlops_assets.deployment.rollout import Outcome
from mlops_assets.deployment.shadow import ShadowError
from mlops_assets.deployment.targets.base import Release, Target, TargetContext, TargetError
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.gateways import champions
from mlops_assets.gateways.data_store import DataStore, DataStoreError
from mlops_assets.gateways.model_registry import CHAMPION, ModelRegistry, RegistryError
from mlops_assets.gateways.profile_store import PredictionStore, ProfileStore
from mlops_assets.gateways.records import Endpoint
from mlops_assets.gateways.registered import Origin
from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.recording import Recording

REFUSALS = (TargetError, RegistryError, BundleError, DataStoreError, ShadowError)
Events = Iterator[dg.AssetCheckResult | dg.MaterializeResult[Endpoint]]


class DeployConfig(dg.Config):
    """One-off knobs of a run."""

    version: int | None = None
    """The champion when the deployment was asked for. A newer champion supersedes it."""
    reason: str = ""
    """Why it was asked for, as the history tells it later."""


def build(experiment: Experiment) -> dg.Definitions:
    return dg.Definitions(
        assets=[_endpoint(experiment, target) for target in experiment.deployment.targets]
    )


def _endpoint(experiment: Experiment, target: Target) -> dg.AssetsDefinition:
    kind, spec = kind_of(type(target)), experiment.deployment
    key = names.endpoint_key(experiment.name, kind)

    @names.asset(
        experiment,
        "deployment",
        names.ENDPOINTS,
        kind,
        kinds={kind},
        description=f"The champion, live on the `{kind}` target. A new version is tried on the "
        "real server first, comes up beside the old one and takes over its traffic without a "
        "failed request; one that is not fit leaves the old one serving. One that returns by a "
        "rollback is asked for right answers alone.",
        code=target.fingerprint(),
        deps=[names.asset_key(experiment.name, names.REGISTERED_VERSION)],
        pool=f"deploy_{experiment.name}_{kind}",
        freshness_policy=dg.FreshnessPolicy.time_window(
            fail_window=timedelta(days=experiment.monitoring.max_endpoint_age_days)
        ),
        dagster_type=Endpoint,
        check_specs=[
            dg.AssetCheckSpec(
                names.PASSED_PREFLIGHT,
                asset=key,
                blocking=True,
                description="Before it was deployed, the version answered its golden requests as "
                "in training on the real server, within the latency and memory that the YAML "
                "allows, and agreed with the live version where that is asked.",
            )
        ],
    )
    def endpoint(
        context: dg.AssetExecutionContext,
        config: DeployConfig,
        data_store: dg.ResourceParam[DataStore],
        model_registry: dg.ResourceParam[ModelRegistry],
        target_context: dg.ResourceParam[TargetContext],
    ) -> Events:
        journal = Journal(data_store, experiment.name, kind)
        version = champions.current(
            model_registry, experiment.model_name, by_hand=experiment.promotion.by_hand
        )
        if version is None:
            raise dg.Failure(
                f"{experiment.name}: no version has the alias {CHAMPION}; mlops promote gives it "
                "to one",
                allow_retries=False,
            )
        if config.version not in (None, version):
            context.log.warning(
                f"version {config.version} was superseded by {version}, which is deployed instead"
            )
        with TemporaryDirectory() as folder:
            try:
                found = releases.fetch(model_registry, experiment.model_name, version, Path(folder))
                tags = model_registry.version(experiment.model_name, version).tags
                before = target.observe(experiment.name, target_context)
                back = rollback_in(tags)
                returns = back is not None and before is not None and before.version != version
                if back is not None and returns:
                    context.log.info(
                        f"version {version} returns ({back.by}): its answers are proven, and "
                        "then it gets all of the traffic at once"
                    )
                flown = preflight.fly(
                    found.folder,
                    experiment=experiment.name,
                    version=version,
                    spec=spec.preflight.reported_only() if returns else spec.preflight,
                    context=target_context,
                )
                shadowed = (
                    None
                    if returns
                    else _shadowed(experiment, before, found, data_store, target_context)
                )
            except REFUSALS as error:
                raise dg.Failure(f"{experiment.name} on {kind}: {error}") from error
            seen = reports.preflight_of(flown, shadowed)
            flips = {"flips": dg.MetadataValue.md(seen.flips)} if seen.flips else {}
            yield dg.AssetCheckResult(
                passed=seen.passed,
                check_name=names.PASSED_PREFLIGHT,
                asset_key=key,
                description=f"version {version}: {seen.reason}",
                metadata={
                    "version": version,
                    **seen.numbers,
                    **flips,
                    **metadata_of(seen.breach),
                },
            )
            if not seen.passed:
                raise dg.Failure(
                    f"{experiment.name} on {kind}: version {version} is not deployed: "
                    f"{seen.reason}. {truth.serving_words(before)}",
                    allow_retries=False,
                )
            try:
                release = Release(
                    experiment.name,
                    version,
                    found.digest,
                    releases.archive(data_store, found) if target.needs_archive else "",
                    _recording(experiment, data_store, version, kind),
                )
                outcome = rollout.roll_out(
                    target,
                    release,
                    found.folder,
                    spec=spec.rollout,
                    journal=journal,
                    context=target_context,
                    run=context.run.run_id,
                    tell=context.log.info,
                    returns=returns,
                    withdrawn=Recall(experiment, model_registry, version, context.log.warning),
                )
            except REFUSALS as error:
                raise dg.Failure(f"{experiment.name} on {kind}: {error}") from error
        asked = config.reason or names.reason_of(context.run.tags)
        earlier = _reported(context, key)
        told = history.told(kind, earlier)
        # Also where the run before brought it back and could not say so.
        if back is not None and told and told[-1].version != version:
            asked = back.reason
        said = {
            **_metadata(outcome),
            "reason": asked,
            "decided": tags.get("mlops.decided_by") or "the gates",
            **Origin.of(tags).known(),
        }
        yield dg.MaterializeResult(
            value=outcome.endpoint,
            metadata={
                **said,
                "registry": dg.MetadataValue.url(
                    model_registry.version_url(experiment.model_name, version)
                ),
                "history": dg.MetadataValue.md(_history(kind, earlier, said, context.run.run_id)),
            },
            tags={names.VERSION_TAG: str(version)},
        )

    return endpoint


def _reported(context: dg.AssetExecutionContext, key: dg.AssetKey) -> list[history.Reported]:
    """What earlier deployments said of the endpoint, oldest first."""
    records = context.instance.fetch_materializations(key, limit=history.KEPT).records
    return [history.reported(record) for record in reversed(records)]


def _history(kind: str, earlier: list[history.Reported], said: dict[str, Any], run_id: str) -> str:
    """The newest deployments of the endpoint, the one that is being reported among them."""
    now = datetime.now(UTC)
    plain = {name: value for name, value in said.items() if name != "url"}
    newest = history.Reported(plain, run_id, now.isoformat(timespec="seconds"))
    return history.page(history.told(kind, [*earlier, newest]), now)


def _recording(experiment: Experiment, store: DataStore, version: int, kind: str) -> Recording:
    """What the endpoint keeps of its traffic, as the YAML's section on monitoring asks."""
    return experiment.monitoring.recording(
        profiles_url=ProfileStore(store).url_for(experiment.name, version, kind),
        log_url=PredictionStore(store).url_for(experiment.name, version, kind),
    )


def _shadowed(
    experiment: Experiment,
    live: Endpoint | None,
    found: releases.Fetched,
    store: DataStore,
    context: TargetContext,
) -> shadow.Report | None:
    """How the candidate scores what the live version answered; None when that is not asked, or
    nothing else is live, or nothing was answered."""
    spec = experiment.deployment.shadow
    if spec is None or live is None or live.version == found.version or live.state != "live":
        return None
    logged = shadow.gather(store, live, spec, context)
    if logged is None:
        return None
    return shadow.compare(logged, found.folder, spec=spec, slices=experiment.training.slices)


def _metadata(outcome: Outcome) -> dict[str, Any]:
    live = outcome.endpoint
    known = {k: v for k, v in asdict(live).items() if v not in (None, {}, "") and k != "url"}
    return {
        **known,
        "url": dg.MetadataValue.url(live.url),
        "changed": outcome.changed,
        **({"rollout": dg.MetadataValue.md(reports.steps(outcome))} if outcome.steps else {}),
    }
