"""When a retraining is asked for: from the clock and from what checks said last. Pure."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim

from mlops_assets.training.retraining.cases import Case, Trigger
from mlops_assets.training.spec import Retrain


@dataclass(frozen=True)
class Evaluation:
    """The last finished evaluation of a check."""

    check: str
    trigger: Trigger
    passed: bool
    at: float
    """Seconds since 1970."""
    version: str = ""
    """The version that was judged, where the check says so."""
    words: str = ""


def following(line: str, timezone: str, since: datetime) -> datetime:
    """The first time after `since` that the cron line names, in its zone.

    A time that does not exist, when clocks go forward, comes right after the gap; one that exists
    twice, when they go back, comes once unless the line names every hour (as Debian's cron).
    """
    times = CronSim(line, since.astimezone(ZoneInfo(timezone)))
    # In the hour that exists twice it forgets which of the two it began in, and looks back.
    return next(at for at in times if at.astimezone(UTC) > since.astimezone(UTC))


@functools.lru_cache(maxsize=64)
def due(line: str, timezone: str, *, since: datetime, now: datetime) -> datetime | None:
    """The first time that the cron line names after `since`, unless it is after `now`."""
    first = following(line, timezone, since)
    return first if first <= now else None


def by_the_clock(spec: Retrain, case: Case, *, since: datetime, now: datetime) -> Case:
    """After the cron line and the looks for labels were considered from `since` until `now`:
    however many times have passed, each asks once."""
    if spec.cron is not None and (at := due(spec.cron, spec.timezone, since=since, now=now)):
        words = f"cron {spec.cron} ({spec.timezone}), due {at.isoformat(timespec='minutes')}"
        case = case.asking("cron", words, now)
    if spec.new_labels is not None and due(spec.look, spec.timezone, since=since, now=now):
        case = case.asking("labels", f"a look for {spec.new_labels} new labels", now)
    return case


def by_checks(
    spec: Retrain,
    case: Case,
    evaluations: Iterable[Evaluation],
    *,
    registered_at: float,
    now: datetime,
) -> Case:
    """After a look at the checks that may ask for a retraining.

    A check that begins to fail asks at once, and so does one that fails for another version than
    before. While it goes on failing it asks at the times of `look`: whether there is new data is
    seen then. What failed before the newest version was registered is no reason to make another.

    Args:
        spec: of the experiment.
        case: before.
        evaluations: the last one of each check that was ever evaluated and is not being evaluated
            now.
        registered_at: when the newest version was registered, in seconds since 1970; 0 for never.
        now: aware.
    """
    looks = bool(case.looked) and due(
        spec.look, spec.timezone, since=datetime.fromisoformat(case.looked), now=now
    )
    failing, asked = dict(case.failing), False
    for each in evaluations:
        if each.passed:
            failing.pop(each.check, None)
            continue
        if each.at <= registered_at:
            continue
        begins = failing.get(each.check) != each.version
        failing[each.check] = each.version
        if begins or looks:
            case, asked = case.asking(each.trigger, each.words, now), True
    if not failing:
        case = _withdrawn(case)
        return replace(case, failing={}, looked="")
    anew = asked or looks or not case.looked
    return replace(
        case,
        failing=failing,
        looked=now.isoformat(timespec="seconds") if anew else case.looked,
    )


def _withdrawn(case: Case) -> Case:
    """No check fails any more: what was not begun on their account need not be."""
    if case.key:
        return case
    asked = {k: words for k, words in case.asked.items() if k not in ("drift", "quality")}
    return replace(case, asked=asked, asked_at=case.asked_at if asked else "")
