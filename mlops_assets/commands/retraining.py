"""Whether an experiment would be retrained without being asked now, for `mlops plan`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dagster as dg  # noqa: TID251

    from mlops_assets.experiment.model import Experiment
    from mlops_assets.training.retraining.cases import Case


def standing(
    experiment: "Experiment",
    assets: Sequence[Any],
    instance: "dg.DagsterInstance | None",
    *,
    refreshed: bool,
) -> str:
    """What the sensor would do if something asked for a retraining now, what does, and what it
    said last; empty where the YAML asks for none.

    Args:
        experiment: whose.
        assets: of the experiment, in the order of the graph.
        instance: None when nothing was ever run.
        refreshed: whether the training set is that of the source as it is now.
    """
    from mlops_assets.training.retraining import brakes
    from mlops_assets.training.retraining.assets import TRAINED, retrain_of
    from mlops_assets.training.retraining.resources import Happened

    if experiment.training.retrain is None:
        return ""
    if instance is None:
        return "would be started now"
    name, now = experiment.name, datetime.now(UTC)
    case, happened = remembered(name, instance), Happened(instance, {name: assets})
    facts = happened.facts({name: experiment}, {name: case})[name]
    against = brakes.hold(retrain_of(experiment).brakes, facts.past, recipe=facts.recipe, now=now)
    if against is None and refreshed:
        made = happened.materialized([name], TRAINED)
        if data := happened.data({name: experiment}, made).get(name):
            against = brakes.refuse(data, new_labels=None)
    words = ["would be started now" if against is None else f"would now be refused: {against}"]
    if case.asked:
        words.append(f"asked for by {'; '.join(case.asked.values())}")
    if case.said:
        words.append(f"last ({case.said_at}): {case.said}")
    return "; ".join(words)


def remembered(name: str, instance: "dg.DagsterInstance") -> "Case":
    """What the sensor remembers of the experiment."""
    from mlops_assets import vocabulary as names
    from mlops_assets.training.retraining.cases import Case, Memory

    for state in instance.all_instigator_state():
        if state.instigator_name == names.RETRAINING_SENSOR and state.instigator_data is not None:
            cursor = getattr(state.instigator_data, "cursor", None)
            if cursor and name in (cases := Memory.from_json(cursor).cases):
                return cases[name]
    return Case()
