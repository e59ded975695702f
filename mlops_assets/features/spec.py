"""The `features` section: where the data comes from and what each column means."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from mlops_assets.experiment.spec import Spec, discover, one_of
from mlops_assets.features import sources
from mlops_assets.features.sources.base import Source

if TYPE_CHECKING:
    AnySource = Source
else:
    AnySource = one_of(discover(sources, Source))

DeclaredType = Literal["numeric", "boolean", "categorical", "datetime"]


class SplitSpec(Spec):
    """How rows are divided into training and test."""

    kind: Literal["auto", "time", "group", "stratified", "random"] = "auto"
    """`time`: the newest rows are the test set. `group`: all rows of a group on one side.
    `stratified`: equal class shares. `random`: regression without time. `auto`: the first that
    the named columns and the task allow, in this order."""
    test_fraction: float = Field(default=0.2, gt=0.0, lt=0.9)
    """Share of the rows held out for evaluation."""
    folds: int = Field(default=5, ge=2, le=20)
    """Cross-validation folds within the training rows."""
    seed: int = Field(default=0, ge=0)
    """Changes which rows are held out. The same seed keeps a row on its side as data grows."""


class FeaturesSpec(Spec):
    """Where the data comes from and what its columns mean."""

    source: AnySource
    """The data source."""
    target: str = Field(min_length=1)
    """Column to predict."""
    positive: str | bool | int | None = None
    """Binary classification: the label whose probability is predicted, as the data writes it."""
    entity: str | None = None
    """Column that identifies what a row is about (a customer); never a feature."""
    event_time: str | None = None
    """Column with the time at which the features were true; never a feature."""
    label_time: str | None = None
    """Column with the time at which the label became known; never a feature. Training rows
    whose label became known after the test period began are left out."""
    group: str | None = None
    """Column whose rows must stay on one side of the split; never a feature."""
    exclude: tuple[str, ...] = ()
    """Columns that are not features: identifiers, leaks, free text."""
    columns: dict[str, DeclaredType] = Field(default_factory=dict)
    """Types that overrule what is inferred from the data."""
    split: SplitSpec = Field(default_factory=SplitSpec)

    @model_validator(mode="after")
    def _check_roles(self) -> "FeaturesSpec":
        if self.target in self.exclude:
            raise ValueError(f"target {self.target!r} cannot be excluded")
        for role in ("entity", "event_time", "label_time", "group"):
            if getattr(self, role) == self.target:
                raise ValueError(f"{role} cannot be the target {self.target!r}")
        if self.split.kind == "time" and self.event_time is None:
            raise ValueError("split kind 'time' needs event_time, the column to split on")
        if self.split.kind == "group" and self.group is None:
            raise ValueError("split kind 'group' needs group, the column to split on")
        if self.label_time is not None and self.event_time is None:
            raise ValueError("label_time needs event_time, the time the features were true")
        return self

    @property
    def roles(self) -> tuple[str, ...]:
        """Columns that are named in the YAML and are never features."""
        named = (self.target, self.entity, self.event_time, self.label_time, self.group)
        return tuple(name for name in named if name is not None) + self.exclude
