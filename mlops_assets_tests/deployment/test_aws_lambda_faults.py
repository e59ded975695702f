"""The target `aws_lambda` when AWS refuses or stumbles, or an answer or the deployer is lost: at
every call that changes something, what is stable serves on, and the next rollout leaves nothing
over.
"""

import itertools
from collections import Counter
from collections.abc import Iterator

import pytest

from mlops_assets.deployment.spec import RolloutSpec
from mlops_assets.deployment.targets.base import TargetError
from mlops_assets.gateways.aws import Service
from mlops_assets_tests.builders import Built
from mlops_assets_tests.deployment import lambda_site
from mlops_assets_tests.deployment.lambda_site import Cloud, Site
from mlops_assets_tests.fakes.target import KilledError
from mlops_assets_tests.peers.aws import Fault

pytestmark = [pytest.mark.peer, pytest.mark.usefixtures("light")]

STEPS = RolloutSpec(
    steps=(25,), bake_s=0, timeout_s=0.01, interval_s=0.01, min_requests=1, when_unsure="go_on"
)
READING = ("Get", "List")
FAULTS = {
    "throttled": {"code": "TooManyRequestsException", "status": 429},
    "broken": {"code": "ServiceException", "status": 500},
    "busy": {"code": "ResourceConflictException", "status": 409},
    "lost": {"done": True},
}


class Sequence:
    """Versions after one another on one function, each by the same calls: what is stable and what
    is a candidate changes with every one."""

    def __init__(self, site: Site, builts: tuple[Built, Built]) -> None:
        self.site = site
        self.builts = builts
        self.stable = 0
        for _ in range(3):  # from here on each deployment takes the same calls
            self.deploy(self.stable + 1)
        self.asked = self.calls()

    def deploy(self, version: int) -> None:
        outcome = self.site.deploy(self.builts[version % 2], version, STEPS)
        assert outcome.endpoint.version == version
        self.stable = version
        self.url = outcome.endpoint.url

    def calls(self) -> list[str]:
        """What one deployment asks, one operation per call."""
        before = len(self.site.server.calls)
        self.deploy(self.stable + 1)
        return [call.operation for call in self.site.server.calls[before:]]

    def assert_somebody_answers(self, what: object) -> None:
        seen = self.site.versions_answering(self.url, 2)
        assert {*seen} <= {str(self.stable), str(self.stable + 1)}, what

    def assert_clean(self, what: object) -> None:
        site, stable = self.site, str(self.stable)
        versions = site.versions()
        assert sorted(versions.values()) == [self.stable - 1, self.stable], what
        number = next(n for n, version in versions.items() if str(version) == stable)
        assert site.leads_to() == {number: 1}, what
        aliases = site.client.list_aliases(FunctionName=site.function)["Aliases"]
        assert [alias["Name"] for alias in aliases] == ["live"], what
        assert [key for key in site.peer.control.urls._urls if key[0] == site.function] == [
            (site.function, "live")
        ], what
        assert site.versions_answering(self.url, 1) == {stable: 1}, what


def once(site: Site, operation: str, turn: int, **what: object) -> None:
    """Have the call of an operation fail whose turn it is, counted from now on."""
    count = itertools.count()
    site.server.faults[:] = [(operation, Fault(**what, when=lambda _: next(count) == turn))]


def turns(calls: list[str]) -> list[tuple[str, int]]:
    """Each call as the operation and its turn among those."""
    seen: Counter[str] = Counter()
    found = []
    for operation in calls:
        found.append((operation, seen[operation]))
        seen[operation] += 1
    return found


def changing(calls: list[str]) -> list[tuple[str, int]]:
    return [call for call in turns(calls) if not call[0].startswith(READING)]


@pytest.fixture(scope="module")
def long(
    cloud: Cloud, one: Built, two: Built, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sequence]:
    site = Site(root=tmp_path_factory.mktemp("sequence"), cloud=cloud, name="churn_long")
    with lambda_site.packing(lambda_site.light):
        yield Sequence(site, (two, one))
    site.clear()
    assert site.server.broken == []


@pytest.fixture
def sequence(long: Sequence) -> Iterator[Sequence]:
    yield long
    long.site.server.faults.clear()
    long.site.attempts = 5


@pytest.mark.parametrize("kind", ["broken", "lost"])
def test_a_change_that_fails_leaves_the_stable_version_and_nothing_else(
    sequence: Sequence, kind: str
) -> None:
    site = sequence.site
    calls = changing(sequence.asked)
    assert len(calls) >= 9, calls
    site.attempts = 1
    refused = 0
    for operation, turn in calls:
        what = (operation, turn, kind)
        once(site, operation, turn, **FAULTS[kind])
        try:
            sequence.site.deploy(
                sequence.builts[(sequence.stable + 1) % 2], sequence.stable + 1, STEPS
            )
        except TargetError as error:
            refused += 1
            if "was rolled back" in str(error):
                assert site.leads_to().keys() <= site.versions().keys(), what
                assert sequence.stable + 1 not in site.versions().values(), what
        sequence.assert_somebody_answers(what)
        site.server.faults.clear()
        sequence.deploy(sequence.stable + 1)
        sequence.assert_clean(what)
    assert refused == len(calls)


def test_a_look_that_fails_does_no_harm(sequence: Sequence) -> None:
    site = sequence.site
    reads = [call for call in turns(sequence.asked) if call[0].startswith(READING)]
    site.attempts = 1
    refused = 0
    for operation, turn in reads[1::6]:
        once(site, operation, turn, **FAULTS["broken"])
        site.told.clear()
        try:
            sequence.deploy(sequence.stable + 1)
        except TargetError:
            refused += 1
        else:
            repeated = [line for line in site.told if "a look at the traffic failed" in line]
            assert len(repeated) == 1, (operation, turn)
        sequence.assert_somebody_answers((operation, turn))
        site.server.faults.clear()
        sequence.deploy(sequence.stable + 1)
        sequence.assert_clean((operation, turn))
    assert refused


def test_a_call_that_is_repeated_succeeds_at_once(sequence: Sequence) -> None:
    site, kinds = sequence.site, itertools.cycle(["busy", "lost", "throttled"])
    for operation, turn in changing(sequence.asked):
        once(site, operation, turn, **FAULTS[next(kinds)])
        sequence.deploy(sequence.stable + 1)
        site.server.faults.clear()
        sequence.assert_clean((operation, turn))


def test_after_a_kill_at_any_change_the_next_rollout_converges(
    sequence: Sequence, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = sequence.site
    number = len(changing(sequence.asked))
    call = Service.call
    for position in range(number):
        count = itertools.count()

        def killed(service, operation, position=position, count=count, **arguments):
            answer = call(service, operation, **arguments)
            if not operation.startswith(("get", "list")) and next(count) == position:
                raise KilledError(operation)
            return answer

        monkeypatch.setattr(Service, "call", killed)
        with pytest.raises(KilledError) as how:
            sequence.deploy(sequence.stable + 1)
        monkeypatch.setattr(Service, "call", call)
        sequence.assert_somebody_answers(how.value)
        if position % 2:
            sequence.deploy(sequence.stable + 1)
            sequence.assert_clean(how.value)
        else:  # another version, whose rollout ends the one that was begun
            sequence.deploy(sequence.stable + 2)
            assert site.leads_to().keys() == {max(site.versions(), key=int)}, how.value
            assert len(site.versions()) == 2, how.value


def test_a_first_deployment_that_fails_leaves_nothing(site: Site, one: Built) -> None:
    before = len(site.server.calls)
    site.deploy(one, 1)
    calls = changing([call.operation for call in site.server.calls[before:]])
    site.attempts = 1
    for operation, turn in calls:
        site.clear()
        (site.root / "journal" / "churn" / "rollouts" / "aws_lambda.json").unlink()
        once(site, operation, turn, **FAULTS["lost"])
        try:
            site.deploy(one, 1)
        except TargetError as error:
            if "was rolled back" in str(error):
                assert site.functions() == [], (operation, turn)
        site.server.faults.clear()
        live = site.deploy(one, 1).endpoint
        assert site.versions() == {"1": 1}
        assert site.versions_answering(live.url, 1) == {"1": 1}


@pytest.mark.parametrize("kind", ["broken", "lost"])
def test_a_rollback_that_fails_is_finished_by_the_next(
    site: Site, one: Built, two: Built, kind: str
) -> None:
    site.deploy(one, 1)
    site.attempts = 1
    target, context = site.target(), site.context
    manifest = target.render(site.release(two, 2), context)
    for operation in ("UpdateAlias", "DeleteFunction"):
        target.apply(manifest, two.folder, context)
        target.shift(manifest, 0.5, context)
        once(site, operation, 0, **FAULTS[kind])
        with pytest.raises(TargetError):
            target.rollback(manifest, context)
        assert "1" in site.leads_to()
        site.server.faults.clear()
        back = target.rollback(manifest, context)
        assert (back.version, back.traffic) == (1, {})
        assert (site.versions(), site.leads_to()) == ({"1": 1}, {"1": 1})


def test_what_takes_lambda_its_time_is_waited_for(site: Site, one: Built, two: Built) -> None:
    site.peer.settling = 0.4
    site.deploy(one, 1)
    site.deploy(two, 2, STEPS)
    assert site.versions() == {"1": 1, "2": 2}
    site.peer.settling = 3.0
    with pytest.raises(TargetError, match="to be changed: not within 1 s"):
        site.deploy(one, 3, STEPS, startup_timeout_s=1)
    site.peer.settling = 0.0
    assert site.leads_to() == {"2": 1}
