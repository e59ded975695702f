"""The target `sagemaker` when AWS refuses, does not answer, or the deploying process dies, at any
call: the stable version serves on, nothing is left, and the next rollout converges."""

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name

from mlops_assets.deployment.rollout import RolloutError
from mlops_assets.deployment.targets.base import TargetError
from mlops_assets.gateways.aws import Service
from mlops_assets_tests.builders import Built, make_bundle
from mlops_assets_tests.deployment import sagemaker_site
from mlops_assets_tests.deployment.sagemaker_site import Site
from mlops_assets_tests.fakes.target import KilledError
from mlops_assets_tests.peers import sagemaker_stand_in
from mlops_assets_tests.peers.aws import Fault
from mlops_assets_tests.peers.aws_call import Call

pytestmark = pytest.mark.peer

SERVICES = ("sagemaker", "sagemaker-runtime", "cloudwatch")
READS = ("Describe", "List", "Get")
MODES: dict[str, dict[str, Any]] = {
    "variants": {},
    "aside": {"serverless": {}, "alarms": ("errors",), "bake_s": 0},
}
Pair = tuple[Built, Built]
Place = tuple[str, int]
"""An operation, and which time it is asked for."""


@pytest.fixture(scope="module")
def builts(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("built")
    return make_bundle(folder / "one", seed=0), make_bundle(folder / "two", seed=1)


@pytest.fixture
def light(tmp_path: Path) -> Iterator[Site]:
    with sagemaker_site.running(tmp_path, sagemaker_stand_in.program) as found:
        found.alarm("OK")
        yield found


class Faults:
    """A site where versions 1 and 2 replace each other, call by call."""

    def __init__(self, site: Site, builts: Pair, settings: dict[str, Any]) -> None:
        self.site, self.settings = site, settings
        self.builts = dict(enumerate(builts, 1))
        site.variables["AWS_MAX_ATTEMPTS"] = "1"
        self.live = 1
        self.deploy(1)

    def deploy(self, version: int) -> list[Call]:
        """What it asked of AWS."""
        before = len(self.site.aws.calls)
        self.site.deploy(self.builts[version], version, **self.settings)
        asked = self.site.aws.calls[before:]
        self.live = version
        assert self.site.is_served_by(version)
        return [call for call in asked if call.service in SERVICES and call.operation]

    def rehearsed(self, *, reads: bool) -> list[Place]:
        """What the next version's rollout asks of AWS."""
        seen: Counter[str] = Counter()
        found = []
        for call in self.deploy(3 - self.live):
            seen[call.operation] += 1
            if call.operation.startswith(READS) == reads:
                found.append((call.operation, seen[call.operation]))
        return found

    def try_next(self, place: Place, **fault: Any) -> Fault:
        """The next version, with a fault on its way; then once more."""
        count = itertools.count(1)
        armed = Fault(when=lambda _: next(count) == place[1], **fault)
        self.site.aws.faults.append((place[0], armed))
        before, version = self.live, 3 - self.live
        refused = None
        try:
            self.deploy(version)
        except TargetError as error:  # if not of the rollout, something is left, as it says
            refused = error
        self.site.aws.faults.clear()
        if isinstance(refused, RolloutError):
            assert f"Version {before} still serves" in str(refused), place
            assert self.site.is_served_by(before), place
        self.assert_served(place)
        self.deploy(version)
        return armed

    def assert_served(self, place: Place) -> None:
        answer = self.site.ask(self.builts[1], rows=0)
        assert answer["version"] in ("1", "2"), place


@pytest.mark.parametrize(("mode", "how"), [("variants", "refused"), ("aside", "lost")])
def test_whatever_change_fails_the_next_rollout_converges(
    light: Site, builts: Pair, mode: str, how: str
) -> None:
    faults = Faults(light, builts, MODES[mode])
    errors = itertools.cycle(
        [("ThrottlingException", 400), ("InternalFailure", 500), ("ConflictException", 409)]
    )
    for place in faults.rehearsed(reads=False):
        code, status = next(errors)
        fault = {"done": True} if how == "lost" else {"code": code, "status": status}
        armed = faults.try_next(place, **fault)
        assert armed.times == 0, f"{place} was never asked for"


def test_whatever_cannot_be_read_the_next_rollout_converges(light: Site, builts: Pair) -> None:
    faults = Faults(light, builts, MODES["variants"])
    for place in faults.rehearsed(reads=True)[::7]:
        faults.try_next(place, code="ThrottlingException", status=400)


@pytest.mark.parametrize("mode", MODES)
def test_whenever_the_process_dies_the_next_rollout_converges(
    light: Site, builts: Pair, mode: str
) -> None:
    faults = Faults(light, builts, MODES[mode])
    # What both ask for alike is looked at with variants.
    places = faults.rehearsed(reads=False)[:: 2 if mode == "aside" else 1]
    for index, place in enumerate(places):
        before, version = faults.live, 3 - faults.live
        with killed(place), pytest.raises(KilledError):
            faults.deploy(version)
        faults.assert_served(place)
        faults.deploy(version if index % 2 else before)


def test_what_passes_within_seconds_is_not_even_noticed(light: Site, builts: Pair) -> None:
    faults = Faults(light, builts, MODES["variants"])
    changes = {operation for operation, _ in faults.rehearsed(reads=False)}
    reads = {operation for operation, _ in faults.rehearsed(reads=True)}
    del light.variables["AWS_MAX_ATTEMPTS"]
    for operation in sorted({*reads, "InvokeEndpoint"}):
        light.aws.fail(operation, "ThrottlingException", status=400)
    for operation in sorted(changes - {"InvokeEndpoint"}):
        light.aws.lose(operation)
    faults.deploy(3 - faults.live)


@contextmanager
def killed(place: Place) -> Iterator[None]:
    """The process is gone before that call is sent."""
    operation, turns, call = xform_name(place[0]), itertools.count(1), Service.call

    def dying(self: Service, asked: str, **parameters: Any) -> dict[str, Any]:
        if asked == operation and next(turns) == place[1]:
            raise KilledError(asked)
        return call(self, asked, **parameters)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Service, "call", dying)
        yield
