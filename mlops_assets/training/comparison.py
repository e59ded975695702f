"""The new model beside the champion, on the same held-out rows."""

from typing import TYPE_CHECKING, Any

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.model_registry import CHAMPION, ModelRegistry
from mlops_assets.gateways.records import Comparison, TrainingSet
from mlops_assets.modeling.metrics import paired_difference, point, stratified
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.modeling.scoring import fetched

if TYPE_CHECKING:
    import pandas as pd


def with_champion(
    experiment: Experiment,
    registry: ModelRegistry,
    test: "pd.DataFrame",
    candidate: Outcome,
    training_set: TrainingSet,
    resampling: dict[str, Any],
) -> Comparison | None:
    """The candidate beside the champion on the test rows; None when there is no champion.

    Args:
        experiment: whose champion.
        registry: where it is.
        test: held-out rows with labels.
        candidate: what the new model says of them.
        training_set: of the new model: its classes must be the champion's.
        resampling: `resamples`, `confidence` and `seed` of the interval.
    """
    champion = registry.aliases(experiment.model_name).get(CHAMPION)
    if champion is None:
        return None
    metric = experiment.champion_metric

    def incomparable(why: str) -> Comparison:
        return Comparison(champion, metric, None, None, None, note=why)

    uri = registry.version(experiment.model_name, champion).tags.get("mlops.bundle_uri")
    if uri is None:
        return incomparable("the champion has no serving bundle")
    with fetched(registry, uri) as model:
        manifest = model.scorer.manifest
        if absent := sorted(set(manifest.schema.names) - set(test.columns)):
            return incomparable(f"the champion needs {', '.join(absent)}, no feature any more")
        if manifest.task != experiment.task or manifest.classes != training_set.classes:
            return incomparable("the champion predicts other classes")
        outcome = model.outcome(test)
    return Comparison(
        version=champion,
        metric=metric,
        candidate=point(metric, candidate),
        champion=point(metric, outcome),
        difference=paired_difference(
            metric, candidate, outcome, stratify=stratified(experiment.task), **resampling
        ),
        note="",
    )
