"""The `monitoring` section: profile windows, the prediction log, freshness and drift."""

from typing import Literal

from pydantic import Field

from mlops_assets.experiment.spec import Spec
from mlops_assets.serving.recording import Recording

Window = Literal["minute", "hour", "day", "week"]

WINDOW_SECONDS: dict[Window, int] = {"minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}


class DriftSpec(Spec):
    """When a column counts as drifted."""

    threshold: float = Field(default=0.2, gt=0)
    """Population stability index above which a column has drifted."""
    min_rows: int = Field(default=200, ge=20)
    """Rows a serving profile needs before it is judged."""
    columns: tuple[str, ...] | None = None
    """Columns to judge; by default every feature and the prediction."""


class PredictionLogSpec(Spec):
    """The rows that endpoints score, as Parquet."""

    sample: float = Field(default=1.0, gt=0, le=1)
    """Share of the requests whose rows are kept; all replicas choose the same requests."""
    columns: tuple[str, ...] | None = None
    """Features to keep beside prediction, time and entity; by default all."""


class MonitoringSpec(Spec):
    """Profile windows, the prediction log, freshness and drift."""

    window: Window = "hour"
    """Length of one profile window."""
    lookback: int = Field(default=24, ge=1, le=1000)
    """How many of the newest windows are judged together."""
    max_age_windows: int = Field(default=2, ge=1)
    """`profile_is_fresh` fails when the newest profile is older than this many windows."""
    drift: DriftSpec = Field(default_factory=DriftSpec)
    prediction_log: PredictionLogSpec | None = None
    """Keep the rows that endpoints score. Off by default: they may hold personal data."""

    @property
    def window_seconds(self) -> int:
        return WINDOW_SECONDS[self.window]

    def recording(self, *, profiles_url: str, log_url: str) -> Recording:
        """What an endpoint keeps of its traffic under these rules.

        Args:
            profiles_url: folder that takes the profiles of its version and target.
            log_url: the same for the prediction log, if there is one.
        """
        rows = self.prediction_log
        return Recording(
            profiles_url=profiles_url,
            window_seconds=self.window_seconds,
            log_url=None if rows is None else log_url,
            log_sample=1.0 if rows is None else rows.sample,
            log_columns=None if rows is None else rows.columns,
        )
