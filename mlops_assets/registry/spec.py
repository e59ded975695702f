"""The `registry` section: what a model must be to become a version, and the champion."""

import hashlib
import json
from typing import Literal

from pydantic import Field, model_validator

from mlops_assets.experiment.spec import Spec, digest_of
from mlops_assets.experiment.windows import ClockWindow
from mlops_assets.modeling.tasks import MetricName

Rule = Literal["superior", "non_inferior", "not_proven_worse"]
CardSection = Literal["intended_use", "out_of_scope", "limitations", "ethics"]


class MetricRule(Spec):
    """What one metric must show. Give a `rule` against the champion, a `floor`, or both."""

    rule: Rule | None = None
    """Against the champion on the same rows. `superior`: better, the whole interval of the
    difference on the better side of 0. `non_inferior`: not worse by `margin` or more, the whole
    interval on the better side of it. `not_proven_worse`: the interval does not lie wholly beyond
    `margin`; passes when rows are too few to tell."""
    margin: float = Field(default=0.0, ge=0)
    """How much worse than the champion is still good enough, in the metric's own units."""
    floor: float | None = None
    """The worst acceptable value (of losses and errors the largest), whatever the champion."""

    @model_validator(mode="after")
    def _check_it_says_something(self) -> "MetricRule":
        if self.rule is None and self.floor is None:
            raise ValueError(
                "needs a rule (superior, non_inferior, not_proven_worse), a floor, or both"
            )
        if self.margin and self.rule not in ("non_inferior", "not_proven_worse"):
            raise ValueError("a margin is for the rules non_inferior and not_proven_worse")
        if self.rule == "non_inferior" and not self.margin:
            raise ValueError(
                "non_inferior needs a margin above 0; use superior for a model that must be better"
            )
        return self


class SliceRules(Spec):
    """What must hold on every slice: the rows of each value of each column of
    `training.slices`, numbers in quarters."""

    smallest: int = Field(default=200, ge=30)
    """Slices of fewer held-out rows are not judged."""
    metrics: dict[MetricName, MetricRule] = Field(default_factory=dict)
    """As `promotion.metrics`, on each slice. By default what tuning optimised must be
    `not_proven_worse`."""


class Budgets(Spec):
    """What a model may cost at most, each measured on the held-out rows; none by default."""

    calibration_error: float | None = Field(default=None, gt=0, le=1)
    """Classification: expected calibration error over ten bins of equally many rows."""
    latency_ms: float | None = Field(default=None, gt=0)
    """Median milliseconds to score one row with the bundle, in process."""
    bundle_mb: float | None = Field(default=None, gt=0)
    """Size of the serving bundle, in millions of bytes."""
    changed_predictions: float | None = Field(default=None, ge=0, le=1)
    """Share of rows for which it predicts another label than the champion; in a regression, a
    value further away than a tenth of the labels' standard deviation."""


class Freeze(ClockWindow):
    """A time in which no version becomes the champion by itself, or by an approval that is not
    forced: once, or every week."""


class CardSpec(Spec):
    """What only people know of a model, for its card (Mitchell et al. 2019)."""

    intended_use: str = ""
    """Who uses the predictions, and for which decision."""
    out_of_scope: str = ""
    """What it must not be used for."""
    limitations: str = ""
    """Where it is known to be weak: rows, groups or times it was not trained for."""
    ethics: str = ""
    """Whom its mistakes harm, and what is done about it."""

    def written(self) -> dict[CardSection, str]:
        """The sections that say something, in the order of a card."""
        texts: dict[CardSection, str] = {
            "intended_use": self.intended_use,
            "out_of_scope": self.out_of_scope,
            "limitations": self.limitations,
            "ethics": self.ethics,
        }
        return {section: text.strip() for section, text in texts.items() if text.strip()}

    def markdown(self) -> str:
        """What is written, under a heading for each section."""
        titles: dict[CardSection, str] = {
            "intended_use": "Intended use",
            "out_of_scope": "Out of scope",
            "limitations": "Limitations",
            "ethics": "Ethical considerations",
        }
        return "\n\n".join(f"## {titles[key]}\n\n{text}" for key, text in self.written().items())


class PromotionSpec(Spec):
    """What a model must show to become a version, and the champion. Every rule must hold."""

    approval: Literal["automatic", "manual"] = "automatic"
    """`automatic`: a version that passes the gates becomes the champion. `manual`: it stays
    challenger until somebody other than its author approves it, by `mlops promote` or by tags in
    MLflow."""
    required: tuple[CardSection, ...] = ("intended_use", "limitations")
    """Sections of `registry.card` that must be written before a person may approve a version."""
    freeze: tuple[Freeze, ...] = ()
    """When no version becomes the champion; what passes the gates then waits until it is over."""
    by_hand: Literal["accept", "report", "put_back"] = "report"
    """When the alias `champion` was moved in MLflow around all this: `accept` it and write it down,
    `report` it besides, or also `put_back` the alias. A refused version is never deployed."""
    metrics: dict[MetricName, MetricRule] = Field(default_factory=dict)
    """What each metric must show on the held-out rows. Where none has a `rule`, what tuning
    optimised must be `superior`."""
    slices: SliceRules = Field(default_factory=SliceRules)
    budgets: Budgets = Field(default_factory=Budgets)
    level: float = Field(default=0.025, ge=0.001, le=0.2)
    """How often chance alone may pass a rule against the champion: the one-sided level of a paired
    bootstrap. 0.025 asks for the 95% interval, 0.05 for the 90% interval."""
    incomparable: Literal["refuse", "floors_only"] = "refuse"
    """When there is a champion that cannot be scored on these rows: `refuse` the new model, or
    judge it by floors and budgets alone."""

    def resolved(self, tuned: MetricName) -> "PromotionSpec":
        """The same with the defaults that follow from the metric that tuning optimised."""
        metrics, on_slices = dict(self.metrics), dict(self.slices.metrics)
        if not any(each.rule for each in metrics.values()):
            floor = metrics[tuned].floor if tuned in metrics else None
            metrics[tuned] = MetricRule(rule="superior", floor=floor)
        if not on_slices:
            on_slices[tuned] = MetricRule(rule="not_proven_worse")
        slices = self.slices.model_copy(update={"metrics": on_slices})
        return self.model_copy(update={"metrics": metrics, "slices": slices})

    def asks(self) -> str:
        """Fingerprint of what must be measured: changes with rules and the level, not with floors,
        margins and budgets, which judge what was measured."""
        asked = {
            "metrics": {name: each.rule for name, each in self.metrics.items() if each.rule},
            "slices": {name: each.rule for name, each in self.slices.metrics.items()},
            "smallest": self.slices.smallest,
            "level": self.level,
        }
        canonical = json.dumps(asked, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]


class RetentionSpec(Spec):
    """What is kept of the past. Whatever is live, has an alias or may be rolled back to is kept
    besides, however old it is."""

    apply: bool = False
    """Whether the daily job `retention` removes anything. Off, it says what it would remove."""
    keep_versions: int = Field(default=20, ge=2)
    """The newest versions that are kept, of any age."""
    keep_days: int = Field(default=90, ge=1)
    """Days for which every version, run, study, snapshot, training set and record is kept."""
    keep_traffic_days: int = Field(default=90, ge=1)
    """Days for which the profiles and the prediction log of kept versions are kept; the newest
    windows, which drift is judged by, always are."""


class RegistrySpec(Spec):
    """What a model must be to become a version, and the champion."""

    model_name: str | None = None
    """Name in the MLflow registry; by default the experiment's."""
    promotion: PromotionSpec = Field(default_factory=PromotionSpec)
    card: CardSpec = Field(default_factory=CardSpec)
    retention: RetentionSpec = Field(default_factory=RetentionSpec)

    def fingerprint(self) -> str:
        """Of the gates: how long old versions are kept, what people write on the card, and who may
        promote when, make no asset stale."""
        values = self.model_dump(mode="json", exclude={"retention", "card"})
        for key in ("required", "freeze", "by_hand"):
            del values["promotion"][key]
        return digest_of(values)
