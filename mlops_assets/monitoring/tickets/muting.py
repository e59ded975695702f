"""Of which causes nothing is told now: by the YAML, or because somebody said so. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from mlops_assets.experiment.windows import holding
from mlops_assets.monitoring.tickets.findings import moment
from mlops_assets.monitoring.tickets.spec import MuteWindow

EVERYTHING = ""


@dataclass(frozen=True)
class Mute:
    """What somebody muted by hand."""

    cause: str
    """Empty: everything of the experiment."""
    until: float
    """Seconds since 1970."""
    reason: str
    by: str
    at: str
    """ISO 8601, UTC."""


@dataclass(frozen=True)
class Mutes:
    """All of them, of one experiment."""

    mutes: tuple[Mute, ...] = ()

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> "Mutes":
        return msgspec.json.decode(text, type=cls)

    def adding(self, mute: Mute, now: float) -> "Mutes":
        """Of each cause the newest counts; those that are over are forgotten."""
        return Mutes((*(m for m in self._lasting(now) if m.cause != mute.cause), mute))

    def removing(self, cause: str, now: float) -> "Mutes":
        """Without that of the cause; of everything, without any."""
        kept = [m for m in self._lasting(now) if cause not in (EVERYTHING, m.cause)]
        return Mutes(tuple(kept))

    def _lasting(self, now: float) -> list[Mute]:
        return [mute for mute in self.mutes if mute.until > now]


def is_meant(asked: str, cause: str) -> bool:
    """Whether a person who names a check, an asset or a whole cause means this one."""
    parts = (cause, cause.rpartition("/")[2])
    return asked in (EVERYTHING, *parts) or cause.startswith(f"{asked}/")


def muted(cause: str, windows: Sequence[MuteWindow], mutes: Mutes, now: float) -> str:
    """Until when and why nothing is told of a cause, in words; empty when it is told."""
    for mute in mutes.mutes:
        if mute.until > now and is_meant(mute.cause, cause):
            return f"muted until {moment(mute.until)} by {mute.by} ({mute.reason})"
    meant = [w for w in windows if not w.causes or any(is_meant(c, cause) for c in w.causes)]
    found = holding(meant, datetime.fromtimestamp(now, UTC))
    return f"muted until {moment(found[0])} ({found[1]})" if found else ""


def duration(text: str) -> timedelta:
    """`90m`, `2h`, `3d`: at most 30 days.

    Raises:
        ValueError: it is none of these.
    """
    units = {"m": "minutes", "h": "hours", "d": "days"}
    number, unit = text[:-1], text[-1:]
    if not number.isdecimal() or unit not in units or int(number) == 0:
        raise ValueError(f"{text!r} is no duration: write 90m, 2h or 3d")
    asked = timedelta(**{units[unit]: min(int(number), 1_000_000)})
    if asked > timedelta(days=30):
        raise ValueError(f"{text!r} is more than 30 days: name a shorter time")
    return asked
