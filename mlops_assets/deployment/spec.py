"""The `deployment` section: where the champion is served, and how a new one gets there."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from mlops_assets.deployment import targets
from mlops_assets.deployment.batch.spec import BatchSpec
from mlops_assets.deployment.judge import Limits
from mlops_assets.deployment.targets.base import Target
from mlops_assets.experiment.spec import Spec, discover, kind_of, one_of

if TYPE_CHECKING:
    AnyTarget = Target
else:
    AnyTarget = one_of(discover(targets, Target))

Percent = Annotated[float, Field(gt=0, lt=100)]
Share = Annotated[float, Field(ge=0, le=1)]


class PreflightSpec(Spec):
    """What a version must show on the real server before it is deployed anywhere."""

    requests: int = Field(default=200, ge=1, le=100_000)
    """Requests of one row that are timed."""
    max_latency_ms: float | None = Field(default=None, gt=0)
    """Milliseconds that 99 of 100 of them may take. None: reported only."""
    max_memory_mb: float | None = Field(default=None, gt=0)
    """Megabytes its process may hold after them. None: reported only."""

    def reported_only(self) -> Self:
        """The same without budgets."""
        return self.model_copy(update={"max_latency_ms": None, "max_memory_mb": None})


class ShadowSpec(Spec):
    """What a version must say of the rows that the live version has answered, before it is
    deployed. Needs `monitoring.prediction_log`."""

    rows: int = Field(default=1000, ge=1, le=1_000_000)
    """Logged rows it scores, the newest first."""
    hours: float = Field(default=24.0, gt=0, le=8760)
    """How old they may be."""
    wait_s: float = Field(default=0.0, ge=0, le=604_800)
    """Seconds to wait for as many; then fewer are enough, unless there is none."""
    min_agreement: Share = 0.0
    """Share of the rows, 0 to 1, to which it must give the live version's label; 0 reports only."""
    max_score_shift: float = Field(default=1.0, ge=0)
    """How far its scores may be away on average: probabilities from 0 to 1, a regression's values
    in standard deviations of those answered."""


class RolloutSpec(Spec):
    """How a new version takes over the traffic, on targets that can split it."""

    steps: tuple[Percent, ...] = ()
    """Percent of the traffic it gets first, ascending, as in `[5, 25]`; then it gets all."""
    bake_s: float = Field(default=300.0, ge=0, le=604_800)
    """Seconds each step lasts at least."""
    timeout_s: float = Field(default=3600.0, gt=0, le=604_800)
    """Seconds each step lasts at most."""
    interval_s: float = Field(default=10.0, gt=0, le=3600)
    """Seconds from one look at the traffic to the next."""
    blind_s: float = Field(default=60.0, ge=0, le=3600)
    """Seconds for which looks at the traffic may fail, one after the other: a moment without an
    answer says nothing of a version. One that lasts longer ends the rollout."""
    min_requests: int = Field(default=200, ge=1)
    """Requests a step must see."""
    max_extra_errors: Share = 0.01
    """How much larger its share of failed requests may be than the old version's, 0 to 1."""
    slow_ms: float = Field(default=250.0, gt=0)
    """Milliseconds after which an answer is slow."""
    max_extra_slow: Share = 0.05
    """How much larger its share of slow answers may be, 0 to 1."""
    max_prediction_shift: Share = 0.2
    """How far the shares of its labels, or the distribution of its values, may be from the old
    version's, 0 to 1."""
    confidence: float = Field(default=0.99, gt=0.5, lt=1)
    """Of the verdict that it does harm, at each step."""
    when_unsure: Literal["roll_back", "go_on"] = "roll_back"
    """What happens when a step times out without a verdict, for lack of traffic for instance."""

    @property
    def limits(self) -> Limits:
        return Limits(
            errors=self.max_extra_errors,
            slow=self.max_extra_slow,
            slow_ms=self.slow_ms,
            predictions=self.max_prediction_shift,
            requests=self.min_requests,
            confidence=self.confidence,
        )

    @field_validator("steps")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError(f"{list(value)} does not ascend")
        return value

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.timeout_s < self.bake_s:
            raise ValueError(f"timeout_s ({self.timeout_s:g}) is below bake_s ({self.bake_s:g})")
        return self


class DeploymentSpec(Spec):
    """Where the champion is served, and how a new one gets there."""

    targets: tuple[AnyTarget, ...] = Field(min_length=1)
    """Targets, one endpoint each."""
    preflight: PreflightSpec = PreflightSpec()
    """What a version must show before it is deployed."""
    shadow: ShadowSpec | None = None
    """What it must say of rows that the live version has answered; not asked by default."""
    rollout: RolloutSpec = RolloutSpec()
    """How it takes over the traffic."""
    batch: tuple[BatchSpec, ...] = ()
    """Tables that are scored whole."""
    repair: bool = False
    """Deploy again when an endpoint does not serve the champion, as after a change by hand.
    Otherwise that is reported only."""

    @field_validator("targets")
    @classmethod
    def _check_kinds(cls, value: tuple[Target, ...]) -> tuple[Target, ...]:
        kinds = [kind_of(type(target)) for target in value]
        if twice := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
            raise ValueError(f"target kind {', '.join(twice)} stands twice; one endpoint per kind")
        return value

    @field_validator("batch")
    @classmethod
    def _check_names(cls, value: tuple[BatchSpec, ...]) -> tuple[BatchSpec, ...]:
        names = [one.name for one in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the name {twice[0]} stands twice")
        return value

    @model_validator(mode="after")
    def _can_split(self) -> Self:
        if self.rollout.steps and not any(target.splits for target in self.targets):
            kinds = ", ".join(kind_of(type(target)) for target in self.targets)
            raise ValueError(
                f"rollout.steps: {kinds} gives a new version all of the traffic at once; leave "
                "the steps out"
            )
        return self
