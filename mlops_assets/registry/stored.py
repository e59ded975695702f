"""What an experiment left on the data store, and which of it goes: tables, records, and what
endpoints wrote. Reads only."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.data_store import DataStore, StoredFile
from mlops_assets.gateways.profile_store import flushed
from mlops_assets.gateways.registered import RegistryVersion
from mlops_assets.registry import retention
from mlops_assets.registry.retention import File, Usage, Window

TABLES = {
    "snapshots": "mlops.snapshot_digest",
    "features": "",
    "training_sets": "mlops.data_digest",
}
"""Folders of tables by digest, and the tag of a version that holds the digest of its own."""
DATA_ASSETS = ("source", "features", "training_set")
OF_VERSIONS = re.compile(
    r"/(?:profiles|predictions|reference_profiles|serving_profiles|performance)/(\d+)[/.]"
)
LATEST = "/latest.json"


def superfluous(
    experiment: Experiment,
    store: DataStore,
    *,
    stay: list[RegistryVersion],
    go: list[RegistryVersion],
    usage: Usage,
    latest: list[Any],
    now: datetime,
) -> tuple[File, ...]:
    """The files that go, by path.

    Args:
        experiment: whose files.
        store: where they are.
        stay: versions that are kept.
        go: the other registered ones.
        usage: of the versions.
        latest: the newest record of every asset.
        now: aware.

    Raises:
        DataStoreError: the store does not answer.
    """
    name = experiment.name
    before = retention.oldest_kept(experiment.registry.retention, now)
    records = _files(store, f"records/{name}", now)
    tables = [one for folder in TABLES for one in _files(store, f"{name}/{folder}", now)]
    wanted = _tables_of(name, stay) | _named(latest, name)
    wanted |= _named(_young(store, records, name, before), name)
    wanted |= {one.path for one in records if one.path.endswith(LATEST)}
    serving, others = _of_versions(experiment, store, stay, go, usage, now)
    found = {
        *retention.superfluous_files([*records, *tables, *serving], wanted=wanted, before=before),
        *others,
    }
    return tuple(sorted(found, key=lambda one: one.path))


def latest_records(store: DataStore, experiment: str) -> list[Any]:
    """The newest record of every asset of an experiment."""
    files = store.listed(f"records/{experiment}")
    return [store.read_json(store.at(one.path)) for one in files if one.path.endswith(LATEST)]


def version_of(path: str) -> int | None:
    """The version that a file of the data store was written for; None for other files."""
    found = OF_VERSIONS.search(path)
    return int(found[1]) if found else None


def _of_versions(
    experiment: Experiment,
    store: DataStore,
    stay: list[RegistryVersion],
    go: list[RegistryVersion],
    usage: Usage,
    now: datetime,
) -> tuple[list[File], set[File]]:
    """What was made of the traffic of versions, which goes by its age; and of all that was written
    for a version what goes with it, or is of a window long past."""
    name, policy = experiment.name, experiment.registry.retention
    windows = [
        Window(_file(one.file, now), one.version, one.window) for one in flushed(store, name)
    ]
    merged = _files(store, f"{name}/serving_profiles", now)
    merged += _files(store, f"{name}/performance", now)
    made = [*_files(store, f"{name}/reference_profiles", now), *merged]
    seen = {one.version for one in windows} | {version_of(one.path) or 0 for one in made}
    removed = frozenset(one.version for one in go)
    removed |= retention.vanished(
        seen - {0}, registered=frozenset(one.version for one in (*stay, *go)), usage=usage
    )
    old = retention.superfluous_windows(
        windows,
        kept=frozenset(one.version for one in stay) | frozenset(usage.endpoints),
        removed=removed,
        newest=experiment.monitoring.lookback,
        before=retention.oldest_traffic(policy, now),
    )
    return merged, {*old, *(one for one in made if version_of(one.path) in removed)}


def _files(store: DataStore, path: str, now: datetime) -> list[File]:
    return [_file(one, now) for one in store.listed(path)]


def _file(one: StoredFile, now: datetime) -> File:
    """As it is judged: one of unknown age is new."""
    return File(one.path, one.size, one.modified or now)


def _tables_of(name: str, stay: Iterable[RegistryVersion]) -> frozenset[str]:
    return frozenset(
        f"{name}/{folder}/{one.tags[tag][:16]}.parquet"
        for one in stay
        for folder, tag in TABLES.items()
        if tag in one.tags
    )


def _young(store: DataStore, records: list[File], name: str, before: datetime) -> list[Any]:
    """What runs that may still go on read and wrote."""
    folders = tuple(f"records/{name}/{asset}/" for asset in DATA_ASSETS)
    return [
        store.read_json(store.at(one.path))
        for one in records
        if one.path.startswith(folders) and one.modified >= before
    ]


def _named(records: Iterable[Any], name: str) -> frozenset[str]:
    """The files that records name, as paths of the store."""
    found: set[str] = set()
    for record in records:
        for key, value in record.items():
            if isinstance(value, dict):
                found |= _named([value], name)
            elif key == "url" and isinstance(value, str) and f"/{name}/" in value:
                found.add(f"{name}/{value.rsplit(f'/{name}/', 1)[1]}")
    return frozenset(found)
