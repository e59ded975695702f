"""The version in the MLflow registry: made once per run, only when every gate passed."""

from datetime import UTC, datetime

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways import champions
from mlops_assets.gateways import versions as past
from mlops_assets.gateways.decisions import (
    AUTHOR,
    COMPARED_WITH,
    FROZEN_UNTIL,
    THE_GATES,
    Decision,
)
from mlops_assets.gateways.model_registry import CHALLENGER, CHAMPION, ModelRegistry
from mlops_assets.gateways.records import Evaluation, ModelVersion, TrainedModel
from mlops_assets.gateways.registered import EVALUATED_IN, RegistryVersion, held_out_tags
from mlops_assets.registry import checks, promotion, record
from mlops_assets.registry.approval import NO_CHAMPION
from mlops_assets.registry.freeze import Frozen, frozen
from mlops_assets.registry.promotion import Finding, Judged
from mlops_assets.registry.spec import PromotionSpec


def build(experiment: Experiment) -> dg.Definitions:
    return dg.Definitions(
        assets=[_registered_elsewhere(experiment), _registered_version(experiment)]
    )


def _registered_elsewhere(experiment: Experiment) -> dg.AssetsDefinition:
    return names.external_asset(
        experiment,
        "registry",
        names.REGISTERED_ELSEWHERE,
        kinds={"mlflow"},
        description=f"Versions of `{experiment.model_name}` that others register in MLflow. The "
        f"sensor `{names.REGISTRY_SENSOR}` reports each when it comes, and has it taken over by "
        f"`{names.TRAINED_MODEL}`, evaluated and held to the gates.",
    )


def _registered_version(experiment: Experiment) -> dg.AssetsDefinition:
    spec, model = experiment.registry, experiment.model_name

    @names.asset(
        experiment,
        "registry",
        names.REGISTERED_VERSION,
        kinds={"mlflow"},
        description="A version in the MLflow registry, tagged with where it came from. It is "
        "`challenger` at once, and `champion` when promotion is automatic and not frozen.",
        code=spec.fingerprint(),
        ins={
            "trained_model": dg.AssetIn(names.asset_key(experiment.name, names.TRAINED_MODEL)),
            "evaluation": dg.AssetIn(names.asset_key(experiment.name, names.EVALUATION)),
        },
    )
    def registered_version(
        context: dg.AssetExecutionContext,
        trained_model: TrainedModel,
        evaluation: Evaluation,
        model_registry: dg.ResourceParam[ModelRegistry],
        user: dg.ResourceParam[str],
        dagster_url: dg.ResourceParam[str],
    ) -> dg.MaterializeResult[ModelVersion]:
        # Checks gate only within their own run; whoever materializes this asset alone is
        # held to the same verdicts here.
        if evaluation.run_id != trained_model.run_id:
            raise dg.Failure(
                f"{experiment.name}: the evaluation is of another model; materialize "
                f"{names.EVALUATION} again",
                allow_retries=False,
            )
        judged = promotion.decide(evaluation, experiment.promotion, checks.GATES)
        if not judged.promoted:
            raise dg.Failure(
                f"{experiment.name}: not registered, {judged.refusal}", allow_retries=False
            )
        previous = model_registry.aliases(model).get(CHAMPION)
        run = context.run
        tags = {
            **_lineage(experiment, trained_model, evaluation, judged),
            "mlops.dagster_run": run.run_id,
            AUTHOR: _author(model_registry, model, trained_model)
            or names.author_of(run.tags, user),
        }
        record.write_judged(model_registry, trained_model.run_id, judged)
        version = _version(model_registry, model, trained_model, tags)
        number, policy, now = version.version, spec.promotion, datetime.now(UTC)
        model_registry.describe_version(model, number, _summary(experiment, evaluation))
        model_registry.set_alias(model, CHALLENGER, number)
        hold = frozen(policy.freeze, now) if policy.approval == "automatic" else None
        decision = _decision(judged, policy, hold, now=now, run_id=run.run_id)
        before = Decision.of(version.tags)
        if before is not None and before.by != THE_GATES:
            # People decided about it since: to repeat the run takes nothing of that back.
            decision = before
        elif decision.outcome == "promoted":
            champions.crown(model_registry, model, number, now=now)
        if hold is not None:
            until = {FROZEN_UNTIL: hold.until.isoformat(timespec="minutes")}
            model_registry.tag_version(model, number, until)
        # After the alias: a version without a decision is one whose run did not come this far.
        model_registry.tag_version(model, number, decision.tags())
        written = model_registry.version(model, number)
        record.write(model_registry, experiment, written, dagster_url=dagster_url)
        champion = model_registry.aliases(model).get(CHAMPION) == number
        context.log.info(
            f"{model} version {number} is {'the champion' if champion else 'a challenger'}"
        )
        findings = [f for verdict in judged.verdicts.values() for f in verdict.findings]
        return dg.MaterializeResult(
            value=ModelVersion(
                name=model,
                version=number,
                run_id=trained_model.run_id,
                model_uri=trained_model.model_uri,
                bundle_uri=trained_model.bundle_uri,
                bundle_digest=trained_model.bundle_digest,
                champion=champion,
            ),
            metadata={
                "version": number,
                "alias": CHAMPION if champion else CHALLENGER,
                "previous_champion": previous if previous is not None else NO_CHAMPION,
                "registry": dg.MetadataValue.url(model_registry.version_url(model, number)),
                "mlflow_run": dg.MetadataValue.url(model_registry.run_url(trained_model.run_id)),
                **_decided(decision, judged, tuple(findings)),
                "made_by": tags[AUTHOR],
                "dagster_run": dg.MetadataValue.url(record.run_url(dagster_url, run.run_id)),
            },
            tags={names.VERSION_TAG: str(number)},
        )

    return registered_version


def _lineage(
    experiment: Experiment, trained: TrainedModel, evaluation: Evaluation, judged: Judged
) -> dict[str, str]:
    """Tags that say where a version came from, and what was measured of it."""
    compared = evaluation.champion
    return {
        "mlops.experiment": experiment.name,
        EVALUATED_IN: trained.run_id,
        "mlops.data_digest": trained.data_digest,
        "mlops.training_rows": str(trained.training_rows or ""),
        "mlops.snapshot_digest": trained.snapshot_digest,
        "mlops.yaml_fingerprint": experiment.fingerprint(),
        "mlops.bundle_uri": trained.bundle_uri,
        "mlops.bundle_digest": trained.bundle_digest,
        "mlops.code_version": trained.code_version,
        COMPARED_WITH: NO_CHAMPION if compared is None else str(compared.version),
        **held_out_tags(evaluation.metrics),
        **{f"mlops.gate.{name}": v.reason for name, v in judged.verdicts.items()},
    }


def _author(registry: ModelRegistry, model: str, trained: TrainedModel) -> str:
    """Who registered a version that was not made here, as far as MLflow knows; empty for our own,
    and where it does not."""
    if trained.adopts is None:
        return ""
    version = registry.version(model, trained.adopts)
    if named := version.tags.get(AUTHOR):
        return named
    run = past.run_record(registry, version.run_id) if version.run_id else None
    return run.tags.get("mlflow.user", "") if run else ""


def _decision(
    judged: Judged, policy: PromotionSpec, hold: Frozen | None, *, now: datetime, run_id: str
) -> Decision:
    """About a version that passed the gates."""
    reason = "; ".join(verdict.reason for verdict in judged.verdicts.values())
    if hold is not None:
        reason = f"{hold.words()}; {reason}"
    waits = hold is not None or policy.approval == "manual"
    at = now.isoformat(timespec="seconds")
    return Decision("waiting" if waits else "promoted", reason, THE_GATES, at, run_id)


def _decided(
    decision: Decision, judged: Judged, findings: tuple[Finding, ...]
) -> dict[str, dg.MetadataValue | str]:
    """The decision as the asset's page shows it."""
    gates = "\n".join(f"- **{name}**: {v.reason}" for name, v in judged.verdicts.items())
    table = promotion.findings_table(findings)
    return {
        "decision": dg.MetadataValue.md(f"**{decision.outcome}**: {decision.reason}\n\n{gates}"),
        "decided_by": decision.by,
        "decided_at": decision.at,
        **({"findings": dg.MetadataValue.md(table)} if table else {}),
    }


def _version(
    registry: ModelRegistry, model: str, trained: TrainedModel, tags: dict[str, str]
) -> RegistryVersion:
    """The model's version: somebody else's, which gets our tags, or the one that this MLflow run
    has already, or a new one."""
    if trained.adopts is not None:
        registry.tag_version(model, trained.adopts, tags)
        return registry.version(model, trained.adopts)
    existing = registry.version_of_run(model, trained.run_id)
    if existing is not None:
        return existing
    number = registry.register(model, source=trained.model_uri, run_id=trained.run_id, tags=tags)
    return registry.version(model, number)


def _summary(experiment: Experiment, evaluation: Evaluation) -> str:
    metric = evaluation.metrics[experiment.metric]
    return (
        f"{experiment.description} {experiment.metric} {metric.value:.4f} "
        f"({metric.low:.4f} to {metric.high:.4f}) on {evaluation.rows:,} held-out rows. "
        "The model card is with the run's artifacts."
    )
