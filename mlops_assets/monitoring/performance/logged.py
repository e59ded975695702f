"""The prediction log, window by window: every logged row once. Knows no labels."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING

from mlops_assets.gateways.data_store import DataStore, DataStoreError
from mlops_assets.gateways.profile_store import Increment, PredictionStore
from mlops_assets.gateways.realised import LoggedWindow
from mlops_assets.serving.contents import PREDICTION
from mlops_assets.serving.recording import STAMP

if TYPE_CHECKING:
    import pandas as pd

ROW = ["request_id", "row"]
"""What tells one logged row of a version from another."""
KEYS = [*ROW, "entity", "time"]


@dataclass(frozen=True)
class Index:
    """What was logged."""

    windows: tuple[LoggedWindow, ...]
    """Those that hold rows, oldest first."""
    unreadable: tuple[str, ...]


def index(store: DataStore, experiment: str, *, since: datetime, until: datetime) -> Index:
    """The windows of all versions that began at `since` or later and before `until` (aware).

    Rows are counted again only where a file came; how many a window holds is kept beside what was
    realised in it, not the rows themselves.
    """
    found = PredictionStore(store).all_between(experiment, since=since, until=until)
    windows, unreadable = list[LoggedWindow](), list[str]()
    for version, increments in found.items():
        for start, files in groupby(increments, key=lambda increment: increment.window):
            window, bad = _window(store, experiment, version, start, [*files])
            unreadable += bad
            if window.rows:
                windows.append(window)
    windows.sort(key=lambda window: (window.start, window.version))
    return Index(tuple(windows), tuple(unreadable))


def _window(
    store: DataStore, experiment: str, version: int, start: datetime, files: list[Increment]
) -> tuple[LoggedWindow, list[str]]:
    names = "\n".join(file.url.removeprefix(store.url) for file in files)
    digest = hashlib.sha256(names.encode()).hexdigest()[:16]
    path = f"{experiment}/performance/{version}/logged/{start:{STAMP}}.json"
    known = store.read_json(store.at(path)) if store.exists(path) else {}
    if known.get("digest") != digest:
        known = {"digest": digest, **_counted(store, [file.url for file in files])}
        store.write_json(path, known)
    urls = tuple(file.url for file in files if file.url not in known["unreadable"])
    return (
        LoggedWindow(start.isoformat(), version, known["rows"], urls, digest),
        known["unreadable"],
    )


def _counted(store: DataStore, urls: Sequence[str]) -> dict[str, object]:
    unreadable, readable = [], []
    for url in urls:
        try:
            store.table_columns(url)
            readable.append(url)
        except DataStoreError as error:
            # A store that does not answer is no verdict on the file.
            if not isinstance(error.__cause__, ValueError):
                raise
            unreadable.append(url)
    rows = len(_once(store, readable, ROW)) if readable else 0
    return {"rows": rows, "unreadable": unreadable}


def read(store: DataStore, windows: Iterable[LoggedWindow]) -> "pd.DataFrame":
    """The rows of windows of one version: who, when, and what was predicted; no features.

    Columns: `request_id`, `row`, `entity`, `time` (datetime64[ns, UTC]), `prediction`, and the
    probability of each class in the order of the classes. By request and row, so that the order in
    which files arrived is not seen.
    """
    urls = [url for window in windows for url in window.urls]
    frame = _once(store, urls, [*KEYS, *_answers(store, urls[0])])
    return frame.assign(time=frame["time"].astype("datetime64[ns, UTC]"))


def classes(frame: "pd.DataFrame") -> tuple[str, ...]:
    """The labels whose probabilities a frame of logged rows holds."""
    names = [str(name) for name in frame.columns]
    answers = names[names.index(PREDICTION) + 1 :]
    return tuple(name.removeprefix("probability_") for name in answers)


def _answers(store: DataStore, url: str) -> list[str]:
    """The prediction and what stands after it: a feature may be called `probability_` too."""
    names = store.table_columns(url)
    return names[names.index(PREDICTION) :]


def _once(store: DataStore, urls: Iterable[str], columns: list[str]) -> "pd.DataFrame":
    import pandas as pd

    frame = pd.concat([store.read_table(url, columns) for url in urls], ignore_index=True)
    once = frame.sort_values(columns[: len(KEYS)], kind="stable").drop_duplicates(ROW)
    return once.reset_index(drop=True)
