"""The fitted model in MLflow with its serving bundle, and what the held-out rows say of it."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.gateways.records import (
    Evaluation,
    TrainedModel,
    TrainingSet,
    TunedHyperparameters,
)
from mlops_assets.gateways.registered import IMPORTANCES, MEASURED, MODEL_CARD
from mlops_assets.modeling.figures import as_markdown
from mlops_assets.modeling.folds import SPLIT, TEST, TRAIN, held_out_rows
from mlops_assets.modeling.metrics import estimate, stratified
from mlops_assets.modeling.pipeline import EstimatorError
from mlops_assets.modeling.scoring import fetched
from mlops_assets.modeling.tasks import metrics_for
from mlops_assets.modeling.threads import threads_for
from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.schema import InputSchema
from mlops_assets.training import (
    adoption,
    candidate,
    card,
    checks,
    commit,
    evaluation,
    export,
    parity,
    plots,
)
from mlops_assets.training.adoption import AdoptionError
from mlops_assets.training.comparison import beside_champion
from mlops_assets.training.fitting import FittingError
from mlops_assets.training.footprint import footprint

BUNDLE_PATH = "bundle"


class TrainingConfig(dg.Config):
    """One-off knobs of a run."""

    adopt: int | None = None
    """A version of the registry that somebody else registered: it is made one of ours, instead of
    a model being fitted."""


def build(experiment: Experiment) -> dg.Definitions:
    return dg.Definitions(assets=[_trained_model(experiment), _evaluation(experiment)])


def _trained_model(experiment: Experiment) -> dg.AssetsDefinition:
    spec, task = experiment.training, experiment.task

    @names.asset(
        experiment,
        "training",
        names.TRAINED_MODEL,
        kinds={"mlflow", "scikitlearn"},
        description="The pipeline fitted on all training rows with the tuned parameters, "
        "calibrated and with its decision threshold, logged in MLflow together with the "
        "serving bundle. Or a model that somebody else registered, with a bundle made for it.",
        code=spec.fit_fingerprint(),
        deps=[names.asset_key(experiment.name, names.REGISTERED_ELSEWHERE)],
        ins={
            "training_set": dg.AssetIn(names.asset_key(experiment.name, names.TRAINING_SET)),
            "tuned": dg.AssetIn(names.asset_key(experiment.name, names.TUNED_HYPERPARAMETERS)),
        },
        check_specs=[checks.parity_spec(experiment.name)],
        dagster_type=TrainedModel,
    )
    def trained_model(
        context: dg.AssetExecutionContext,
        config: TrainingConfig,
        training_set: TrainingSet,
        tuned: TunedHyperparameters,
        data_store: dg.ResourceParam[DataStore],
        model_registry: dg.ResourceParam[ModelRegistry],
    ) -> Iterator[dg.MaterializeResult[TrainedModel]]:
        run_id = model_registry.run_for(
            experiment.name,
            names.DAGSTER_RUN_TAG,
            names.root_run(context),
            name=context.run.job_name,
        )
        rows = data_store.read_table(training_set.url)
        train, test = rows[rows[SPLIT] == TRAIN], rows[rows[SPLIT] == TEST]
        code = commit.describe(experiment.path.parent)
        with model_registry.writing(run_id), TemporaryDirectory() as temporary:
            try:
                if config.adopt is None:
                    model = candidate.fit(experiment, training_set, tuned, train)
                else:
                    model = adoption.adopt(
                        experiment, training_set, config.adopt, registry=model_registry
                    )
                fitted, schema = model.fitted, model.schema
                answered = partial(fitted.outcome, task=task, schema=schema)
                exported = export.write(
                    Path(temporary),
                    fitted.estimator,
                    export.manifest(
                        experiment, training_set, fitted, schema=schema, run_id=run_id, code=code
                    ),
                    train=train,
                    test=test,
                    answered=answered,
                )
                proven = parity.prove(exported.folder, test, answered)
            except (FittingError, AdoptionError, EstimatorError, BundleError) as error:
                raise dg.Failure(f"{experiment.name}: {error}", allow_retries=False) from error
            with threads_for(len(test)):
                bundle_uri = model_registry.log_folder(run_id, exported.folder, BUNDLE_PATH)
                model_uri = model.uri or candidate.log(model, train, model_registry, run_id)
            model_registry.log(
                run_id,
                parameters={"estimator": model.estimator, **model.parameters},
                metrics={} if fitted.threshold is None else {"threshold": fitted.threshold},
                tags={
                    "mlops.experiment": experiment.name,
                    "mlops.yaml_fingerprint": experiment.fingerprint(),
                    **model.tags,
                    "mlops.bundle_uri": bundle_uri,
                    "mlops.bundle_digest": exported.digest,
                    "mlflow.source.git.commit": code,
                    "mlops.environment": commit.environment(),
                },
            )
            model_registry.log_dataset(
                run_id,
                name=f"{experiment.name}/{names.TRAINING_SET}",
                digest=training_set.digest,
                source=training_set.snapshot.location,
                rows=training_set.train_rows,
            )
            model_registry.log_text(run_id, experiment.path.read_text("utf-8"), "experiment.yaml")
        if config.adopt is None:
            names.mark_candidate(context, experiment, training_set.digest)
        record = TrainedModel(
            run_id=run_id,
            model_uri=model_uri,
            bundle_uri=bundle_uri,
            bundle_digest=exported.digest,
            threshold=fitted.threshold,
            parity=proven,
            parameters=model.parameters,
            code_version=code,
            data_digest=training_set.digest,
            snapshot_digest=training_set.snapshot.digest,
            adopts=config.adopt,
            training_rows=training_set.train_rows,
        )
        yield dg.MaterializeResult(
            value=record,
            # Another fit of the same data is another model, and needs another evaluation.
            data_version=dg.DataVersion(exported.digest[:16]),
            tags={} if config.adopt is None else {names.ADOPTS_TAG: str(config.adopt)},
            metadata={
                "mlflow_run": dg.MetadataValue.url(model_registry.run_url(run_id)),
                "model": model_uri,
                "bundle": bundle_uri,
                "origin": model.origin,
                "parameters": dg.MetadataValue.json(model.parameters),
                "threshold": fitted.threshold if fitted.threshold is not None else "none",
                "rows": training_set.train_rows,
                "labelled_rows": training_set.train_rows + training_set.test_rows,
            },
            check_results=[checks.serving_matches_training(record)],
        )

    return trained_model


def _evaluation(experiment: Experiment) -> dg.AssetsDefinition:
    spec, task = experiment.training, experiment.task

    @names.asset(
        experiment,
        "training",
        names.EVALUATION,
        kinds={"mlflow"},
        description="Metrics with bootstrap confidence intervals on the held-out rows, by "
        "slice, and beside the champion as `registry.promotion` asks; computed from the logged "
        "bundle.",
        code=f"{spec.fingerprint()}-{experiment.promotion.asks()}",
        ins={
            "trained_model": dg.AssetIn(names.asset_key(experiment.name, names.TRAINED_MODEL)),
            "training_set": dg.AssetIn(names.asset_key(experiment.name, names.TRAINING_SET)),
        },
    )
    def evaluation_asset(
        context: dg.AssetExecutionContext,
        trained_model: TrainedModel,
        training_set: TrainingSet,
        data_store: dg.ResourceParam[DataStore],
        model_registry: dg.ResourceParam[ModelRegistry],
    ) -> dg.MaterializeResult[Evaluation]:
        run_id = trained_model.run_id
        if trained_model.adopts is None:
            names.mark_candidate(context, experiment, training_set.digest)
        test = held_out_rows(data_store.read_table(training_set.url))
        schema = InputSchema.from_json(list(training_set.schema))
        resampling: dict[str, Any] = {
            "resamples": spec.bootstrap,
            "confidence": spec.confidence,
            "seed": experiment.tuning.seed,
        }
        with (
            model_registry.writing(run_id),
            fetched(model_registry, trained_model.bundle_uri) as model,
        ):
            outcome = model.outcome(test)
            metrics = estimate(metrics_for(task), outcome, stratify=stratified(task), **resampling)
            measured, comparison = beside_champion(
                experiment, model_registry, test, outcome, model.scorer.manifest
            )
            record = Evaluation(
                run_id=run_id,
                rows=len(test),
                metrics=metrics,
                slices=evaluation.slices(
                    test, outcome, spec.slices, metric=experiment.metric, task=task, **resampling
                ),
                measured=measured,
                asked=experiment.promotion.asks(),
                footprint=footprint(model, test),
                champion=comparison,
            )
            importances = evaluation.importances(
                model.outcome, test, schema, metric=experiment.metric, seed=experiment.tuning.seed
            )
            text = card.render(
                experiment,
                model=trained_model,
                training_set=training_set,
                evaluation=record,
                importances=importances,
                code_version=trained_model.code_version,
            )
            figures = plots.evaluation_figures(task, outcome, training_set.classes, importances)
            model_registry.log_estimates(run_id, "test", metrics)
            for name in (MEASURED, MODEL_CARD):
                model_registry.log_text(run_id, text, name)
            by_column = {each["column"]: each["importance"] for each in importances}
            model_registry.log_text(run_id, json.dumps(by_column, indent=2), IMPORTANCES)
            for name, figure in figures.items():
                model_registry.log_figure(run_id, figure, f"plots/{name}.png")
        primary = metrics[experiment.metric]
        context.log.info(
            f"{experiment.metric} {primary.value:.4f} "
            f"({spec.confidence:.0%} interval {primary.low:.4f} to {primary.high:.4f})"
        )
        return dg.MaterializeResult(
            value=record,
            metadata={
                "metrics": dg.MetadataValue.md(card.metrics_table(metrics)),
                **{
                    name: dg.MetadataValue.md(
                        f"![{name}]({model_registry.artifact_url(run_id, f'plots/{name}.png')})"
                    )
                    for name in figures
                },
                "plots": dg.MetadataValue.md(as_markdown(figures)),
                "slices": dg.MetadataValue.md(
                    card.slices_table(record.slices) if record.slices else "none asked for"
                ),
                "mlflow_run": dg.MetadataValue.url(model_registry.run_url(run_id)),
                "model_card": dg.MetadataValue.md(text),
                # Plain numbers under stable keys: the UI draws their history.
                **{name: metric.value for name, metric in metrics.items()},
            },
        )

    return evaluation_asset
