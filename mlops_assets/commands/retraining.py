"""Whether an experiment would be retrained without being asked now, for `mlops plan`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg  # noqa: TID251

    from mlops_assets.experiment.model import Experiment
    from mlops_assets.training.retraining.cases import Case


def standing(experiment: "Experiment", instance: "dg.DagsterInstance | None") -> str:
    """What the sensor would do if something asked for a retraining now, what does, and what it
    said last; empty where the YAML asks for none."""
    from mlops_assets.training.retraining import brakes
    from mlops_assets.training.retraining.resources import Happened, retrain_of

    if experiment.training.retrain is None:
        return ""
    if instance is None:
        return "would be started now"
    case = remembered(experiment.name, instance)
    name, now = experiment.name, datetime.now(UTC)
    # What is out of date stands in the plan already.
    facts = Happened(instance, {name: ()}).facts({name: experiment}, {name: case})[name]
    held = brakes.hold(retrain_of(experiment).brakes, facts.past, recipe=facts.recipe, now=now)
    words = ["would be started now" if held is None else f"would now be refused: {held}"]
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
