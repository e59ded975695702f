"""Finds what the past of an experiment holds in MLflow, the study store, the data store and the
repositories of images, has it judged by `retention`, and removes what goes. Knows no Dagster.

The order is such that whoever is killed in between leaves nothing behind: first the image of a
version, which nobody knows to be ours without it, and the archive of its bundle, which a
deployment makes anew; then the version, so that nobody can deploy it any more; then its run,
studies and files, which the next run finds without a version, and removes.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways import versions as past
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.decisions import ROLLED_BACK
from mlops_assets.gateways.images import VersionImages
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.gateways.registered import RegistryVersion
from mlops_assets.gateways.study_locks import StudyBusyError
from mlops_assets.gateways.study_store import StudyStore
from mlops_assets.registry import retention, stored
from mlops_assets.registry.retention import File, Run, Study, Usage, Verdict, Version


@dataclass(frozen=True)
class Stores:
    """Where an experiment leaves things."""

    registry: ModelRegistry
    data: DataStore
    studies: StudyStore
    images: tuple[VersionImages, ...] = ()


@dataclass(frozen=True)
class Image:
    """The container image of a version."""

    of: VersionImages
    version: int
    tag: str
    size: int
    """Bytes."""


@dataclass(frozen=True)
class Plan:
    """What goes, and what of the versions stays and why."""

    verdicts: tuple[Verdict, ...]
    versions: tuple[RegistryVersion, ...]
    runs: tuple[str, ...]
    trials: Mapping[str, tuple[str, ...]]
    """Runs of trials, by study."""
    studies: tuple[str, ...]
    files: tuple[File, ...]
    images: tuple[Image, ...]
    shared: frozenset[str]
    """Digests of bundles that versions which stay have, too."""

    @property
    def size(self) -> int:
        """Bytes of the files and images; what MLflow keeps is not counted."""
        images = sum(one.size for one in self.images)
        return images + sum(one.size for one in self.files)


def plan(
    experiment: Experiment,
    stores: Stores,
    *,
    run_tag: str,
    endpoints: Mapping[int, str],
    deployed: tuple[int, ...],
    now: datetime,
) -> Plan:
    """What goes of an experiment by its `registry.retention`. Reads only.

    Args:
        run_tag: that runs of the platform have in MLflow.
        endpoints: what endpoints do with a version, by version.
        deployed: versions that took traffic, oldest first.
        now: aware.

    Raises:
        RegistryError, StudyStoreError, DataStoreError, CloudError: a store does not answer.
    """
    policy = experiment.registry.retention
    before = retention.oldest_kept(policy, now)
    aliases = stores.registry.aliases(experiment.model_name)
    registered = past.all_versions(stores.registry, experiment.model_name)
    usage = Usage(aliases, endpoints, deployed)
    facts = [_version(one) for one in registered]
    verdicts = retention.judge(facts, usage, policy, now)
    kept = {verdict.version for verdict in verdicts if verdict.kept}
    stay = [one for one in registered if one.version in kept]
    go = [one for one in registered if one.version not in kept]
    latest = stored.latest_records(stores.data, experiment.name)
    studies = _studies(experiment, stores, _wanted_studies(stores, stay, latest), before)
    old = past.runs_before(stores.registry, experiment.name, before)
    runs = [_run(one, run_tag) for one in old]
    goes = frozenset(retention.superfluous_runs(
        runs,
        wanted=frozenset(run for one in stay for run in one.runs),
        studies=frozenset(studies) - frozenset(name for name, gone in studies.items() if gone),
    ))  # fmt: skip
    return Plan(
        verdicts=verdicts,
        versions=tuple(go),
        runs=tuple(
            one.run_id
            for one in runs
            if one.run_id in goes and not one.trial and _is_only_of(stores, one.run_id, go)
        ),
        trials=_trials(one for one in runs if one.run_id in goes and one.trial),
        studies=tuple(name for name, gone in studies.items() if gone),
        files=stored.superfluous(
            experiment, stores.data, stay=stay, go=go, usage=usage, latest=latest, now=now
        ),
        images=tuple(image for images in stores.images for image in _images_of(images, stay, go)),
        shared=frozenset(map(_digest, stay)),
    )


def remove(
    experiment: Experiment, stores: Stores, plan: Plan, tell: Callable[[str], None]
) -> tuple[str, ...]:
    """Remove what the plan says, as far as it still may go; what was left, and why.

    Raises:
        RegistryError, StudyStoreError, DataStoreError, CloudError: a store does not answer; the
            next run goes on from there.
    """
    for number, one in enumerate(plan.versions, 1):
        if not _remove_version(experiment.model_name, stores, one, plan):
            return (f"version {one.version} got an alias meanwhile: the next run decides anew",)
        if number % 50 == 0 or number == len(plan.versions):
            tell(f"{number} of {len(plan.versions)} versions removed")
    for number, run_id in enumerate(plan.runs, 1):
        if not past.versions_of_run(stores.registry, run_id):
            past.remove_run(stores.registry, run_id)
        if number % 50 == 0 or number == len(plan.runs):
            tell(f"{number} of {len(plan.runs)} runs removed with their artifacts")
    busy = _remove_studies(stores, plan)
    for file in plan.files:
        stores.data.remove(file.path)
    tell(f"{len(plan.files)} files removed; with images, {plan.size / 1e6:.1f} MB")
    return tuple(busy.values())


def _remove_version(model: str, stores: Stores, one: RegistryVersion, plan: Plan) -> bool:
    """Whether it is gone: not when somebody gave it an alias since."""
    if one.version in stores.registry.aliases(model).values():
        return False
    for image in plan.images:
        if image.version == one.version:
            image.of.remove(image.tag)
    digest = _digest(one)
    if digest and digest not in plan.shared:
        stores.data.remove(f"bundles/{digest}.tar.gz")
    return past.remove_version(stores.registry, model, one.version)


def _remove_studies(stores: Stores, plan: Plan) -> dict[str, str]:
    """Those that another process holds, and who."""
    busy: dict[str, str] = {}
    for name in plan.studies:
        try:
            stores.studies.remove(name)
        except StudyBusyError as error:
            busy[name] = str(error)
    for study, trials in plan.trials.items():
        if study not in busy:
            for run_id in trials:
                past.remove_trial(stores.registry, run_id)
    return busy


def _version(one: RegistryVersion) -> Version:
    return Version(
        number=one.version,
        created=datetime.fromtimestamp(one.created_ms / 1000, UTC),
        ours="mlops.bundle_uri" in one.tags and not one.adopted,
        rolled_back=ROLLED_BACK in one.tags,
    )


def _digest(one: RegistryVersion) -> str:
    """Of its bundle; empty where it has none."""
    return one.tags.get("mlops.bundle_digest", "")


def _images_of(
    images: VersionImages, stay: Iterable[RegistryVersion], go: Iterable[RegistryVersion]
) -> Iterator[Image]:
    """Those that versions which go have alone. Tags of no registered version of ours are not known:
    another experiment may keep its images in the same repository."""
    kept = {images.tag(one.version, _digest(one)) for one in stay}
    there = images.sizes()
    for one in go:
        tag = images.tag(one.version, _digest(one))
        if tag in there and tag not in kept:
            yield Image(images, one.version, tag, there[tag])


def _run(one: past.RunRecord, run_tag: str) -> Run:
    return Run(
        run_id=one.run_id,
        ours=run_tag in one.tags,
        study=one.tags.get("mlops.study", ""),
        trial="mlops.trial" in one.tags,
    )


def _is_only_of(stores: Stores, run_id: str, go: Iterable[RegistryVersion]) -> bool:
    """Whether no version that stays, of any registered model, came from the run."""
    gone = {(one.name, one.version) for one in go}
    found = past.versions_of_run(stores.registry, run_id)
    return all((one.name, one.version) in gone for one in found)


def _trials(runs: Iterable[Run]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for one in runs:
        found[one.study] = (*found.get(one.study, ()), one.run_id)
    return found


def _wanted_studies(
    stores: Stores, stay: Iterable[RegistryVersion], latest: Iterable[Any]
) -> frozenset[str]:
    """Studies of versions that stay, and the one that the next run goes on with."""
    runs = (past.run_record(stores.registry, one.run_id) for one in stay if one.run_id)
    current = (record.get("study", "") for record in latest)
    return frozenset({*(run.tags.get("mlops.study", "") for run in runs if run), *current})


def _studies(
    experiment: Experiment, stores: Stores, wanted: frozenset[str], before: datetime
) -> dict[str, bool]:
    """Whether each study of the experiment goes."""
    ours = re.compile(rf"{re.escape(experiment.name)}-[0-9a-f]{{12}}")
    names = [name for name in stores.studies.names() if ours.fullmatch(name)]
    found = [Study(name, stores.studies.changed(name)) for name in names if name not in wanted]
    go = retention.superfluous_studies(found, wanted=wanted, before=before)
    return {name: name in go for name in names}
