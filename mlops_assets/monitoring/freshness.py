"""Whether profiles arrive, and if not, which of the possible reasons it is. Pure.

An endpoint is asked how many rows it has scored, what of them waits, and when the store last took a
profile; beside what has arrived on the store, that tells the reasons apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from mlops_assets.experiment.lengths import about
from mlops_assets.gateways.records import Arrival, ServingProfile
from mlops_assets.gateways.telemetry import ProfileLog, Telemetry, growth
from mlops_assets.monitoring.spec import MonitoringSpec

Finding = Literal["fresh", "no traffic", "dead endpoint", "dead log", "late window"]

COUNTED_LATE = timedelta(minutes=10)
"""By how much a platform's count of requests may be behind."""
CLOCKS = timedelta(minutes=5)
"""By how much the clocks of endpoint, store and this machine may differ."""


@dataclass(frozen=True)
class Standing:
    """What holds of one target, and why."""

    target: str
    finding: Finding
    reason: str
    window: str | None
    """Start of its newest window, ISO 8601."""


@dataclass(frozen=True)
class Freshness:
    """The verdict, and why."""

    passed: bool
    reason: str
    standings: tuple[Standing, ...]

    @property
    def finding(self) -> str:
        """What is found of the targets that are late, each once; `fresh` where none is."""
        found = [one.finding for one in self.standings if one.finding != "fresh"]
        return ", ".join(sorted(set(found))) or "fresh"

    @property
    def is_a_fault(self) -> bool:
        """Whether something is broken: that nobody asks is no fault of ours."""
        return any(one.finding not in ("fresh", "no traffic") for one in self.standings)


@dataclass(frozen=True)
class Past:
    """What is known of a target from before."""

    told: Telemetry | None = None
    """What it told the last time; None when that is not known."""
    probes: int = 0
    """How many of the requests since then may be the platform's own, where its count holds them."""
    stopped: bool = False
    """Whether somebody stopped it since the version went live."""


@dataclass(frozen=True)
class _Case:
    """One target, late or not."""

    told: Telemetry
    past: Past
    ended: datetime | None
    """Its newest window."""
    arrived: datetime | None
    """When the store last got a file of it."""
    age: str
    """Of its newest window, in words."""
    allowed: timedelta
    remarks: str
    """On files that do not count."""
    now: datetime


def judge(
    profile: ServingProfile,
    told: Sequence[Telemetry],
    spec: MonitoringSpec,
    *,
    now: datetime,
    past: Mapping[str, Past],
) -> Freshness:
    """A window that ended longer ago than `max_age_windows` needs a profile after it, of each
    target.

    Args:
        profile: the newest collection.
        told: what each endpoint says of itself now, at least one.
        spec: the `monitoring` section.
        now: aware.
        past: by target, as far as it is known.
    """
    standings = []
    for one in told:
        # Records of an older program do not tell targets apart.
        every = Arrival(profile.last, None) if not profile.arrivals else None
        arrival = profile.arrivals.get(one.target, every or Arrival(None, None))
        known = past.get(one.target, Past())
        standings.append(_standing(profile, one, arrival, spec, now, known))
    failing = [each for each in standings if each.finding != "fresh"]
    several = len(standings) > 1
    reason = "; ".join(
        f"{each.target}: {each.reason}" if several else each.reason for each in failing or standings
    )
    return Freshness(not failing, reason, tuple(standings))


def _standing(
    profile: ServingProfile,
    told: Telemetry,
    arrival: Arrival,
    spec: MonitoringSpec,
    now: datetime,
    past: Past,
) -> Standing:
    allowed = spec.max_age
    ended = None
    if arrival.window is None:
        age = now - datetime.fromisoformat(profile.live_since)
        said = f"version {profile.version} went live {_ago(age)} and has profiled nothing"
        in_time = f"{said} yet; a profile is due after {about(allowed)}"
    else:
        ended = datetime.fromisoformat(arrival.window) + timedelta(seconds=spec.window_seconds)
        age = max(now - ended, timedelta(0))
        said = f"the newest window ended {_ago(age)}" if age else "the newest window is still open"
        in_time = said = f"{said}; allowed: {about(allowed)}"
    written = None if arrival.written is None else datetime.fromisoformat(arrival.written)
    case = _Case(told, past, ended, written, said, allowed, _remarks(profile), now)
    finding: Finding
    if past.stopped and told.state == "silent":
        finding, reason = "fresh", f"it was stopped by `mlops stop`, and is not to answer; {said}"
    elif age > allowed:
        finding, reason = _cause(case)
    else:
        finding, reason = "fresh", in_time + _warning(case) + case.remarks
    return Standing(told.target, finding, reason, arrival.window)


def _warning(case: _Case) -> str:
    """What will make a profile late that is not late yet."""
    if case.told.state == "silent":
        return f"; the endpoint does not answer: {case.told.detail}"
    if case.told.log is not None and case.told.log.waiting_bytes:
        return f"; {_held(case.told, case.now)}"
    return ""


def _cause(case: _Case) -> tuple[Finding, str]:
    """Why nothing newer is there. The first that holds explains those after it."""
    told = case.told
    if told.state == "silent":
        return "dead endpoint", (
            f"dead endpoint: it does not answer ({told.detail}), and {case.age}. First look: "
            "`answers_probe`, then the log of the endpoint"
        )
    if case.arrived is not None and _arrives(case, case.arrived):
        return "late window", (
            f"late window: files arrive, the last one {_ago(case.now - case.arrived)}, but "
            f"{case.age}{case.remarks}. First look: the clock of the endpoint, then how long its "
            "files waited for the store"
        )
    if told.state == "unknown":
        return "late window", (
            f"late window: {case.age}; why is not known, as the platform does not tell "
            f"({told.detail}){case.remarks}. First look: the platform's own page of the endpoint"
        )
    asks_platform = told.by_platform or told.rows is None
    return _of_platform(case, told.requests) if asks_platform else _of_rows(case, told.rows or 0)


def _arrives(case: _Case, arrived: datetime) -> bool:
    """Whether files still come, other than the last of a window that was then over."""
    after = min(CLOCKS, case.allowed / 2)
    late = case.ended is None or arrived - case.ended > after
    return late and case.now - arrived <= case.allowed


def _of_rows(case: _Case, rows: int) -> tuple[Finding, str]:
    """By what the endpoint's own processes tell."""
    told, log = case.told, case.told.log
    if log is None and rows:
        return _dead_log(case, f"it has scored {rows:,} rows and keeps no profile of them")
    if log is not None and _is_stuck(log, case.past.told, rows):
        return _dead_log(case, _held(told, case.now))
    if log is not None and log.last_flush is not None:
        flushed = datetime.fromtimestamp(log.last_flush, UTC)
        if _is_elsewhere(case, flushed):
            last = "none" if case.arrived is None else f"the last {_ago(case.now - case.arrived)}"
            return _dead_log(
                case,
                f"its store took a profile {_ago(case.now - flushed)}, of its files {last} came",
                "whether it writes where this is read (`MLOPS_DATA_URL`), and what removes files "
                "there",
            )
    also = f", and has refused {told.refusals:,} requests" if told.refusals else ""
    return _no_traffic(case, f"it answers, has scored {rows:,} rows since it started{also}")


def _is_elsewhere(case: _Case, flushed: datetime) -> bool:
    """Whether what the store took last is not among the files."""
    if case.arrived is not None:
        return flushed - case.arrived > CLOCKS
    # Without any file: what was flushed long ago may have been removed since, as the YAML asks.
    return case.ended is None and case.now - flushed <= max(case.allowed, timedelta(days=1))


def _of_platform(case: _Case, requests: int) -> tuple[Finding, str]:
    """By the requests that the platform counts: of an endpoint that cannot be asked for more."""
    before = None if case.past.told is None else case.past.told.requests
    new = growth(requests, before)
    if new == 0:
        return _no_traffic(case, f"its platform has counted {requests:,} requests in all")
    if before is not None and new <= case.past.probes:
        return _no_traffic(
            case, f"the {new:,} requests that its platform has counted since are our own probes"
        )
    if refused := case.told.refused_alone(case.past.told):
        return _no_traffic(
            case, f"it has refused {refused:,} requests and scored no row since it was last asked"
        )
    if before is not None or (case.arrived is None and not case.told.counts_probes):
        return _dead_log(case, f"its platform has counted {new:,} requests since it was last asked")
    return "late window", (
        f"late window: {case.age}; its platform has counted {requests:,} requests in all, and the "
        f"next look will tell whether any is new{case.remarks}. First look: the platform's own "
        "page of the endpoint"
    )


def _no_traffic(case: _Case, seen: str) -> tuple[Finding, str]:
    return "no traffic", (
        f"no traffic: {seen}, nothing of which is missing, and {case.age}{case.remarks}. First "
        "look: whoever calls it"
    )


def _dead_log(
    case: _Case,
    seen: str,
    look: str = "the log of the endpoint, which names the store and its error",
) -> tuple[Finding, str]:
    return "dead log", f"dead log: {seen}; {case.age}{case.remarks}. First look: {look}"


def _is_stuck(log: ProfileLog, before: Telemetry | None, rows: int) -> bool:
    """Whether rows were scored whose profile the store has not taken."""
    if log.waiting_bytes or log.pending_rows:
        return True
    if log.last_flush is None:
        # Rows of the last seconds are on their way; of those that were there before, none is.
        old = before is not None and 0 < (before.rows or 0) <= rows
        return bool(old or log.flush_failures or log.dropped_rows)
    if before is None or before.log is None:
        return False
    lost = growth(log.dropped_rows, before.log.dropped_rows)
    failed = growth(log.flush_failures, before.log.flush_failures)
    return bool(lost or failed) and log.last_flush == before.log.last_flush


def _held(told: Telemetry, now: datetime) -> str:
    """The numbers of a log from which nothing reaches the store."""
    log = told.log
    if log is None:
        return ""
    flush = (
        "the store never took a profile"
        if log.last_flush is None
        else f"the store last took one {_ago(now - datetime.fromtimestamp(log.last_flush, UTC))}"
    )
    return (
        f"of {told.rows or 0:,} rows scored, {log.pending_rows:,} wait to be profiled and "
        f"{log.waiting_bytes / 1000:,.1f} kB for the store, {log.dropped_rows:,} were dropped; "
        f"{log.flush_failures:,} flushes failed, and {flush}"
    )


def _remarks(profile: ServingProfile) -> str:
    parts = [
        (len(profile.ahead), "files came before their windows began"),
        (profile.behind, "files came lately, of windows that were long over"),
        (len(profile.unreadable), "files are no profiles"),
    ]
    return "".join(f"; {count} {words}" for count, words in parts if count)


def _ago(age: timedelta) -> str:
    return f"{about(age)} ago"
