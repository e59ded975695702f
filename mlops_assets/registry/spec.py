"""The `registry` section: what a model must be to become a version, and the champion."""

from typing import Literal

from pydantic import Field

from mlops_assets.experiment.spec import Spec, digest_of
from mlops_assets.modeling.tasks import MetricName


class ChampionGate(Spec):
    """The new model must not be worse than the champion, on the same held-out rows."""

    metric: MetricName | None = None
    """What is compared; by default what tuning optimised."""
    margin: float = Field(default=0.01, ge=0)
    """How much worse it may be: points of a score such as `roc_auc` or `r2`, a share of the
    champion's value for a loss or an error such as `log_loss` or `rmse`."""


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
    floors: dict[MetricName, float] = Field(default_factory=dict)
    """Per metric the worst acceptable value on the held-out rows (for losses and errors: the
    largest)."""
    champion: ChampionGate = Field(default_factory=ChampionGate)
    promotion: Literal["automatic", "manual"] = "automatic"
    """`automatic`: a version that passes the gates becomes the champion. `manual`: it stays
    challenger until somebody sets the alias `champion` in MLflow."""
    retention: RetentionSpec = Field(default_factory=RetentionSpec)

    def fingerprint(self) -> str:
        """Of the gates: how long old versions are kept makes no asset stale."""
        return digest_of(self.model_dump(mode="json", exclude={"retention"}))
