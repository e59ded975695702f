"""Random histories of MLflow stores under the registry sensor: a local database, a PostgreSQL, and
MLflow's own server over that one."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster import DagsterRunStatus as Status
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from mlops_assets import vocabulary as names
from mlops_assets.gateways import champions
from mlops_assets.gateways.decisions import THE_GATES, Decision
from mlops_assets.gateways.model_registry import CHAMPION, ModelRegistry
from mlops_assets_tests.commands.project import Project
from mlops_assets_tests.peers import postgres
from mlops_assets_tests.peers.postgres import Postgres
from mlops_assets_tests.programs import free_port, mlflow_server
from mlops_assets_tests.registry.daemon import BUNDLE, CHURN, Daemon, endpoint_key, version_in

SOURCE = "s3://models/churn"
"""Where a version lies: a server takes no folder of the machine it runs on."""
PROMOTED = Decision("promoted", "good", THE_GATES, "2026-01-01T00:00:00+00:00", "r")


@dataclass(frozen=True)
class Store:
    """One MLflow store without models."""

    uri: str
    events: int = 20
    """Of a history: each costs a server seconds."""

    def registry(self) -> ModelRegistry:
        """As a process that begins anew meets it."""
        return ModelRegistry(self.uri, "", "http://127.0.0.1:5000")

    def away(self) -> ModelRegistry:
        """The same while nothing listens there; a server in place of a local database."""
        port, nobody = make_url(self.uri).port, free_port()
        uri = self.uri.replace(f":{port}", f":{nobody}") if port else f"http://127.0.0.1:{nobody}"
        return ModelRegistry(uri, "", "")


def histories(local: int) -> list[object]:
    """So many seeds on the local database, and one on each server."""
    return [
        *(pytest.param("sqlite", seed) for seed in range(local)),
        *(pytest.param(kind, 9, marks=pytest.mark.peer) for kind in ("postgresql", "server")),
    ]


@pytest.fixture(scope="module")
def database(postgresql: Postgres) -> str:
    return postgresql.create("mlflow").replace("postgresql://", "postgresql+psycopg2://")


@pytest.fixture(scope="module")
def served(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow's server over the database; its URL."""
    root = tmp_path_factory.mktemp("served")
    with mlflow_server(Project(root, (("MLFLOW_TRACKING_URI", database),))) as url:
        yield url


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    kind = request.param
    if kind == "sqlite":
        yield Store(request.getfixturevalue("model_registry").tracking_uri, events=40)
        return
    found = Store(request.getfixturevalue({"postgresql": "database", "server": "served"}[kind]))
    yield found
    client = found.registry().client
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.mark.parametrize(("store", "seed"), histories(2), indirect=["store"])
def test_whatever_happens_to_aliases_each_change_is_deployed_once_and_the_champion_is_live(
    store: Store, instance: dg.DagsterInstance, seed: int
) -> None:
    """Decisions, moves by hand, deletions, runs that end in any order and deploy what is champion
    then, daemons that end at any tick, lost cursors, a registry that is away."""
    versions = store.registry()
    daemon = Daemon(versions, instance)
    for _ in range(3):
        versions.register("churn", source=SOURCE, run_id="", tags=BUNDLE)
    draw = random.Random(seed)
    keys, pending = Counter[str](), list[str]()
    changes = lost = 0
    for number in versions.client.search_model_versions("name = 'churn'"):
        versions.tag_version("churn", int(number.version), PROMOTED.tags())

    def there() -> list[int]:
        found = versions.client.search_model_versions("name = 'churn'")
        return sorted(int(one.version) for one in found)

    def tick() -> None:
        for request in daemon.tick().run_requests:
            assert request.job_name == "churn__deploy"
            keys[str(request.run_key)] += 1
            pending.append(daemon.launch(request, dg.DagsterRunStatus.STARTED))

    def ends() -> None:
        run_id = pending.pop(draw.randrange(len(pending)))
        run = daemon.instance.get_run_by_id(run_id)
        assert run is not None
        daemon.live(versions.aliases("churn")[CHAMPION])
        daemon.instance.delete_run(run_id)
        daemon.instance.add_run(run.with_status(dg.DagsterRunStatus.SUCCESS))

    champions.crown(versions, "churn", 1, now=datetime.now(UTC))
    changes += 1
    for _ in range(store.events):
        before = versions.aliases("churn")[CHAMPION]
        what = draw.choice(
            ("decided", "by hand", "register", "delete", "tick", "tick", "ends", "ends", "restart",
             "lost", "away")
        )  # fmt: skip
        if what == "decided":
            champions.crown(versions, "churn", draw.choice(there()), now=datetime.now(UTC))
        elif what == "by hand":
            # Long after the last decision, whose alias could else be about to follow.
            champions.follow(versions, "churn", before)
            versions.set_alias("churn", CHAMPION, draw.choice(there()))
        elif what == "register":
            tags = {**BUNDLE, **PROMOTED.tags()}
            versions.register("churn", source=SOURCE, run_id="", tags=tags)
        elif what == "delete" and (idle := sorted({*there()} - {before})):
            versions.client.delete_model_version("churn", str(draw.choice(idle)))
        elif what == "ends" and pending:
            ends()
        elif what == "lost":
            daemon.cursor = None
            lost += 1
        elif what == "restart":
            cursor = daemon.cursor
            daemon = Daemon(store.registry(), daemon.instance)
            daemon.cursor = cursor
        elif what == "away":
            known, daemon.registry = daemon.registry, store.away()
            assert daemon.asked() == []
            daemon.registry = known
        changes += versions.aliases("churn")[CHAMPION] != before
        if draw.random() < 0.7:
            tick()
    while True:
        tick()
        if not pending:
            break
        while pending:
            ends()
    assert set(keys.values()) == {1}
    assert len(keys) <= changes + lost
    (record,) = daemon.instance.fetch_materializations(endpoint_key(CHURN), limit=1).records
    live = record.asset_materialization.metadata["version"].value
    assert live == versions.aliases("churn")[CHAMPION]


@pytest.mark.parametrize(("store", "seed"), histories(3), indirect=["store"])
def test_whatever_others_register_none_is_missed_and_none_is_asked_for_twice(
    store: Store, instance: dg.DagsterInstance, seed: int
) -> None:
    """With daemons that end at any tick and a registry that is away for a while."""
    registry = store.registry()
    daemon = Daemon(registry, instance)
    rows = dg.AssetMaterialization(names.asset_key("churn", names.TRAINING_SET))
    instance.report_runless_asset_event(rows)
    draw = random.Random(seed)
    keys, pending = Counter[str](), list[tuple[dg.RunRequest, str]]()
    foreign: set[int] = set()
    told = Counter[int]()

    def theirs() -> None:
        foreign.add(registry.register("churn", source=SOURCE, run_id="", tags={}))

    theirs()

    def tick() -> None:
        data = daemon.tick()
        told.update(event.metadata["version"].value for event in data.asset_events)
        for request in data.run_requests:
            keys[str(request.run_key)] += 1
            if request.job_name == "churn__retrain":
                pending.append((request, daemon.launch(request, Status.STARTED)))

    def finish() -> None:
        request, run_id = pending.pop(draw.randrange(len(pending)))
        run = daemon.instance.get_run_by_id(run_id)
        assert run is not None
        daemon.instance.delete_run(run_id)
        daemon.instance.add_run(run.with_status(Status.SUCCESS))
        if version_in(request) in foreign:
            tags = {**BUNDLE, **PROMOTED.tags()}
            registry.tag_version("churn", version_in(request), tags)

    tick()
    for _ in range(store.events):
        what = draw.choice(
            ("theirs", "ours", "delete", "tick", "tick", "finish", "restart", "away")
        )
        if what == "theirs":
            theirs()
        elif what == "ours":
            registry.register("churn", source=SOURCE, run_id="", tags=BUNDLE)
        elif what == "delete" and len(foreign) > 1:
            gone = draw.choice(sorted(foreign))
            foreign.remove(gone)
            registry.client.delete_model_version("churn", str(gone))
        elif what == "finish" and pending:
            finish()
        elif what == "restart":
            cursor = daemon.cursor
            daemon = Daemon(store.registry(), daemon.instance)
            daemon.cursor = cursor
        elif what == "away":
            daemon.registry = store.away()
            assert daemon.asked() == []
            daemon.registry = registry
        tick()
    while pending:
        finish()
    tick()
    assert set(keys.values()) == {1}
    assert set(told.values()) == {1}
    assert told.keys() >= foreign
    undecided = {n for n in foreign if Decision.of(registry.version("churn", n).tags) is None}
    assert undecided == set()


@pytest.mark.peer
def test_a_database_that_lets_nobody_in_is_told_within_a_tick(
    database: str, instance: dg.DagsterInstance
) -> None:
    """And not its password; what was watched goes on when it is back."""
    store = Store(database)
    for wrong, words in (
        (store.away().tracking_uri, "refused"),
        (database.replace(postgres.PASSWORD, "wr0ng-pass"), "password authentication failed"),
        (f"{database}_of_nobody", "does not exist"),
    ):
        said = str(Daemon(ModelRegistry(wrong, "", ""), instance).tick().skip_message)
        assert words in said
        assert "MLFLOW_TRACKING_URI" in said
        assert not any(secret in said for secret in (postgres.PASSWORD, "wr0ng-pass"))


@pytest.mark.peer
def test_connections_that_break_lose_no_change(database: str, instance: dg.DagsterInstance) -> None:
    daemon, person = (Daemon(Store(database).registry(), instance), Store(database).registry())
    for version in (1, 2):
        person.register("churn", source=SOURCE, run_id="", tags=BUNDLE)
        person.set_alias("churn", CHAMPION, version)
        assert [*daemon.asked(), *daemon.asked()] == [("churn__deploy", version)]
        daemon.live(version)
        administrator = create_engine(make_url(database).set(database="postgres"))
        with administrator.connect() as connection:
            ended = connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'mlflow'"
            )
            assert ended.rowcount > 0
        administrator.dispose()
        person = Store(database).registry()
    person.client.delete_registered_model("churn")
