"""Whether an endpoint answers as it should, and is the one it should be."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg

from mlops_assets import assets
from mlops_assets import vocabulary as names
from mlops_assets.deployment import truth
from mlops_assets.deployment.breach import metadata_of
from mlops_assets.deployment.journal import Journal
from mlops_assets.deployment.probe import Probe, probe
from mlops_assets.deployment.targets.base import Target, TargetContext, TargetError
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.gateways import champions
from mlops_assets.gateways.data_store import DataStore, DataStoreError
from mlops_assets.gateways.model_registry import ModelRegistry, RegistryError
from mlops_assets.gateways.records import Endpoint


def build(experiment: Experiment) -> dg.Definitions:
    targets = experiment.deployment.targets
    return dg.Definitions(asset_checks=[_checks(experiment, one) for one in targets])


def judge(
    experiment: Experiment,
    target: Target,
    *,
    deploying: bool,
    registry: ModelRegistry,
    store: DataStore,
    context: TargetContext,
    stopped_at: float | None,
) -> truth.Verdict:
    """Whether the endpoint serves the champion, asking target, registry and journal now.

    Args:
        experiment: whose endpoint.
        target: where.
        deploying: whether a run works on it; one that is about to start is seen here.
        registry: has the champion.
        store: has the journal.
        context: of the target.
        stopped_at: when it was stopped by hand, in seconds since 1970; None when it was deployed
            since. A rollout that was begun before is over.
    """
    kind, model = kind_of(type(target)), experiment.model_name
    try:
        champion = champions.current(registry, model, by_hand=experiment.promotion.by_hand)
        tags = {} if champion is None else registry.version(model, champion).tags
        there = target.observe(experiment.name, context)
        progress = Journal(store, experiment.name, kind).read()
        stopped = _is_meant(there, stopped_at)
        if stopped and progress is not None and _is_after(stopped_at, progress.began):
            progress = None
        judged = partial(
            truth.serves_the_champion,
            there,
            champion=champion,
            digest=tags.get("mlops.bundle_digest"),
            progress=progress,
            stopped=stopped,
        )
        verdict = judged(deploying=deploying)
        starting = not verdict.passed and champions.is_on_its_way(
            registry, model, now=context.now()
        )
        return judged(deploying=True) if starting else verdict
    except (TargetError, RegistryError, DataStoreError) as error:
        return truth.unknown(error)


def _checks(experiment: Experiment, target: Target) -> dg.AssetChecksDefinition:
    kind = kind_of(type(target))
    key = names.endpoint_key(experiment.name, kind)

    @assets.checks_of(
        name="__".join((*key.path, "checks")),
        specs=[
            dg.AssetCheckSpec(
                names.ANSWERS_PROBE,
                asset=key,
                description="The live endpoint answers the golden requests of the deployed version "
                "with the predictions of training time.",
            ),
            dg.AssetCheckSpec(
                names.SERVES_THE_CHAMPION,
                asset=key,
                description="What is really live is the version with the alias `champion`, with "
                "the bundle that was registered. Asked of the platform itself, so that changes by "
                f"hand are seen; the sensor `{names.TRUTH_SENSOR}` asks again and again.",
            ),
        ],
        ins={"endpoint": dg.AssetIn(key)},
        can_subset=True,
    )
    def checks(
        context: dg.AssetCheckExecutionContext,
        endpoint: Endpoint,
        data_store: dg.ResourceParam[DataStore],
        model_registry: dg.ResourceParam[ModelRegistry],
        target_context: dg.ResourceParam[TargetContext],
    ) -> Iterator[dg.AssetCheckResult]:
        asked = {selected.name for selected in context.selected_asset_check_keys}
        stopped_at = names.stopped_at(context.instance, key)
        if names.ANSWERS_PROBE in asked:
            found = (
                Probe(True, f"not asked: {truth.STOPPED}", 0.0)
                if _is_stopped(experiment, target, target_context, stopped_at)
                else _probe(experiment, target, endpoint, model_registry, target_context)
            )
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name=names.ANSWERS_PROBE,
                passed=found.passed,
                description=found.reason,
                metadata={
                    "milliseconds": round(found.milliseconds, 1),
                    "url": dg.MetadataValue.url(endpoint.url),
                    **metadata_of(found.breach),
                },
            )
        if names.SERVES_THE_CHAMPION in asked:
            others = names.deploying(context.instance).get(experiment.name, set())

            verdict = judge(
                experiment,
                target,
                deploying=bool(others - {context.run.run_id}),
                registry=model_registry,
                store=data_store,
                context=target_context,
                stopped_at=stopped_at,
            )
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name=names.SERVES_THE_CHAMPION,
                passed=verdict.passed,
                description=verdict.reason,
                metadata=metadata_of(verdict.breach),
            )

    return checks


def _is_meant(there: Endpoint | None, stopped_at: float | None) -> bool:
    """Whether it is stopped because somebody stopped it since it was deployed: what was done to it
    behind our back is not meant."""
    if there is None or there.state != "stopped":
        return False
    return _is_after(stopped_at, there.since)


def _is_after(at: float | None, time: str) -> bool:
    return at is not None and at > datetime.fromisoformat(time).timestamp()


def _is_stopped(
    experiment: Experiment, target: Target, context: TargetContext, stopped_at: float | None
) -> bool:
    if stopped_at is None:
        return False  # and the platform need not be asked
    try:
        return _is_meant(target.observe(experiment.name, context), stopped_at)
    except TargetError:
        return False  # the probe will say what is wrong


def _probe(
    experiment: Experiment,
    target: Target,
    endpoint: Endpoint,
    registry: ModelRegistry,
    context: TargetContext,
) -> Probe:
    tags = registry.version(experiment.model_name, endpoint.version).tags
    with TemporaryDirectory() as folder:
        path = registry.download(tags["mlops.bundle_uri"], Path(folder))
        return probe(
            lambda records: target.ask(experiment.name, endpoint.version, records, context),
            version=endpoint.version,
            bundle_folder=path,
        )
