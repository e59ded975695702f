"""The best hyperparameters of a resumable study."""

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import ExitStack

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.gateways.records import TrainingSet, TunedHyperparameters
from mlops_assets.gateways.study_locks import StudyStoreError
from mlops_assets.gateways.study_store import StudyStore
from mlops_assets.modeling.figures import as_markdown
from mlops_assets.modeling.pipeline import EstimatorError
from mlops_assets.modeling.tasks import METRICS
from mlops_assets.serving.schema import InputSchema
from mlops_assets.tuning import plots, study
from mlops_assets.tuning.coordinator import Progress
from mlops_assets.tuning.objective import ObjectiveFactory
from mlops_assets.tuning.shown import ShownStudy
from mlops_assets.tuning.study import StudyError
from mlops_assets.tuning.trials import Direction, FinishedTrial

PROGRESS_SECONDS = 2.0
"""Least time between two lines of progress."""


class TuningConfig(dg.Config):
    """One-off knobs of a run."""

    n_trials: int | None = None
    """Trials instead of the YAML's number."""


def build(experiment: Experiment) -> dg.Definitions:
    return dg.Definitions(assets=[_tuned(experiment)])


def study_name(experiment: Experiment, training_set: TrainingSet) -> str:
    """Equal for equal data and equal meaning of a trial: such a study is resumed, and a larger
    `n_trials`, other workers or another timeout extend it."""
    training = experiment.training
    meaning = {
        "recipe": study.recipe(experiment.tuning, experiment.features.split.folds),
        "metric": experiment.metric,
        "estimator": training.estimator,
        "parameters": training.parameters,
        "preprocessing": training.preprocessing.model_dump(mode="json"),
        "task": experiment.task,
        "data": training_set.digest,
    }
    canonical = json.dumps(meaning, sort_keys=True, default=str)
    return f"{experiment.name}-{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"


def objective_factory(
    experiment: Experiment, training_set: TrainingSet, store: DataStore
) -> ObjectiveFactory:
    training = experiment.training
    return ObjectiveFactory(
        store=store,
        url=training_set.url,
        ordered=training_set.ordered,
        schema=InputSchema.from_json(list(training_set.schema)),
        task=experiment.task,
        metric=experiment.metric,
        estimator=training.estimator,
        fixed=training.parameters,
        numeric=training.preprocessing.numeric,
        categorical=training.preprocessing.categorical,
        runtime=training.runtime,
        seed=experiment.tuning.seed,
    )


def direction(experiment: Experiment) -> Direction:
    return "maximize" if METRICS[experiment.metric].greater_is_better else "minimize"


def _tuned(experiment: Experiment) -> dg.AssetsDefinition:
    spec, metric = experiment.tuning, experiment.metric

    @names.asset(
        experiment,
        "tuning",
        names.TUNED_HYPERPARAMETERS,
        kinds={"optuna"},
        description=f"The parameters with the best cross-validated `{metric}`. The study is "
        "kept: it goes on after an interruption, and grows when `n_trials` is raised.",
        code=f"{spec.fingerprint()}-{experiment.training.search_fingerprint()}",
        ins={"training_set": dg.AssetIn(names.asset_key(experiment.name, names.TRAINING_SET))},
        pool=f"tune_{experiment.name}",
    )
    def tuned_hyperparameters(
        context: dg.AssetExecutionContext,
        config: TuningConfig,
        training_set: TrainingSet,
        data_store: dg.ResourceParam[DataStore],
        study_store: dg.ResourceParam[StudyStore],
        model_registry: dg.ResourceParam[ModelRegistry],
    ) -> dg.MaterializeResult[TunedHyperparameters]:
        asked = spec.model_copy(update={"n_trials": config.n_trials or spec.n_trials})
        name = study_name(experiment, training_set)
        report, way = _reporter(context, metric), direction(experiment)
        shown = ShownStudy(model_registry, experiment.name, name)

        def on_trial(trial: FinishedTrial, progress: Progress) -> None:
            report(trial, progress)
            shown.add([trial])

        # The trials would be lost on a server that does not answer; better to know at once.
        model_registry.check()
        with ExitStack() as stack:

            def on_start() -> None:
                # The workers start meanwhile. skops, which stores the model, looks through all
                # loaded modules for each type it knows: before MLflow it loads in a third of the
                # time. MLflow takes seconds to load and to make its tables.
                import skops.io  # noqa: F401

                tag, value = names.DAGSTER_RUN_TAG, names.root_run(context)
                stack.enter_context(shown.open(tag, value, name=context.run.job_name))

            try:
                result = study.run(
                    objective_factory(experiment, training_set, data_store),
                    asked,
                    study_name=name,
                    store=study_store,
                    direction=way,
                    folds=experiment.features.split.folds,
                    on_start=on_start,
                    on_trial=on_trial,
                )
            except (StudyError, StudyStoreError, EstimatorError) as error:
                raise dg.Failure(f"{experiment.name}: {error}", allow_retries=False) from error
            # What an earlier run finished but was killed before showing.
            shown.add(result.trials)
            best, parent = result.best, shown.run_id
            assert best.score is not None  # noqa: S101
            with study_store.open(name, direction=way) as optuna_study:
                figures = plots.figures(optuna_study, result.trials, metric=metric, direction=way)
                page = plots.interactive(optuna_study)
            model_registry.log(
                parent, metrics={f"cv_{metric}": best.score}, tags={"mlops.study": name}
            )
            model_registry.log_text(parent, page, "study.html")
            paths = {title: f"plots/study_{title}.png" for title in figures}
            for title, path in paths.items():
                model_registry.log_figure(parent, figures[title], path)
        record = TunedHyperparameters(
            study=name,
            parameters=best.parameters,
            metric=metric,
            score=best.score,
            trials=len(result.trials),
            complete=result.count("complete"),
            pruned=result.count("pruned"),
            failed=result.count("failed"),
        )
        context.log.info(f"best {metric} {best.score:.4f} in trial {best.slot}: {best.parameters}")
        return dg.MaterializeResult(
            value=record,
            metadata={
                f"best_cv_{metric}": best.score,
                "parameters": dg.MetadataValue.json(best.parameters),
                **{
                    title: dg.MetadataValue.md(
                        f"![{title}]({model_registry.artifact_url(parent, path)})"
                    )
                    for title, path in paths.items()
                },
                "plots": dg.MetadataValue.md(as_markdown(figures)),
                "mlflow_run": dg.MetadataValue.url(model_registry.run_url(parent)),
                "study": name,
                "best_trial": best.slot,
                "trials": record.trials,
                "complete": record.complete,
                "pruned": record.pruned,
                "failed": record.failed,
                "stopped": result.stopped,
            },
        )

    return tuned_hyperparameters


def _reporter(
    context: dg.AssetExecutionContext, metric: str
) -> Callable[[FinishedTrial, Progress], None]:
    """Progress in the log, and on the asset's page while it is being made."""
    last = float("-inf")

    def report(trial: FinishedTrial, progress: Progress) -> None:
        nonlocal last
        now, done = time.monotonic(), progress.finished == progress.total
        if not done and now - last < PROGRESS_SECONDS:
            return
        last = now
        best = "none yet" if progress.best is None else f"{progress.best:.4f}"
        left = "" if progress.eta_seconds is None else f", about {progress.eta_seconds:.0f} s left"
        context.log.info(
            f"trial {progress.finished} of {progress.total}: best {metric} {best}{left}"
        )
        seen = dg.AssetObservation(
            asset_key=context.asset_key,
            metadata={"finished": progress.finished, "total": progress.total, "best": best},
        )
        context.log_event(seen)

    return report
