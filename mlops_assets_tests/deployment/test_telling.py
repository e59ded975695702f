"""What endpoints tell of themselves: each by itself, and nobody is waited for too long."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mlops_assets.deployment import telling
from mlops_assets.deployment.targets.base import TargetContext, TargetError, Traffic
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.records import Endpoint
from mlops_assets.gateways.telemetry import ProfileLog, Telemetry
from mlops_assets_tests.builders import make_experiment
from mlops_assets_tests.fakes.target import Clock, Fake, World

LOG = ProfileLog(1, 2, 3, 4, 5.0)
MANIFEST = {"experiment": "churn", "version": 3, "bundle_digest": "d"}


class Telling(Fake):
    """One whose processes are asked, as those of `local` are."""

    tells: ClassVar[bool] = True
    state: Any = "live"
    seconds: float = 0.0

    def observe(self, experiment: str, context: TargetContext) -> Endpoint | None:
        if self.state == "unreachable":
            raise TargetError("the cluster does not answer")
        time.sleep(self.seconds)
        found = super().observe(experiment, context)
        return None if found is None else replace(found, state=self.state, detail="by hand")


class Counting(Telling):
    """One whose platform is asked, as that of `aws_lambda` is."""

    tells: ClassVar[bool] = False


@pytest.fixture
def context(tmp_path: Path) -> TargetContext:
    clock = Clock()
    return TargetContext(tmp_path, {}, {}, clock.now, clock.sleep)


@pytest.fixture
def world() -> World:
    """Version 3 is live, and has answered."""
    world = World(settled=MANIFEST, up={3: MANIFEST})
    world.answered[3] = {"pod": Traffic(10, 1, 0, 40, {}, refused={"wrong_type": 1}, log=LOG)}
    return world


def asked(
    *targets: Fake, context: TargetContext, version: int = 3, **bounds: float
) -> tuple[Telemetry, ...]:
    return telling.told(experiment(targets), version, context, **bounds)


def experiment(targets: tuple[Fake, ...]) -> Experiment:
    made = make_experiment()
    deployment = made.deployment.model_copy(update={"targets": targets})
    return made.model_copy(update={"deployment": deployment})


def test_an_endpoint_tells_its_counts(world: World, context: TargetContext) -> None:
    (one,) = asked(Telling(kind="fake", world=world), context=context)
    assert (one.state, one.requests, one.rows) == ("answers", 10, 40)
    assert (one.refused, one.log) == ({"wrong_type": 1}, LOG)
    assert not one.by_platform
    assert one.at == "2026-05-03T00:00:00+00:00"


def test_of_a_platform_that_counts_requests_rows_are_not_always_known(
    world: World, context: TargetContext
) -> None:
    counting = Counting(kind="fake", world=world)
    (one,) = asked(counting, context=context)
    assert (one.state, one.rows, one.by_platform) == ("answers", 40, True)
    assert one.refused == {"wrong_type": 1}
    world.answered[3] = {"pod": replace(world.answered[3]["pod"], rows=None, refused={})}
    (one,) = asked(counting, context=context)
    assert (one.state, one.requests, one.rows) == ("answers", 10, None)


@pytest.mark.parametrize(
    ("state", "told"), [("stopped", "it is stopped: by hand"), ("failed", "it is failed: by hand")]
)
def test_one_that_is_not_live_is_silent(
    world: World, context: TargetContext, state: str, told: str
) -> None:
    (one,) = asked(Telling(kind="fake", world=world, state=state), context=context)
    assert (one.state, one.detail) == ("silent", told)


def test_one_that_was_never_deployed_is_silent(context: TargetContext) -> None:
    (one,) = asked(Telling(kind="fake", world=World()), context=context)
    assert (one.state, one.detail) == ("silent", "nothing is deployed there")


def test_a_platform_that_does_not_answer_says_nothing_of_the_endpoint(
    world: World, context: TargetContext
) -> None:
    (one,) = asked(Telling(kind="fake", world=world, state="unreachable"), context=context)
    assert (one.state, one.detail) == ("unknown", "the cluster does not answer")


@pytest.mark.parametrize(("kind", "state"), [(Telling, "silent"), (Counting, "unknown")])
def test_one_that_is_live_and_tells_nothing(
    world: World, context: TargetContext, kind: type[Telling], state: str
) -> None:
    """Processes that do not answer are dead; a platform that does not may be late."""
    world.fault = (1, "before")
    failing, elsewhere = kind(kind="fake", world=world), kind(kind="fake", world=world)
    (one,) = asked(failing, context=context)
    assert (one.state, one.detail) == (state, "measure: the platform answers 500")
    world.fault = None
    (one,) = asked(elsewhere, context=context, version=2)
    assert one.state == state
    assert "it serves version 3, and nothing of version 2 answers" in one.detail


def test_one_that_hangs_holds_up_nobody(world: World, context: TargetContext) -> None:
    began = time.monotonic()
    slow, fast = (Telling(kind="fake", world=world, seconds=s) for s in (5.0, 0.0))
    hung, fine = asked(slow, fast, context=context, patience=0.2)
    assert time.monotonic() - began < 2
    assert (hung.state, hung.detail) == ("silent", "nothing was heard of it for 0.2 s")
    assert fine.state == "answers"
