"""The `tuning` section: which parameters are searched, how, and for how long."""

from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mlops_assets.experiment.spec import Spec
from mlops_assets.modeling.tasks import MetricName

Choice = str | int | float | bool | None


class When(Spec):
    """The parameter is searched only when another one took one of these values."""

    parameter: str
    """A categorical parameter of the same search space."""
    is_in: tuple[Choice, ...] = Field(min_length=1)
    """Values of that parameter."""


class FloatRange(Spec):
    """A real number between two bounds, both included."""

    type: Literal["float"]
    low: float
    """Smallest value."""
    high: float
    """Largest value."""
    log: bool = False
    """Search on a logarithmic scale."""
    step: float | None = Field(default=None, gt=0)
    """Search multiples of this above `low`."""
    when: When | None = None

    @model_validator(mode="after")
    def _check_bounds(self) -> "FloatRange":
        _check_bounds(self.low, self.high, self.log, self.step)
        return self


class IntRange(Spec):
    """A whole number between two bounds, both included."""

    type: Literal["int"]
    low: int
    """Smallest value."""
    high: int
    """Largest value."""
    log: bool = False
    """Search on a logarithmic scale."""
    step: int | None = Field(default=None, gt=0)
    """Search multiples of this above `low`."""
    when: When | None = None

    @model_validator(mode="after")
    def _check_bounds(self) -> "IntRange":
        _check_bounds(self.low, self.high, self.log, self.step)
        if self.step is not None and (self.high - self.low) % self.step:
            raise ValueError(
                f"high ({self.high}) is not reached from low ({self.low}) by steps of {self.step}"
            )
        return self


class Categorical(Spec):
    """One of a list of values."""

    type: Literal["categorical"]
    choices: tuple[Choice, ...] = Field(min_length=1)
    """The values."""
    when: When | None = None

    @model_validator(mode="after")
    def _check_choices(self) -> "Categorical":
        # Python, and with it Optuna, takes 1, 1.0 and true for the same choice.
        if len(set(self.choices)) < len(self.choices):
            raise ValueError("choices holds a value twice; 1, 1.0 and true are one value")
        return self


Dimension = Annotated[FloatRange | IntRange | Categorical, Field(discriminator="type")]


class TuningSpec(Spec):
    """Which parameters are searched, how, and for how long."""

    metric: MetricName | None = None
    """What is optimised, averaged over the folds; by default the task's usual metric."""
    n_trials: int = Field(default=40, ge=1, le=100_000)
    """Trials of the study. Raise it and run again: finished trials are kept."""
    timeout_minutes: float | None = Field(default=None, gt=0)
    """Start no further trial after this long; the best one so far is used."""
    workers: int | None = Field(default=None, ge=1, le=256)
    """Parallel trials; by default one per core. The result does not depend on it."""
    seed: int = Field(default=0, ge=0)
    """Equal seed, data and section give equal trials."""
    pruning: bool = True
    """Give up a trial whose running score is worse than the median of the others' so far."""
    search_space: dict[str, Dimension] = Field(default_factory=dict)
    """Parameters of the estimator by name. Empty: the estimator is used as it stands."""

    @model_validator(mode="after")
    def _check_conditions(self) -> "TuningSpec":
        _check_conditions(self.search_space)
        return self


def _check_bounds(low: float, high: float, log: bool, step: float | None) -> None:
    if not (isfinite(low) and isfinite(high)):
        raise ValueError(f"bounds must be finite, not {low} and {high}")
    if low > high:
        raise ValueError(f"bounds reversed: low ({low}) is above high ({high})")
    if log and low <= 0:
        raise ValueError(f"a logarithmic scale needs low above 0, not {low}")
    if log and step is not None:
        raise ValueError("log and step exclude each other")


def _check_conditions(space: Mapping[str, Any]) -> None:
    for name, dimension in space.items():
        if dimension.when is None:
            continue
        parent = space.get(dimension.when.parameter)
        if not isinstance(parent, Categorical):
            raise ValueError(  # noqa: TRY004 - pydantic reports ValueError only
                f"{name}: when.parameter {dimension.when.parameter!r} is not a categorical "
                "parameter of the search space"
            )
        if parent.when is not None:
            raise ValueError(f"{name}: conditions are one level deep")
        if unknown := [v for v in dimension.when.is_in if v not in parent.choices]:
            raise ValueError(
                f"{name}: when.is_in holds {unknown}, which {dimension.when.parameter!r} "
                f"never is; its choices are {list(parent.choices)}"
            )
