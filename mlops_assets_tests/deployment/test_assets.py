"""The asset of an endpoint as runs materialize it: what refuses a version, and what a rollback is
spared. Over bundles that a registry in memory names, and the real server."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest

from mlops_assets import vocabulary as names
from mlops_assets.deployment import assets
from mlops_assets.deployment.journal import Journal
from mlops_assets.deployment.rollout import ATTENTION_S
from mlops_assets.deployment.spec import RolloutSpec
from mlops_assets.deployment.targets.base import Target, TargetContext
from mlops_assets.experiment.spec import kind_of
from mlops_assets.gateways import champions
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.decisions import THE_GATES, Decision
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.serving import bundle
from mlops_assets_tests.builders import Built, make_bundle, make_experiment
from mlops_assets_tests.deployment.test_shadow import logged
from mlops_assets_tests.endpoints import Place
from mlops_assets_tests.fakes.registry import MemoryRegistry
from mlops_assets_tests.fakes.target import Clock, Fake, World

AT = "2026-05-03T00:00:00+00:00"
GATES = Decision("promoted", "it passed the gates", THE_GATES, AT, "")
BACK = Decision.rolled_back("ann", "too many alarms", AT)
DAEMON = {"dagster/sensor_name": names.REGISTRY_SENSOR}
LOG: dict[str, Any] = {"prediction_log": {}}
SLICED = {"estimator": "sklearn.linear_model.LogisticRegression", "slices": ["contract"]}
STEPS = RolloutSpec(steps=(10, 50), bake_s=60, timeout_s=600, min_requests=100)


class Shelf(MemoryRegistry):
    """A registry whose bundles lie on this disk."""

    def download(self, uri: str, folder: Path) -> Path:
        return Path(uri)


class Stored(ModelRegistry):
    """A real one, whose bundles lie on this disk."""

    def download(self, uri: str, folder: Path) -> Path:
        return Path(uri)


class Hasty(Clock):
    """Time as it is, but what waits for traffic waits no longer than it must."""

    skipped = timedelta()

    @property
    def at(self) -> datetime:  # type: ignore[override]
        return datetime.now(UTC) + self.skipped

    @at.setter
    def at(self, _: datetime) -> None: ...

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        if seconds >= ATTENTION_S:
            self.skipped += timedelta(seconds=seconds)
            super().sleep(0)
        else:
            time.sleep(seconds)


@dataclass
class Site:
    """An experiment with one endpoint, and whoever materializes it."""

    root: Path
    instance: dg.DagsterInstance
    target: Target | None = None
    deployment: dict[str, Any] = field(default_factory=dict)
    registry: Any = field(default_factory=lambda: Shelf({}))

    def __post_init__(self) -> None:
        asked = {"targets": [{"kind": "local"}], "preflight": {"requests": 20}, **self.deployment}
        self.experiment = make_experiment(deployment=asked, monitoring=LOG, training=SLICED)
        if self.target is not None:
            changed = {"targets": (self.target,), "rollout": STEPS}
            section = self.experiment.deployment.model_copy(update=changed)
            self.experiment = self.experiment.model_copy(update={"deployment": section})
        (target,) = self.experiment.deployment.targets
        self.key = names.endpoint_key("churn", kind_of(type(target)))
        self.store = DataStore(str(self.root / "data"), {})
        self.place = Place(self.root)

    @property
    def context(self) -> TargetContext:
        found = self.place.context
        if not isinstance(self.target, Fake):
            return found
        clock = self.target.world.clock
        return replace(found, now=clock.now, sleep=clock.sleep)

    def version(self, built: Built) -> int:
        tags = {"mlops.bundle_uri": str(built.folder), "mlops.bundle_digest": built.digest}
        number: int = self.registry.register(
            "churn", source="s3://models/churn", run_id="", tags=tags
        )
        return number

    def promote(self, version: int, decision: Decision = GATES) -> None:
        self.registry.tag_version("churn", version, decision.tags())
        champions.crown(self.registry, "churn", version, now=datetime.now(UTC))

    def deploy(self, version: int, decision: Decision = GATES, **knobs: Any) -> "Deployed":
        """Make it the champion, and materialize the endpoint as the sensor has it done."""
        self.promote(version, decision)
        return self.materialize(version, **knobs)

    def materialize(self, version: int, **knobs: Any) -> "Deployed":
        """The endpoint, as the sensor asked for it when that version was the champion."""
        done = dg.materialize(
            list(assets.build(self.experiment).assets or ()),
            instance=self.instance,
            resources={
                "data_store": self.store,
                "model_registry": self.registry,
                "target_context": self.context,
            },
            run_config=names.deploy_config(self.experiment, version=version, **knobs),
            tags=DAEMON,
            raise_on_error=False,
        )
        return Deployed(done, self)


@dataclass
class Deployed:
    done: dg.ExecuteInProcessResult
    site: Site

    @property
    def message(self) -> str:
        """Why the step failed; empty when it did not."""
        failed = [event.step_failure_data for event in self.done.get_step_failure_events()]
        return " ".join(str(data.user_failure_data.description) for data in failed)  # type: ignore[union-attr]

    @property
    def preflight(self) -> dg.AssetCheckEvaluation:
        (found,) = self.done.get_asset_check_evaluations()
        assert found.check_name == names.PASSED_PREFLIGHT
        return found

    @property
    def said(self) -> dict[str, Any]:
        (event,) = self.done.asset_materializations_for_node(self.site.key.to_python_identifier())
        return {name: value.value for name, value in event.metadata.items()}

    @property
    def log(self) -> str:
        entries = self.site.instance.all_logs(self.done.run_id)
        return "\n".join(entry.user_message for entry in entries)


@pytest.fixture(scope="module")
def wrong(two: Built, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Sealed with the golden requests of another model."""
    folder = tmp_path_factory.mktemp("wrong") / "bundle"
    made = make_bundle(folder, seed=0)
    shutil.copy(two.folder / two.manifest.model_file, folder)
    sealed = bundle.seal(folder, made.manifest)
    return Built(folder, bundle.digest(folder), sealed, two.estimator, made.columns)


@pytest.fixture
def sited(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []
    with dg.DagsterInstance.ephemeral() as instance:

        def make(**asked: Any) -> Site:
            made.append(Site(tmp_path, instance, **asked))
            return made[-1]

        yield make
        for site in made:
            site.place.clear()


def answered(site: Site, built: Built) -> str:
    """The version that answers callers of the local endpoint."""
    body = {"instances": built.records(2)}
    response = httpx.post(f"{site.place.state.url}/invocations", json=body, timeout=20)
    return str(response.raise_for_status().json()["version"])


def test_a_version_that_answers_wrong_is_refused_and_the_old_one_answers(
    sited: Callable[..., Site], one: Built, wrong: Built
) -> None:
    site = sited()
    first = site.deploy(site.version(one))
    assert first.done.success, first.message
    assert first.preflight.passed
    refused = site.deploy(site.version(wrong))
    assert not refused.done.success
    found = refused.preflight
    assert (found.passed, found.blocking, found.asset_key) == (False, True, site.key)
    assert "version 2: " in str(found.description)
    assert "golden request" in str(found.description)
    measured = [found.metadata[name].value for name in ("value", "threshold")]
    assert measured == ["no answer", "answers"]
    assert "version 2 is not deployed: " in refused.message
    assert "golden request" in refused.message
    assert f"Version 1 still serves at {site.place.state.url}" in refused.message
    assert answered(site, one) == "1"
    assert not refused.done.asset_materializations_for_node(site.key.to_python_identifier())


def test_a_run_whose_version_was_deleted_while_it_waited_leaves_the_old_one(
    sited: Callable[..., Site], one: Built, two: Built, model_registry: ModelRegistry
) -> None:
    site = sited(registry=Stored(model_registry.tracking_uri, "", ""))
    assert site.deploy(site.version(one)).done.success
    site.promote(second := site.version(two))
    site.registry.client.delete_model_version("churn", str(second))
    waited = site.materialize(second)
    assert not waited.done.success
    assert "no version has the alias champion; mlops promote gives it to one" in waited.message
    assert answered(site, one) == "1"
    site.promote(1)
    assert site.materialize(second).done.success
    assert answered(site, one) == "1"


def test_a_version_that_disagrees_with_the_live_one_is_refused(
    sited: Callable[..., Site], one: Built, two: Built
) -> None:
    site = sited(deployment={"shadow": {"min_agreement": 0.999}})
    site.deploy(site.version(one))
    logged(one, site.store, when=datetime.now(UTC))
    refused = site.deploy(site.version(two))
    assert not refused.done.success
    assert not refused.preflight.passed
    assert refused.preflight.blocking
    words = "it agrees with the live version on "
    assert words in str(refused.preflight.description)
    assert f"version 2 is not deployed: {words}" in refused.message
    assert "of 300 rows, min_agreement is 99.90%" in refused.message
    assert "Version 1 still serves" in refused.message
    assert "| contract=" in str(refused.preflight.metadata["flips"].value)
    assert answered(site, one) == "1"


@pytest.fixture
def bad(sited: Callable[..., Site], one: Built, two: Built) -> Site:
    """Version 2 has taken over from version 1, and answers otherwise than that one ever since."""
    manifest = {"experiment": "churn", "version": 2, "bundle_digest": two.digest}
    world = World(
        clock=Hasty(),
        up={2: {**manifest, "bundle": str(two.folder)}},
        shares={2: 1.0},
        settled=manifest,
        rates={2: {"Yes": 0.9}},
    )
    site = sited(
        target=Fake(kind="fake", world=world), deployment={"shadow": {"min_agreement": 0.999}}
    )
    for built in (one, two):
        said = {"state": "live", "version": site.version(built), "since": AT}
        told = dg.AssetMaterialization(site.key, metadata=said)
        site.instance.report_runless_asset_event(told)
    return site


def of_fake(site: Site) -> World:
    assert isinstance(site.target, Fake)
    assert isinstance(site.target.world, World)
    return site.target.world


def test_a_rollback_is_not_judged_beside_the_version_it_leaves(bad: Site, two: Built) -> None:
    world = of_fake(bad)
    refused = bad.deploy(1)
    assert "label=Yes in 30" in refused.message
    logged(two, bad.store, when=datetime.now(UTC), version=2, target="fake")
    refused = bad.deploy(1)
    assert "min_agreement is 99.90%" in refused.message
    seen = len(world.calls)
    done = bad.deploy(1, BACK)
    assert done.done.success, done.message
    assert world.calls[seen:] == ["apply", "ask", "shift 1", "ask", "settle"]
    assert done.preflight.passed
    assert "5 golden requests answered as in training" in str(done.preflight.description)
    assert "shadow_rows" not in done.preflight.metadata
    assert (done.said["version"], done.said["previous_version"]) == (1, 2)
    assert done.said["reason"] == "rollback: too many alarms", "also when the sensor deploys it"
    assert done.said["decided"] == "rollback by ann: too many alarms"
    assert "| rollback: too many alarms |" in done.said["history"]
    assert "version 1 returns (rollback by ann: too many alarms)" in done.log


@pytest.mark.parametrize(("call", "stage"), [(1, "bringing_up"), (5, "settling")])
def test_a_rollback_that_was_killed_goes_on_as_one(bad: Site, call: int, stage: str) -> None:
    world = of_fake(bad)
    world.fault = (call, "killed_after")
    assert not bad.deploy(1, BACK).done.success
    progress = Journal(bad.store, "churn", "fake").read()
    assert progress is not None
    assert progress.stage == stage
    world.fault = None
    seen = len(world.calls)
    done = bad.deploy(1, BACK)
    assert done.done.success, done.message
    assert "measure" not in world.calls[seen:]
    assert world.shares == {1: 1.0}
    assert done.said["reason"] == "rollback: too many alarms"


def test_the_budgets_of_preflight_hold_no_rollback_up(bad: Site, wrong: Built) -> None:
    preflight = bad.experiment.deployment.preflight.model_copy(update={"max_latency_ms": 1e-6})
    section = bad.experiment.deployment.model_copy(update={"preflight": preflight})
    bad.experiment = bad.experiment.model_copy(update={"deployment": section})
    assert "max_latency_ms is 1e-06" in bad.deploy(1).message
    done = bad.deploy(1, BACK)
    assert done.done.success, done.message
    assert done.preflight.metadata["p99_ms"].value > 0
    number = bad.version(wrong)
    refused = bad.deploy(number, BACK)
    assert "golden request" in refused.message, "right answers are asked of whatever returns"


def test_a_rollback_ends_the_rollout_that_is_under_way(bad: Site) -> None:
    """Without waiting for the end of its step, which is a day away."""
    world = of_fake(bad)
    assert bad.deploy(1, BACK).done.success
    world.rates.clear()
    bakes = STEPS.model_copy(update={"bake_s": 86_400, "timeout_s": 86_400})
    section = bad.experiment.deployment.model_copy(update={"rollout": bakes, "shadow": None})
    bad.experiment = bad.experiment.model_copy(update={"deployment": section})
    bad.registry.tag_version("churn", 1, GATES.tags())

    def back() -> None:
        """As `mlops rollback` does it, from another process."""
        assert world.shares == {2: 0.1, 1: 0.9}
        bad.registry.tag_version("churn", 1, BACK.tags())
        champions.crown(bad.registry, "churn", 1, now=datetime.now(UTC))

    began = world.clock.at
    world.clock.after(300, back)
    ended = bad.deploy(2)
    assert not ended.done.success
    assert (
        "version 2 was rolled back: version 1 returns (rollback by ann: too many" in ended.message
    )
    assert "Version 1 still serves" in ended.message
    assert world.clock.at - began < timedelta(seconds=300 + 60)
    assert world.shares == {1: 1.0}
    again = bad.deploy(1, BACK)
    assert again.done.success, again.message
    assert not again.said["changed"]


def test_only_a_return_is_spared_anything(bad: Site) -> None:
    """Not what is decided later of the same version, nor other settings of what serves."""
    world = of_fake(bad)
    assert bad.deploy(1, BACK).done.success
    world.rates.clear()
    again = bad.deploy(1, BACK)
    assert again.said["reason"] == f"sensor {names.REGISTRY_SENSOR}"
    assert not again.said["changed"]
    assert bad.deploy(2).done.success
    done = bad.deploy(1)
    assert done.done.success, done.message
    assert done.said["reason"] == f"sensor {names.REGISTRY_SENSOR}"
    assert "| 10% |" in done.said["rollout"]
