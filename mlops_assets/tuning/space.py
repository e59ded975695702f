"""The search space as numbers: Optuna's distributions, conditions, and the points of a finite
space. Knows no trials."""

import itertools
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mlops_assets.tuning.spec import Categorical, Dimension, FloatRange, IntRange

if TYPE_CHECKING:
    import optuna

Space = Mapping[str, Dimension]

LARGEST_GRID = 10_000
"""Search spaces of more points than this count as endless."""


def distributions(
    space: Space, parameters: Mapping[str, Any]
) -> dict[str, "optuna.distributions.BaseDistribution"]:
    """Optuna's distributions of the parameters that are active in `parameters`."""
    return {name: distribution(name, space[name]) for name in parameters}


def grid_size(space: Space) -> int | None:
    """How many different trials the space allows; None when endless or over `LARGEST_GRID`."""
    if any(_count(dimension) is None for dimension in space.values()):
        return None
    size = sum(1 for _ in itertools.islice(points(space), LARGEST_GRID + 1))
    return None if size > LARGEST_GRID else size


def ordered(space: Space) -> list[str]:
    """The names, those without a condition first."""
    # Conditions are one level deep, so parents are all among the unconditional ones. By name, so
    # that the order of the YAML's lines does not matter.
    return sorted(space, key=lambda name: (space[name].when is not None, name))


def is_active(dimension: Dimension, parameters: Mapping[str, Any]) -> bool:
    """Whether the parameter is searched, given the unconditional ones."""
    when = dimension.when
    return when is None or parameters[when.parameter] in when.is_in


def suggest(trial: "optuna.Trial", name: str, dimension: Dimension) -> Any:
    """The trial's value of one parameter, on the grid as the YAML would write it (0.3, not
    0.30000000000000004)."""
    if isinstance(dimension, FloatRange):
        value = trial.suggest_float(
            name, dimension.low, _reached(dimension), log=dimension.log, step=dimension.step
        )
        if dimension.step is None:
            return value
        return _snap(dimension, round((value - dimension.low) / dimension.step))
    if isinstance(dimension, IntRange):
        return trial.suggest_int(
            name, dimension.low, dimension.high, log=dimension.log, step=dimension.step or 1
        )
    return trial.suggest_categorical(name, dimension.choices)


def points(space: Space) -> Iterator[dict[str, Any]]:
    """Every point of a finite space."""
    free = [name for name in ordered(space) if space[name].when is None]
    bound = [name for name in ordered(space) if space[name].when is not None]
    for outer in itertools.product(*(_values(space[name]) for name in free)):
        parents = dict(zip(free, outer, strict=True))
        active = [name for name in bound if is_active(space[name], parents)]
        for inner in itertools.product(*(_values(space[name]) for name in active)):
            yield parents | dict(zip(active, inner, strict=True))


def identity(parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    """Equal for equal parameters only: true, 1 and 1.0 differ."""
    return tuple(sorted((name, repr(value)) for name, value in parameters.items()))


def distribution(name: str, dimension: Dimension) -> "optuna.distributions.BaseDistribution":
    """Optuna's distribution of one parameter."""
    from optuna import distributions as kinds

    if isinstance(dimension, FloatRange):
        return kinds.FloatDistribution(
            dimension.low, _reached(dimension), log=dimension.log, step=dimension.step
        )
    if isinstance(dimension, IntRange):
        return kinds.IntDistribution(
            dimension.low, dimension.high, log=dimension.log, step=dimension.step or 1
        )
    return kinds.CategoricalDistribution(dimension.choices)


def _reached(dimension: FloatRange) -> float:
    """The largest value a stepped range reaches; Optuna would warn and do the same."""
    if dimension.step is None:
        return dimension.high
    return _snap(dimension, _steps(dimension))


def _steps(dimension: FloatRange) -> int:
    span = Decimal(str(dimension.high)) - Decimal(str(dimension.low))
    return int(span // Decimal(str(dimension.step)))


def _count(dimension: Dimension) -> int | None:
    """Values of one dimension; None when endless or too many to list."""
    if isinstance(dimension, Categorical):
        return len(dimension.choices)
    if isinstance(dimension, IntRange):
        count = (dimension.high - dimension.low) // (dimension.step or 1) + 1
    elif dimension.low == dimension.high:
        count = 1
    elif dimension.step is None:
        return None
    else:
        count = _steps(dimension) + 1
    return count if count <= LARGEST_GRID else None


def _values(dimension: Dimension) -> list[Any]:
    if isinstance(dimension, Categorical):
        return list(dimension.choices)
    if isinstance(dimension, IntRange):
        return list(range(dimension.low, dimension.high + 1, dimension.step or 1))
    return [_snap(dimension, index) for index in range(_count(dimension) or 0)]


def _snap(dimension: FloatRange, index: int) -> float:
    return float(Decimal(str(dimension.low)) + Decimal(str(dimension.step or 0)) * index)
