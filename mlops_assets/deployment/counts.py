"""Counts of traffic: added up over what counts them, and how they grow meanwhile. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import replace

from mlops_assets.deployment.targets.base import Counts, Traffic
from mlops_assets.gateways.telemetry import ProfileLog

NOTHING = Traffic(requests=0, errors=0, slow=0, rows=0, predictions={})


def total(parts: Iterable[Traffic]) -> Traffic:
    """All of them together."""
    found = list(parts)
    rows = [one.rows for one in found if one.rows is not None]
    return Traffic(
        requests=sum(one.requests for one in found),
        errors=sum(one.errors for one in found),
        slow=sum(one.slow for one in found),
        rows=sum(rows) if len(rows) == len(found) else None,
        predictions=_sums(one.predictions for one in found),
        refused=_sums(one.refused for one in found),
        log=_log([one.log for one in found if one.log is not None]),
    )


class Growth:
    """What versions answered since the first look, by what counts it.

    Sources come and go meanwhile, as pods do: what one counted before it went stays, and one that
    is seen for the first time counts from what it says then, because that may be older.
    """

    def __init__(self, *, restarts: bool) -> None:
        """Nothing is seen yet.

        Args:
            restarts: whether counts that fell are those of a process that began anew; else they are
                a platform's, which corrects itself.
        """
        self._restarts = restarts
        self._last: dict[tuple[int, str], Traffic] = {}
        self._grown: dict[int, Traffic] = {}

    def look(self, now: Counts) -> None:
        for version, sources in now.items():
            for source, one in sources.items():
                last = self._last.get((version, source), one)
                fell = one.requests < last.requests
                if fell and not self._restarts:
                    continue
                grown = _difference(one, NOTHING if fell else last)
                self._grown[version] = _added(self._grown.get(version, NOTHING), grown)
                self._last[version, source] = one

    def of(self, versions: Set[int]) -> Traffic:
        return total(self._grown[version] for version in versions & self._grown.keys())

    @property
    def versions(self) -> Set[int]:
        """All that were ever seen."""
        return self._grown.keys()


def _difference(now: Traffic, before: Traffic) -> Traffic:
    return Traffic(
        requests=now.requests - before.requests,
        errors=max(0, now.errors - before.errors),
        slow=max(0, now.slow - before.slow),
        rows=None if now.rows is None else max(0, now.rows - (before.rows or 0)),
        predictions={
            said: count
            for said, count in _grown(now.predictions, before.predictions).items()
            if said in before.predictions or not before.rows
        },
        refused=_grown(now.refused, before.refused),
    )


def _added(before: Traffic, grown: Traffic) -> Traffic:
    """Both together. What was not said yet of rows that were counted is not known of them all."""
    both = total([before, grown])
    if not before.rows:
        return both
    said = {name: n for name, n in both.predictions.items() if name in before.predictions}
    return replace(both, predictions=said)


def _grown(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {name: max(0, count - before.get(name, 0)) for name, count in now.items()}


def _sums(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for one in parts:
        found.update(one)
    return dict(found)


def _log(parts: list[ProfileLog]) -> ProfileLog | None:
    if not parts:
        return None
    flushes = [one.last_flush for one in parts if one.last_flush is not None]
    return ProfileLog(
        pending_rows=sum(one.pending_rows for one in parts),
        waiting_bytes=sum(one.waiting_bytes for one in parts),
        dropped_rows=sum(one.dropped_rows for one in parts),
        flush_failures=sum(one.flush_failures for one in parts),
        last_flush=max(flushes, default=None),
    )
