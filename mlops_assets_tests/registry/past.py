"""A long past of an experiment in real stores: a version a day, each with what training leaves."""

import json
import os
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import optuna

from mlops_assets import vocabulary as names
from mlops_assets.deployment.in_use import images_of_versions, versions_in_use
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.model_registry import CHAMPION, ModelRegistry
from mlops_assets.gateways.study_store import StudyStore
from mlops_assets.registry import schedules
from mlops_assets.registry.removal import Stores
from mlops_assets.serving.recording import STAMP
from mlops_assets_tests.builders import make_experiment
from mlops_assets_tests.endpoints import Place
from mlops_assets_tests.registry.copies import Copies

TABLES = {"source": "snapshots", "features": "features", "training_set": "training_sets"}
EACH_STUDY = 3
"""Versions that share a study and a snapshot."""


@dataclass(frozen=True)
class Made:
    """One version and the files that are its own."""

    number: int
    ids: tuple[str, ...]
    """Of its run, the run of a trial below it, and its model."""
    bundle: Path
    model: Path
    archive: Path
    traffic: Path

    @property
    def run_id(self) -> str:
        return self.ids[0]

    @property
    def is_whole(self) -> bool:
        return all(path.exists() for path in (self.bundle, self.model))

    @property
    def is_gone(self) -> bool:
        own = (self.bundle, self.model, self.archive, self.traffic)
        return not any(path.exists() for path in own)


@dataclass(frozen=True)
class Past:
    """Versions 1, 2, ... of an experiment, the last made an hour ago, each a day after the one
    before."""

    root: Path
    registry: ModelRegistry
    experiment: Experiment
    now: datetime
    made: dict[int, Made]

    @property
    def stores(self) -> Stores:
        data = DataStore(str(self.root / "data"), {})
        return Stores(self.registry, data, StudyStore(str(self.root / "studies")))

    @property
    def registered(self) -> set[int]:
        found = self.registry.client.search_model_versions(f"name = '{self.experiment.name}'")
        return {int(one.version) for one in found}


def make(
    root: Path,
    registry: ModelRegistry,
    name: str,
    count: int,
    *,
    by_calls: Collection[int] | None = None,
    **policy: Any,
) -> Past:
    """A past of so many versions, the newest of which is the champion.

    Args:
        by_calls: versions that are made by MLflow's own calls, the first among them, of which
            the others are copies; every one when not given.
    """
    experiment = make_experiment(name=name, registry={"retention": policy})
    past = Past(root, registry, experiment, datetime.now(UTC), {})
    studies = {number // EACH_STUDY for number in range(1, count + 1)}
    for study in sorted(studies):
        _make_study(past, study, count)
    copies: Copies | None = None
    for number in range(1, count + 1):
        if by_calls is None or number in by_calls:
            made = _make_version(past, number)
        else:
            copies = copies or _copies(past)
            made = _copy_version(past, copies, number)
        for path in (made.bundle, made.model, made.archive):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"0" * 100)
        past.made[number] = made
    registry.set_alias(name, CHAMPION, count)
    _date_back(past, count)
    return past


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def run_job(
    stores: Stores,
    place: Place,
    instance: dg.DagsterInstance,
    experiments: list[Any],
    in_use: schedules.InUse = versions_in_use,
    **knobs: Any,
) -> dg.ExecuteInProcessResult:
    built = schedules.build(experiments, in_use, images_of_versions)
    (job,) = built.jobs or ()
    assert isinstance(job, dg.JobDefinition)
    return job.execute_in_process(
        run_config={"ops": {names.RETENTION_OP: {"config": knobs}}},
        resources={
            "data_store": stores.data,
            "model_registry": stores.registry,
            "study_store": stores.studies,
            "target_context": place.context,
        },
        instance=instance,
        raise_on_error=False,
    )


def taken_at(past: Past, number: int, count: int) -> datetime:
    return past.now - timedelta(days=count - number, hours=1)


def table_digest(study: int) -> str:
    return f"{study:016x}{'0' * 48}"


def study_name(experiment: str, study: int) -> str:
    return f"{experiment}-{study:012x}"


def _make_version(past: Past, number: int) -> Made:
    name, client = past.experiment.name, past.registry.client
    experiment_id = past.registry.experiment_id(name)
    study, digest = number // EACH_STUDY, _bundle_digest(name, number)
    run = client.create_run(
        experiment_id,
        tags={names.DAGSTER_RUN_TAG: f"run {number}", "mlops.study": study_name(name, study)},
    )
    run_id = run.info.run_id
    trial = {"mlflow.parentRunId": run_id, "mlops.trial": "true", "mlops.slot": str(number)}
    tried = client.create_run(experiment_id, tags={**trial, "mlops.study": study_name(name, study)})
    client.set_terminated(run_id)
    bundle = Path(run.info.artifact_uri) / "bundle" / "model.onnx"
    model = client.create_logged_model(experiment_id, name="model", source_run_id=run_id)
    tags = {
        "mlops.bundle_uri": f"runs:/{run_id}/bundle",
        "mlops.bundle_digest": digest,
        "mlops.snapshot_digest": table_digest(study),
        "mlops.data_digest": table_digest(study),
    }
    source = f"models:/{model.model_id}"
    assert past.registry.register(name, source=source, run_id=run_id, tags=tags) == number
    model_file = Path(model.artifact_location) / "model.skops"
    ids = (run_id, tried.info.run_id, model.model_id)
    return Made(number, ids, bundle, model_file, **_own(past, number))


def _copies(past: Past) -> Copies:
    """Of the first version."""
    return Copies(_database(past), (past.experiment.name, 1), past.made[1].ids)


def _copy_version(past: Past, copies: Copies, number: int) -> Made:
    first, name = past.made[1], past.experiment.name
    renamed = copies.add(
        number,
        {
            "1": str(number),
            "run 1": f"run {number}",
            _bundle_digest(name, 1): _bundle_digest(name, number),
            study_name(name, 0): study_name(name, number // EACH_STUDY),
            table_digest(0): table_digest(number // EACH_STUDY),
        },
    )
    paths = (Path(renamed(str(each))) for each in (first.bundle, first.model))
    return Made(number, tuple(map(renamed, first.ids)), *paths, **_own(past, number))


def _own(past: Past, number: int) -> dict[str, Path]:
    """What a version has outside MLflow."""
    name, data = past.experiment.name, past.root / "data"
    archive = data / "bundles" / f"{_bundle_digest(name, number)}.tar.gz"
    return {"archive": archive, "traffic": data / name / "profiles" / str(number)}


def _bundle_digest(name: str, number: int) -> str:
    return f"{name}{number:058x}"


def _database(past: Past) -> str:
    return past.registry.tracking_uri.removeprefix("sqlite:///")


def _make_study(past: Past, study: int, count: int) -> None:
    name, data = past.experiment.name, past.stores.data
    ended = taken_at(past, (study + 1) * EACH_STUDY - 1, count)
    journal = study_name(name, study)
    with past.stores.studies.open(journal, direction="maximize") as opened:
        trial = optuna.trial.create_trial(value=0.5)
        trial.datetime_start = trial.datetime_complete = ended.astimezone().replace(tzinfo=None)
        opened.add_trial(trial)
    for asset, folder in TABLES.items():
        url = data.write_bytes(f"{name}/{folder}/{table_digest(study)[:16]}.parquet", b"rows")
        _touch(Path(url), ended)
        record = json.dumps({"url": url, "rows": 1}).encode()
        for called in (f"run{study}", "latest"):
            _touch(Path(data.write_bytes(f"records/{name}/{asset}/{called}.json", record)), ended)


def _date_back(past: Past, count: int) -> None:
    """What the stores say of when things were made."""
    name = past.experiment.name
    connection = sqlite3.connect(_database(past))
    for made in past.made.values():
        at = taken_at(past, made.number, count)
        ms = round(1000 * at.timestamp())
        connection.execute(
            "update model_versions set creation_time = ? where name = ? and version = ?",
            (ms, name, made.number),
        )
        connection.execute("update runs set start_time = ? where run_uuid = ?", (ms, made.run_id))
        connection.execute(
            "update runs set start_time = ? where run_uuid in (select run_uuid from tags where "
            "key = 'mlflow.parentRunId' and value = ?)",
            (ms, made.run_id),
        )
        window = made.traffic / "local" / at.strftime(STAMP)
        window.mkdir(parents=True)
        (window / "1.bin").write_bytes(b"profile")
        _touch(window / "1.bin", at)
        _touch(made.archive, at)
    connection.commit()
    connection.close()


def _touch(path: Path, at: datetime) -> None:
    os.utime(path, (at.timestamp(), at.timestamp()))
