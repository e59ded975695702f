"""The `monitoring` section: profile windows, freshness and drift."""

from typing import Literal

from pydantic import Field

from mlops_assets.experiment.spec import Spec

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


class MonitoringSpec(Spec):
    """Profile windows, freshness and drift."""

    window: Window = "hour"
    """Length of one profile window."""
    lookback: int = Field(default=24, ge=1, le=1000)
    """How many of the newest windows are judged together."""
    max_age_windows: int = Field(default=2, ge=1)
    """`profile_is_fresh` fails when the newest profile is older than this many windows."""
    drift: DriftSpec = Field(default_factory=DriftSpec)

    @property
    def window_seconds(self) -> int:
        return WINDOW_SECONDS[self.window]
