"""Retention on real stores: an MLflow database, files on disk, an endpoint that answers."""

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mlops_assets import vocabulary as names
from mlops_assets.deployment.in_use import versions_in_use
from mlops_assets.deployment.targets.base import TargetError
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.model_registry import CHAMPION, ModelRegistry, RegistryError
from mlops_assets.gateways.registered import EVALUATED_IN
from mlops_assets.gateways.study_locks import StudyStoreError
from mlops_assets.gateways.study_store import StudyStore
from mlops_assets.registry import removal, report
from mlops_assets.registry.removal import Plan, Stores
from mlops_assets_tests.builders import make_bundle
from mlops_assets_tests.endpoints import Place, ask
from mlops_assets_tests.registry import past as builder
from mlops_assets_tests.registry.past import (
    EACH_STUDY,
    Past,
    files,
    run_job,
    study_name,
    table_digest,
)

MANY, FEW = 200, 8
LIVE, BEFORE = 40, 12
"""Versions of `churn` that an endpoint serves, and served before."""
BY_CALLS = {*range(1, 9), BEFORE, LIVE, 110, 111, MANY - 1, MANY}
"""Versions of it whose rows MLflow itself writes: the first, those that matter, and the youngest
that goes beside the oldest that stays."""


def planned(past: Past, stores: Stores | None = None, **known: Any) -> Plan:
    usual: dict[str, Any] = {"endpoints": {}, "deployed": (), "now": past.now}
    return removal.plan(
        past.experiment,
        stores or past.stores,
        run_tag=names.DAGSTER_RUN_TAG,
        **{**usual, **known},
    )


def removed(past: Past, plan: Plan, stores: Stores | None = None) -> tuple[str, ...]:
    return removal.remove(past.experiment, stores or past.stores, plan, lambda _: None)


def going(plan: Plan) -> set[int]:
    return {one.version for one in plan.versions}


@pytest.fixture
def small(tmp_path: Path, model_registry: ModelRegistry) -> Past:
    return builder.make(tmp_path, model_registry, "churn", 8, keep_versions=2, keep_days=4)


@pytest.mark.pipeline
class TestHundredsOfVersions:
    """One removal, looked at from many sides."""

    @pytest.fixture(scope="class")
    def world(self, tmp_path_factory, mlflow_template: Path) -> Iterator[dict[str, Any]]:
        root = tmp_path_factory.mktemp("past")
        shutil.copy(mlflow_template, root / "mlflow.db")
        registry = ModelRegistry(f"sqlite:///{root / 'mlflow.db'}", str(root / "artifacts"), "")
        policy = {"keep_versions": 20, "keep_days": 90}
        churn = builder.make(root, registry, "churn", MANY, by_calls=BY_CALLS, **policy)
        others = [builder.make(root, registry, name, FEW) for name in ("credit", "lapse")]
        place = Place(root)
        bundles = [make_bundle(root / str(seed), seed=seed) for seed in (1, 2)]
        try:
            for built, version in zip(bundles, (BEFORE, LIVE), strict=True):
                endpoint = place.deploy(built, version)
            assert (endpoint.version, endpoint.previous_version) == (LIVE, BEFORE)
            before = {name: files(root / name) for name in ("artifacts", "data")}
            instance = dg.DagsterInstance.ephemeral()
            deployed(instance, churn, 3, 7, LIVE)
            experiments = [one.experiment for one in (churn, *others)]
            dry = run_job(churn.stores, place, instance, experiments)
            after_dry = {name: files(root / name) for name in before}
            done = run_job(churn.stores, place, instance, experiments, apply=True)
            assert dry.success
            assert done.success
            yield {
                "churn": churn, "others": others, "before": before, "after_dry": after_dry,
                "after": {name: files(root / name) for name in before}, "place": place,
                "endpoint": endpoint, "bundle": bundles[1], "done": done, "instance": instance,
            }  # fmt: skip
        finally:
            place.clear()

    KEPT = frozenset({*range(MANY - 90 + 1, MANY + 1), LIVE, BEFORE, 7})
    """The young ones, what is live, what it replaced, and the last good one before it."""

    def test_the_kept_ones_are_whole_and_the_others_gone(self, world) -> None:
        churn = world["churn"]
        assert churn.registered == self.KEPT
        for number, made in churn.made.items():
            assert made.is_whole if number in self.KEPT else made.is_gone, number

    def test_the_dry_run_before_removed_nothing(self, world) -> None:
        reports = {f"{name}/retention/latest.json" for name in ("churn", "credit", "lapse")}
        assert world["after_dry"]["artifacts"] == world["before"]["artifacts"]
        assert world["after_dry"]["data"] - world["before"]["data"] == reports
        assert world["before"]["data"] <= world["after_dry"]["data"]

    def test_files_are_counted(self, world) -> None:
        gone = MANY - len(self.KEPT)
        artifacts = [world[when]["artifacts"] for when in ("before", "after")]
        assert len(artifacts[0]) == 2 * (MANY + 2 * FEW)
        assert len(artifacts[0]) - len(artifacts[1]) == 2 * gone
        for folder in ("bundles", "churn/profiles"):
            counts = [
                sum(path.startswith(f"{folder}/") for path in world[when]["data"])
                for when in ("before", "after")
            ]
            assert counts[0] - counts[1] == gone, folder

    def test_tables_and_studies_of_kept_versions_stay(self, world) -> None:
        churn, data = world["churn"], world["after"]["data"]
        studies = {number // EACH_STUDY for number in self.KEPT}
        wanted = {f"{table_digest(study)[:16]}.parquet" for study in studies}
        for folder in ("snapshots", "training_sets"):
            found = {path.rsplit("/", 1)[1] for path in data if f"churn/{folder}/" in path}
            assert found == wanted
        left = {name for name in churn.stores.studies.names() if name.startswith("churn-")}
        assert left == {study_name("churn", study) for study in studies}
        trials = churn.registry.client.search_runs(
            [churn.registry.experiment_id("churn")], "tags.`mlops.trial` = 'true'", max_results=1000
        )
        assert {run.data.tags["mlops.study"] for run in trials} == left

    def test_other_experiments_lost_nothing(self, world) -> None:
        for other in world["others"]:
            assert other.registered == set(range(1, FEW + 1))
            assert all(made.is_whole for made in other.made.values())

    def test_the_old_version_still_answers(self, world) -> None:
        answer = ask(world["endpoint"].url, world["bundle"])
        assert answer.status_code == 200
        assert answer.json()["version"] == str(LIVE)

    def test_what_went_and_why_the_rest_stays_is_told(self, world) -> None:
        told = report.read(world["churn"].stores.data, "churn")
        assert told is not None
        assert told.applied
        reasons = {one.version: one.reason for one in told.versions if one.kept}
        assert set(reasons) == self.KEPT
        assert reasons[LIVE] == "live on local; was live before the champion"
        assert reasons[BEFORE] == "served before on local"
        (observed,) = [
            event.event_specific_data.asset_observation
            for event in world["done"].all_events
            if event.event_type_value == "ASSET_OBSERVATION" and event.asset_key.path[0] == "churn"
        ]
        assert "| 1 | removed | " in observed.metadata["retention"].value

    def test_the_next_run_finds_nothing(self, world) -> None:
        churn = world["churn"]
        endpoints = versions_in_use(churn.experiment, churn.stores.data, world["place"].context)
        plan = planned(churn, endpoints=endpoints, deployed=(3, 7, LIVE))
        assert going(plan) == set()
        assert (plan.runs, plan.trials, plan.studies, plan.files) == ((), {}, (), ())


def deployed(instance: dg.DagsterInstance, past: Past, *versions: int) -> None:
    """Tell Dagster that these took the traffic, one after the other."""
    key = names.endpoint_key(past.experiment.name, "local")
    for version in versions:
        said = {"state": "live", "version": version}
        instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=said))


class KilledError(BaseException):
    """The process is gone; nothing in it can catch this."""


@dataclass
class Life:
    """How many more removals the process lives for, and whether it dies before or after one."""

    left: int
    after: bool
    done: list[str] = field(default_factory=list)

    def spend(self, what: str, remove: Any) -> Any:
        self.left -= 1
        if self.left < 0 and not self.after:
            raise KilledError(what)
        found = remove()
        self.done.append(what)
        if self.left < 0:
            raise KilledError(what)
        return found


class MortalClient:
    """The client of a store, of a process that is killed."""

    def __init__(self, client: Any, life: Life) -> None:
        self._client, self._life = client, life

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if not name.startswith("delete_"):
            return call
        return lambda *args: self._life.spend(name, lambda: call(*args))


class MortalRegistry(ModelRegistry):
    def __init__(self, registry: ModelRegistry, life: Life) -> None:
        super().__init__(registry.tracking_uri, registry._artifacts_url, "")
        self._mortal = MortalClient(registry.client, life)

    @property
    def client(self) -> Any:
        return self._mortal


class MortalData(DataStore):
    def __init__(self, data: DataStore, life: Life) -> None:
        super().__init__(data.url, data.storage_options)
        self._life = life

    def remove(self, path: str) -> None:
        if self.exists(path):
            self._life.spend("file", lambda: super(MortalData, self).remove(path))


@dataclass(frozen=True)
class MortalStudies(StudyStore):
    life: Life = field(default_factory=lambda: Life(0, after=False))

    def remove(self, name: str) -> None:
        self.life.spend("study", lambda: super(MortalStudies, self).remove(name))


@pytest.mark.parametrize(("steps", "after"), [(0, True), (1, False), (3, True), (10, False)])
def test_killed_at_any_step_nothing_needed_is_lost_and_the_next_run_finishes(
    small: Past, steps: int, *, after: bool
) -> None:
    kept, known = {5, 6, 7, 8, 3}, {"endpoints": {3: "live on local"}}
    done: list[str] = []
    for _ in range(200):
        life = Life(steps, after=after, done=done)
        stores = Stores(
            MortalRegistry(small.registry, life),
            MortalData(small.stores.data, life),
            MortalStudies(small.stores.studies.url, life),
        )
        try:
            removed(small, planned(small, stores, **known), stores)
            break
        except KilledError:
            assert kept <= small.registered
            for number in small.registered:
                assert small.made[number].is_whole, "a registered version lost its artifacts"
    else:
        pytest.fail("it never came to an end")
    assert set(done) == {
        "file", "study", "delete_model_version", "delete_logged_model", "delete_run"
    }  # fmt: skip
    assert small.registered == kept
    assert all(small.made[number].is_gone for number in set(small.made) - kept)
    assert going(planned(small, **known)) == set()


def test_an_alias_given_in_between_is_heeded(small: Past) -> None:
    plan = planned(small)
    assert 2 in going(plan)
    small.registry.set_alias("churn", CHAMPION, 2)
    (left,) = removed(small, plan)
    assert left == "version 2 got an alias meanwhile: the next run decides anew"
    assert 2 in small.registered
    assert small.made[2].is_whole
    assert small.made[2].archive.exists()
    removed(small, planned(small))
    assert {2, 7, 8} <= small.registered
    assert small.registry.aliases("churn") == {CHAMPION: 2}


def test_a_run_that_another_model_was_registered_from_stays(small: Past) -> None:
    source = small.registry.version("churn", 1).source
    small.registry.register("copy", source=source, run_id=small.made[1].run_id, tags={})
    removed(small, planned(small))
    assert 1 not in small.registered
    assert small.made[1].is_whole


def test_what_others_registered_stays_with_the_run_that_evaluated_it(small: Past) -> None:
    """Version 4 as if it were somebody else's: registered anew, from no run of ours."""
    tags = {**small.registry.version("churn", 4).tags, EVALUATED_IN: small.made[4].run_id}
    small.registry.client.delete_model_version("churn", "4")
    number = small.registry.register("churn", source="runs:/x/model", run_id="x", tags=tags)
    assert small.registry.version("churn", number).adopted
    for newer in range(3):
        small.registry.register("churn", source=f"runs:/{newer}/model", run_id="", tags=tags)
    removed(small, planned(small))
    assert number in small.registered
    assert small.made[4].bundle.exists()


def test_a_candidate_that_was_refused_goes_with_its_artifacts(small: Past) -> None:
    small.registry.client.delete_model_version("churn", "4")
    plan = planned(small)
    assert small.made[4].run_id in plan.runs
    removed(small, plan)
    assert not small.made[4].bundle.exists()
    assert not small.made[4].traffic.exists()


def test_the_last_rows_and_studies_of_the_next_run_stay(small: Past) -> None:
    """Of an experiment that rested so long that everything is old."""
    from datetime import timedelta

    later = small.now + timedelta(days=400)
    removed(small, planned(small, now=later))
    assert small.registered == {7, 8}
    latest = small.stores.data.read_json(
        small.stores.data.at("records/churn/features/latest.json")
    )["url"]
    assert Path(latest).exists()
    assert small.stores.studies.names() == (study_name("churn", 8 // EACH_STUDY),)
    assert small.made[8].traffic.exists(), "drift is judged by the newest windows, however old"


def test_a_store_that_is_dead_is_said_and_nothing_is_removed(small: Past, tmp_path: Path) -> None:
    registry = ModelRegistry("http://127.0.0.1:9", str(tmp_path), "")
    studies = StudyStore("postgresql://nobody@127.0.0.1:9/none")
    cases = {
        RegistryError: Stores(registry, small.stores.data, small.stores.studies),
        StudyStoreError: Stores(small.registry, small.stores.data, studies),
    }
    before = everything(small)
    for kind, stores in cases.items():
        with pytest.raises(kind, match="does not answer"):
            planned(small, stores)
        instance = dg.DagsterInstance.ephemeral()
        done = run_job(stores, Place(small.root), instance, [small.experiment], apply=True)
        assert not done.success
    assert everything(small) == before


def test_where_it_is_not_known_what_is_live_nothing_is_removed(small: Past) -> None:
    def unreachable(*_: Any) -> dict[int, str]:
        raise TargetError("the platform answers 500")

    before, instance = everything(small), dg.DagsterInstance.ephemeral()
    place = Place(small.root)
    done = run_job(small.stores, place, instance, [small.experiment], unreachable, apply=True)
    assert not done.success
    assert everything(small) == before


def everything(past: Past) -> tuple[Any, ...]:
    return files(past.root / "artifacts"), files(past.root / "data"), past.registered


def test_an_experiment_that_is_being_trained_is_left_alone(small: Past) -> None:
    instance = dg.DagsterInstance.ephemeral()

    @dg.job(name=names.retrain_job("churn"))
    def retrain() -> None: ...

    instance.create_run_for_job(retrain, status=dg.DagsterRunStatus.STARTED)
    done = run_job(small.stores, Place(small.root), instance, [small.experiment], apply=True)
    assert not done.success
    assert small.registered == set(range(1, 9))


def test_the_yaml_says_whether_anything_goes(small: Past) -> None:
    instance, place = dg.DagsterInstance.ephemeral(), Place(small.root)
    assert run_job(small.stores, place, instance, [small.experiment]).success
    assert small.registered == set(range(1, 9))
    registry = small.experiment.registry
    retention = registry.retention.model_copy(update={"apply": True})
    told = small.experiment.model_copy(
        update={"registry": registry.model_copy(update={"retention": retention})}
    )
    assert run_job(small.stores, place, instance, [told]).success
    assert small.registered == {5, 6, 7, 8}


def test_a_database_that_is_locked_ends_the_run_and_the_next_one_finishes(small: Past) -> None:
    path = small.registry.tracking_uri.removeprefix("sqlite:///")
    plan = planned(small)
    connection = sqlite3.connect(path)
    connection.execute("drop table registered_model_aliases")
    connection.commit()
    connection.close()
    with pytest.raises(RegistryError, match="MLflow cannot"):
        removed(small, plan)
    assert all(made.is_whole for made in small.made.values())
