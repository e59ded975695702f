"""The version in the MLflow registry: made once per run, only when every gate passed."""

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.model_registry import CHALLENGER, CHAMPION, ModelRegistry
from mlops_assets.gateways.records import Evaluation, ModelVersion, TrainedModel
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
        decision = promotion.decide(evaluation, experiment.promotion, checks.GATES)
        verdicts = decision.verdicts
        if not decision.promoted:
            reasons = "; ".join(f"{name}: {why}" for name, why in decision.refusals.items())
            raise dg.Failure(f"{experiment.name}: not registered, {reasons}", allow_retries=False)
        previous = model_registry.aliases(model).get(CHAMPION)
        existing = model_registry.version_of_run(model, trained_model.run_id)
        number = (
            existing.version
            if existing
            else model_registry.register(
                model,
                source=trained_model.model_uri,
                run_id=trained_model.run_id,
                tags={
                    "mlops.experiment": experiment.name,
                    "mlops.dagster_run": context.run.run_id,
                    "mlops.data_digest": trained_model.data_digest,
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
                },
            )
        )
        champion = spec.promotion.approval == "automatic"
        model_registry.describe_version(model, number, _summary(experiment, evaluation))
        model_registry.set_alias(model, CHALLENGER, number)
        if champion:
            model_registry.set_alias(model, CHAMPION, number)
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


def _summary(experiment: Experiment, evaluation: Evaluation) -> str:
    metric = evaluation.metrics[experiment.metric]
    return (
        f"{experiment.description} {experiment.metric} {metric.value:.4f} "
        f"({metric.low:.4f} to {metric.high:.4f}) on {evaluation.rows:,} held-out rows. "
        "The model card is with the run's artifacts."
    )
