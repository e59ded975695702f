"""Whether profiles arrive, and if not, which of the possible reasons it is. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mlops_assets.gateways.records import ServingProfile
from mlops_assets.monitoring.spec import MonitoringSpec


@dataclass(frozen=True)
class Freshness:
    """The verdict, and why."""

    passed: bool
    reason: str


def judge(profile: ServingProfile, spec: MonitoringSpec, *, now: datetime) -> Freshness:
    """A window that ended longer ago than `max_age_windows` needs a profile after it.

    Args:
        profile: the newest collection.
        spec: the `monitoring` section.
        now: aware.
    """
    allowed = timedelta(seconds=spec.window_seconds * spec.max_age_windows)
    if profile.last is None:
        age = now - datetime.fromisoformat(profile.live_since)
        words = f"version {profile.version} went live {_ago(age)} and has profiled nothing"
        if age <= allowed:
            return Freshness(True, f"{words} yet; a profile is due after {_long(allowed)}")
        return Freshness(False, f"{words}: no traffic, or its profiles do not arrive")
    ended = datetime.fromisoformat(profile.last) + timedelta(seconds=spec.window_seconds)
    age = max(now - ended, timedelta(0))
    words = f"the newest window ended {_ago(age)}" if age else "the newest window is still open"
    return Freshness(age <= allowed, f"{words}; allowed: {_long(allowed)}")


def _ago(age: timedelta) -> str:
    return f"{_long(age)} ago"


def _long(span: timedelta) -> str:
    seconds = span.total_seconds()
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
