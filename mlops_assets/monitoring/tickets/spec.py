"""The key `monitoring.tickets`: who is told of what is wrong, and when not."""

from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from mlops_assets.experiment.spec import Spec, discover, one_of
from mlops_assets.experiment.windows import ClockWindow
from mlops_assets.monitoring import sinks
from mlops_assets.monitoring.sinks.base import Sink

if TYPE_CHECKING:
    AnySink = Sink
else:
    AnySink = one_of(discover(sinks, Sink))


class MuteWindow(ClockWindow):
    """A time in which no ticket is opened or updated: once, or every week. What still holds when it
    is over is told then."""

    causes: tuple[str, ...] = ()
    """Checks or other causes (`has_not_drifted`, `runs/retrain`); by default all."""


class TicketsSpec(Spec):
    """Who is told when a check fails, a run breaks or an endpoint is gone. Without sinks tickets
    are kept all the same: `mlops tickets` lists them."""

    sinks: tuple[AnySink, ...] = ()
    """Each is told of every ticket that is bad enough for it."""
    mute: tuple[MuteWindow, ...] = ()
    """When nothing is told; `mlops mute` does it once."""
    reopen_hours: float = Field(default=24.0, ge=0, le=720)
    """A cause that comes back within this time re-opens its ticket; later it gets a new one."""

    @field_validator("sinks")
    @classmethod
    def _check_names(cls, value: tuple[Sink, ...]) -> tuple[Sink, ...]:
        names = [sink.name for sink in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} is there twice: every ticket would come twice")
        return value
