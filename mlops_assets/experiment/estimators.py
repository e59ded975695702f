"""Does the estimator of an experiment exist, fit the task, and take the parameters the YAML names?

Imports the estimator's library, and is therefore not part of loading.
"""

import inspect
from typing import TYPE_CHECKING, Any

from mlops_assets.experiment.document import KeyPath
from mlops_assets.experiment.problems import suggestion
from mlops_assets.modeling.conversion import refusal
from mlops_assets.modeling.pipeline import EstimatorError, estimator_class
from mlops_assets.tuning.spec import Categorical

if TYPE_CHECKING:
    from mlops_assets.experiment.model import Experiment

ESTIMATOR: KeyPath = ("training", "estimator")
PARAMETERS: KeyPath = ("training", "parameters")
SEARCH_SPACE: KeyPath = ("tuning", "search_space")


def problems(experiment: "Experiment") -> list[tuple[KeyPath, str]]:
    """Key path and sentence of everything the estimator would refuse."""
    path = experiment.training.estimator
    try:
        found = estimator_class(path, experiment.task)
        if experiment.training.runtime == "onnx":
            refusal.check(found(), experiment.training.parameters)
    except EstimatorError as error:
        return [(ESTIMATOR, str(error))]
    named: list[tuple[KeyPath, str, list[Any]]] = [
        ((*PARAMETERS, name), name, [value])
        for name, value in experiment.training.parameters.items()
    ]
    for name, dimension in experiment.tuning.search_space.items():
        ends = (
            list(dimension.choices)
            if isinstance(dimension, Categorical)
            else [dimension.low, dimension.high]
        )
        named.append(((*SEARCH_SPACE, name), name, ends))
    known, open_ended = _signature(found)
    result = []
    for key, name, tried in named:
        if name not in known and not open_ended:
            class_name = path.rpartition(".")[2]
            message = (
                f"{class_name} has no parameter {name!r}{suggestion(name, known)}; "
                f"it has {', '.join(sorted(known))}"
            )
            result.append((key, message))
        else:
            result += [(key, fault) for fault in _refused(found, name, tried)]
    return result


def _signature(estimator: type[Any]) -> tuple[set[str], bool]:
    """Names of the parameters, and whether others are passed on (`**kwargs`)."""
    parameters = inspect.signature(estimator).parameters.values()
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    return set(estimator().get_params()), open_ended


def _refused(estimator: type[Any], name: str, tried: list[Any]) -> list[str]:
    """What scikit-learn's own declaration of the parameter says of the values."""
    if not hasattr(estimator, "_parameter_constraints"):
        return []
    for value in tried:
        try:
            estimator(**{name: value})._validate_params()
        except ValueError as error:
            return [" ".join(str(error).split())]
    return []
