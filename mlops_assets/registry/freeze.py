"""Until when nothing may become the champion. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mlops_assets.experiment.windows import holding
from mlops_assets.registry.spec import Freeze


@dataclass(frozen=True)
class Frozen:
    """Why nothing becomes the champion now."""

    until: datetime
    """Aware, UTC: the first moment at which no window holds any more."""
    reason: str
    """Of the window that holds now and ends last."""

    def words(self) -> str:
        return f"frozen until {self.until.isoformat(timespec='minutes')} ({self.reason})"


def frozen(windows: Sequence[Freeze], now: datetime) -> Frozen | None:
    """Whether `now` (aware) lies in any of the windows; windows that touch are one."""
    found = holding(windows, now)
    return None if found is None else Frozen(*found)
