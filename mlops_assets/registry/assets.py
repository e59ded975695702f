"""The version in the MLflow registry: made once per run, only when every gate passed."""

import json
from datetime import UTC, datetime

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.decisions import THE_GATES, Decision
from mlops_assets.gateways.model_registry import CHALLENGER, CHAMPION, ModelRegistry
from mlops_assets.gateways.records import Evaluation, ModelVersion, TrainedModel
from mlops_assets.gateways.registered import EVALUATED_IN
from mlops_assets.registry import checks, promotion


def build(experiment: Experiment) -> dg.Definitions:
    return dg.Definitions(assets=[_registered_version(experiment)])


def _registered_version(experiment: Experiment) -> dg.AssetsDefinition:
    spec, model = experiment.registry, experiment.model_name

    @names.asset(
        experiment,
        "registry",
        names.REGISTERED_VERSION,
        kinds={"mlflow"},
        description="A version in the MLflow registry, tagged with where it came from. It is "
        "`challenger` at once, and `champion` when promotion is automatic.",
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
        verdicts = judged.verdicts
        if not judged.promoted:
            reasons = "; ".join(f"{name}: {why}" for name, why in judged.refusals.items())
            raise dg.Failure(f"{experiment.name}: not registered, {reasons}", allow_retries=False)
        previous = model_registry.aliases(model).get(CHAMPION)
        tags = {
            "mlops.experiment": experiment.name,
            "mlops.dagster_run": context.run.run_id,
            EVALUATED_IN: trained_model.run_id,
            "mlops.data_digest": trained_model.data_digest,
            "mlops.training_rows": str(trained_model.training_rows or ""),
            "mlops.snapshot_digest": trained_model.snapshot_digest,
            "mlops.yaml_fingerprint": experiment.fingerprint(),
            "mlops.bundle_uri": trained_model.bundle_uri,
            "mlops.bundle_digest": trained_model.bundle_digest,
            "mlops.code_version": trained_model.code_version,
            **{
                f"mlops.test_{name}": f"{m.value:.6g} [{m.low:.6g}, {m.high:.6g}]"
                for name, m in evaluation.metrics.items()
            },
            **{f"mlops.gate.{name}": v.reason for name, v in verdicts.items()},
        }
        model_registry.log_text(
            trained_model.run_id, json.dumps(judged.to_json(), indent=2), "decision.json"
        )
        number = _version(model_registry, model, trained_model, tags)
        champion = spec.promotion.approval == "automatic"
        model_registry.describe_version(model, number, _summary(experiment, evaluation))
        model_registry.set_alias(model, CHALLENGER, number)
        if champion:
            model_registry.set_alias(model, CHAMPION, number)
        # After the alias: a version without a decision is one whose run did not come this far.
        decision = Decision(
            "promoted" if champion else "waiting",
            "; ".join(verdict.reason for verdict in verdicts.values()),
            THE_GATES,
            datetime.now(UTC).isoformat(timespec="seconds"),
            context.run.run_id,
        )
        model_registry.tag_version(model, number, decision.tags())
        context.log.info(
            f"{model} version {number} is {'the champion' if champion else 'a challenger'}"
        )
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
                "previous_champion": previous if previous is not None else "none",
                "registry": dg.MetadataValue.url(model_registry.version_url(model, number)),
                "mlflow_run": dg.MetadataValue.url(model_registry.run_url(trained_model.run_id)),
                "decision": dg.MetadataValue.md(
                    "\n".join(f"- **{name}**: {v.reason}" for name, v in verdicts.items())
                ),
            },
            tags={names.VERSION_TAG: str(number)},
        )

    return registered_version


def _version(
    registry: ModelRegistry, model: str, trained: TrainedModel, tags: dict[str, str]
) -> int:
    """The number of the model's version: somebody else's, which gets our tags, or the one that this
    MLflow run has already, or a new one."""
    if trained.adopts is not None:
        registry.tag_version(model, trained.adopts, tags)
        return trained.adopts
    existing = registry.version_of_run(model, trained.run_id)
    if existing is not None:
        return existing.version
    return registry.register(model, source=trained.model_uri, run_id=trained.run_id, tags=tags)


def _summary(experiment: Experiment, evaluation: Evaluation) -> str:
    metric = evaluation.metrics[experiment.metric]
    return (
        f"{experiment.description} {experiment.metric} {metric.value:.4f} "
        f"({metric.low:.4f} to {metric.high:.4f}) on {evaluation.rows:,} held-out rows. "
        "The model card is with the run's artifacts."
    )
