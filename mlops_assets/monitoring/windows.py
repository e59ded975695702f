"""Windows of traffic: each merged once, from whatever replicas and targets flushed."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.data_store import DataStore, StoredFile
from mlops_assets.gateways.profile_store import Increment, in_order
from mlops_assets.gateways.records import Arrival, Endpoint, ProfiledWindow, ServingProfile
from mlops_assets.monitoring import files, logged_profiles, profiles
from mlops_assets.monitoring.files import Found
from mlops_assets.monitoring.freshness import CLOCKS
from mlops_assets.monitoring.spec import EARLIER
from mlops_assets.serving.recording import STAMP

MOST_MERGED = 500
"""Windows whose rows are looked up, of those that were merged."""


def lately(
    store: DataStore, experiment: Experiment, live: Sequence[Endpoint], *, now: datetime
) -> ServingProfile:
    """The newest windows of the version that is live, and those they are compared with.

    Args:
        store: where the endpoints leave their profiles.
        experiment: whose.
        live: its endpoints, at least one; those of older versions do not count.
        now: aware. A file that comes before its window begins is of an endpoint whose clock is
            wrong.
    """
    spec = experiment.monitoring
    version = max(endpoint.version for endpoint in live)
    current = [endpoint for endpoint in live if endpoint.version == version]
    targets = [*(endpoint.target for endpoint in current), *files.batches(experiment)]
    found = files.find(store, experiment, version, targets)
    every = in_order(found.every())
    newest = sorted({each.window for each in every if each.window <= now})[-spec.lookback :]
    over = now - timedelta(seconds=spec.window_seconds)
    collected = collect(store, experiment.name, version, found.within(newest))
    before: list[ProfiledWindow] = []
    if earlier := EARLIER.get(spec.drift.against):
        wanted = {window - earlier for window in newest}
        for other, those in files.starting_at(store, experiment.name, wanted).items():
            before += collect(store, experiment.name, other, those).windows
    return ServingProfile(
        version=version,
        windows=collected.windows,
        before=tuple(before),
        live_since=max(endpoint.since for endpoint in current),
        unreadable=collected.unreadable,
        ahead=tuple(
            each.url
            for each in every
            if _is_ahead(each, now) and (each.window > now or each.window in newest)
        ),
        arrivals={
            target: _arrival(theirs, now, unreadable=collected.unreadable)
            for target in targets
            if (theirs := [file for file in every if file.target == target])
        },
        open=next((window.isoformat() for window in newest if window > over), None),
        behind=_behind(every, now, length=now - over, allowed=spec.max_age),
    )


def _is_ahead(file: Increment, now: datetime) -> bool:
    """Whether its window had not begun when it came."""
    came = now if file.written is None else file.written
    return file.window > now or file.window - came > CLOCKS


def _behind(
    files: Iterable[Increment], now: datetime, *, length: timedelta, allowed: timedelta
) -> int:
    late = max(allowed, CLOCKS)
    return sum(
        file.written > now - late and file.written - file.window - length > late
        for file in files
        if file.written is not None
    )


def _arrival(theirs: Sequence[Increment], now: datetime, *, unreadable: Collection[str]) -> Arrival:
    windows = [
        file.window for file in theirs if not _is_ahead(file, now) and file.url not in unreadable
    ]
    written = [file.written for file in theirs if file.written is not None]
    return Arrival(
        max(windows).isoformat() if windows else None,
        max(written).isoformat() if written else None,
    )


@dataclass(frozen=True)
class Collected:
    """What was found in some windows."""

    windows: tuple[ProfiledWindow, ...]
    """Those that hold rows, oldest first."""
    unreadable: tuple[str, ...]
    """Files that are not what their name says."""


def collect(store: DataStore, experiment: str, version: int, found: Found) -> Collected:
    """Merge every window whose files are not yet merged, as they are now.

    A window is merged anew when a file comes late. Files of equal content count once: an endpoint
    may have sent one again that had arrived.

    Args:
        store: where the files are, and the merged ones go.
        experiment: whose.
        version: that all the files are of.
        found: the files.
    """
    windows, unreadable = [], []
    for start in sorted({file.window for file in found.every()}):
        merged = _merged(store, experiment, version, start, found.within({start}))
        unreadable += merged["unreadable"]
        if merged["rows"]:
            windows.append(_window(store, start, version, merged))
    return Collected(tuple(windows), tuple(unreadable))


def merged_since(store: DataStore, experiment: str, since: datetime) -> list[ProfiledWindow]:
    """The windows of every version that were merged and began at `since` (aware) or later, oldest
    first; the newest of them, where there are many. Nothing is merged anew."""
    top = f"{experiment}/serving_profiles"
    newest: dict[tuple[datetime, int], StoredFile] = {}
    for file in store.listed(top):
        version, _, name = file.path.removeprefix(f"{top}/").partition("/")
        stamp = name.removesuffix(".json").rpartition("-")[0]
        if not (name.endswith(".json") and version.isdecimal() and stamp):
            continue
        start = datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
        known = newest.get((start, int(version)))
        # A window is merged again, under another name, when a file comes late.
        if start >= since and (known is None or _after(file, known)):
            newest[start, int(version)] = file
    found = []
    for (start, number), file in sorted(newest.items(), key=_place)[-MOST_MERGED:]:
        made = store.read_json(store.at(file.path))
        if made["rows"]:
            found.append(_window(store, start, number, made))
    return found


def _window(
    store: DataStore, start: datetime, version: int, made: dict[str, Any]
) -> ProfiledWindow:
    return ProfiledWindow(
        start.isoformat(),
        version,
        made["rows"],
        store.at(made["path"]),
        # Windows that were merged before logs were counted say nothing of them.
        from_log=made.get("from_log", 0),
        log_sample=made.get("log_sample"),
    )


def _place(item: tuple[tuple[datetime, int], StoredFile]) -> tuple[datetime, int]:
    return item[0]


def _after(one: StoredFile, other: StoredFile) -> bool:
    never = datetime.min.replace(tzinfo=UTC)
    return (one.modified or never) >= (other.modified or never)


def _merged(
    store: DataStore, experiment: str, version: int, start: datetime, found: Found
) -> dict[str, Any]:
    urls = sorted(file.url for file in found.every())
    names = "\n".join(url.removeprefix(store.url) for url in urls)
    digest = hashlib.sha256(names.encode()).hexdigest()[:12]
    path = f"{experiment}/serving_profiles/{version}/{start:{STAMP}}-{digest}"
    if store.exists(f"{path}.json"):
        known: dict[str, Any] = store.read_json(store.at(f"{path}.json"))
        # What was cut off in writing may have been written again since.
        if not known["unreadable"]:
            return known
    views, unreadable = dict[bytes, Any](), list[str]()
    for url in sorted(file.url for file in found.profiles):
        content = store.read_bytes(url)
        try:
            views[hashlib.sha256(content).digest()] = profiles.deserialize(content)
        except ValueError:
            unreadable.append(url)
    made: dict[str, Any] = {"path": f"{path}.bin", "rows": 0, "unreadable": unreadable}
    if found.logs or found.captures:
        counted = logged_profiles.count(store, experiment, version, start, found)
        unreadable += counted.unreadable
        if counted.profile.rows:
            views[b""] = profiles.deserialize(counted.profile.serialize())
            made |= {"from_log": counted.profile.rows, "log_sample": counted.sample}
    if views:
        view = profiles.merge(views.values())
        made["rows"] = profiles.rows(view)
        store.write_bytes(f"{path}.bin", profiles.serialize(view))
    # Last: with it the window counts as merged.
    store.write_json(f"{path}.json", made)
    return made


def judged(
    profile: ServingProfile, *, min_rows: int, most: int
) -> list[tuple[ProfiledWindow, ...]]:
    """What is judged as one, oldest first: the newest windows that are over, each together with as
    many before it as it takes to hold `min_rows`. The oldest ones are left out when they do not.

    The window that is not over has a part of its hours only, which differ from the whole: it counts
    where there is nothing else yet.
    """
    over = [window for window in profile.windows if window.start != profile.open]
    return _units(over, min_rows, most) or _units(profile.windows, min_rows, most)


def _units(
    windows: Sequence[ProfiledWindow], min_rows: int, most: int
) -> list[tuple[ProfiledWindow, ...]]:
    found: list[tuple[ProfiledWindow, ...]] = []
    gathered: list[ProfiledWindow] = []
    for window in reversed(windows):
        gathered.append(window)
        if sum(each.rows for each in gathered) >= min_rows:
            found.append(tuple(reversed(gathered)))
            gathered = []
        if len(found) == most:
            break
    return found[::-1]


def same_hours(
    windows: Sequence[ProfiledWindow], before: Iterable[ProfiledWindow], earlier: timedelta
) -> tuple[ProfiledWindow, ...]:
    """Those of `before` that began just so much earlier than one of `windows`."""
    wanted = {datetime.fromisoformat(window.start) - earlier for window in windows}
    return tuple(each for each in before if datetime.fromisoformat(each.start) in wanted)
