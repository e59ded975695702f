"""The rollout over a target in memory: whatever fails, and whenever its process dies."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.deployment.journal import Journal
from mlops_assets.deployment.rollout import (
    ATTENTION_S,
    Outcome,
    RolloutError,
    Withdrawn,
    clean_up,
    roll_out,
)
from mlops_assets.deployment.spec import RolloutSpec
from mlops_assets.deployment.targets.base import Release, TargetContext, TargetError
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.serving.recording import Recording
from mlops_assets_tests.builders import Built, make_bundle
from mlops_assets_tests.fakes.target import Fake, KilledError, World

STEPS = RolloutSpec(steps=(10, 50), bake_s=60, timeout_s=600, interval_s=10, min_requests=100)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("rollout") / "bundle")


class Site:
    """A target, a journal, and whoever deploys there."""

    def __init__(self, root: Path, built: Built) -> None:
        self.world = World()
        self.target = Fake(kind="fake", world=self.world)
        self.journal = Journal(DataStore(str(root / "data"), {}), "churn", "fake")
        self.built = built
        self.told: list[str] = []
        self.context = TargetContext(
            state=root,
            environment={},
            variables={},
            now=self.world.clock.now,
            sleep=self.world.clock.sleep,
        )

    def deploy(
        self,
        version: int,
        spec: RolloutSpec = STEPS,
        run: str = "a-run",
        *,
        returns: bool = False,
        withdrawn: Withdrawn = lambda: "",
    ) -> Outcome:
        release = Release("churn", version, f"digest-{version}", "", Recording("", 3600))
        return roll_out(
            self.target,
            release,
            self.built.folder,
            spec=spec,
            journal=self.journal,
            context=self.context,
            run=run,
            tell=self.told.append,
            returns=returns,
            withdrawn=withdrawn,
        )

    def is_served_by(self, version: int) -> bool:
        """By this one alone, with nothing left of any other."""
        world = self.world
        return (
            world.settled is not None
            and world.settled["version"] == version
            and world.shares == {version: 1.0}
            and set(world.up) == {version}
        )


@pytest.fixture
def site(tmp_path: Path, built: Built) -> Site:
    return Site(tmp_path, built)


def test_the_first_version_gets_all_of_the_traffic_at_once(site: Site) -> None:
    outcome = site.deploy(1)
    assert site.world.calls == ["apply", "ask", "shift 1", "ask", "settle"]
    assert (outcome.endpoint.version, outcome.changed, outcome.steps) == (1, True, ())
    assert site.is_served_by(1)
    assert site.journal.read().stage == "done"


def test_what_is_live_already_is_left_alone(site: Site) -> None:
    site.deploy(1)
    before = list(site.world.calls)
    outcome = site.deploy(1)
    assert (outcome.endpoint.version, outcome.changed) == (1, False)
    assert site.world.calls == before


def test_the_next_version_gets_it_in_steps_each_as_long_as_asked(site: Site) -> None:
    site.deploy(1)
    outcome = site.deploy(2)
    assert [(step.asked, step.given) for step in outcome.steps] == [(0.1, 0.1), (0.5, 0.5)]
    first, second = outcome.steps
    assert first.seconds >= 60
    assert first.candidate.requests >= 100
    assert second.candidate.requests == pytest.approx(20 * 0.5 * second.seconds, abs=10)
    assert (outcome.endpoint.version, outcome.endpoint.previous_version) == (2, 1)
    assert site.is_served_by(2)


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        ({"errors": 0.2}, "errors in 20"),
        ({"slow": 0.5}, "answers slower than 250 ms in 50"),
        ({"Yes": 0.9}, "label=Yes in 90"),
    ],
)
def test_a_version_that_does_harm_is_rolled_back_at_the_first_step(
    site: Site, rates: dict[str, float], words: str
) -> None:
    site.deploy(1)
    site.world.rates[2] = rates
    began = site.world.clock.at
    with pytest.raises(
        RolloutError, match=rf"version 2 was rolled back: at 10% of the traffic, {words}"
    ) as refused:
        site.deploy(2)
    assert "Version 1 still serves at http://fake" in str(refused.value)
    assert "shift 0.5" not in site.world.calls
    assert site.is_served_by(1)
    assert (site.world.clock.at - began).total_seconds() < 120
    assert site.journal.read().stage == "rolled_back"
    site.world.rates.clear()
    assert site.deploy(2).endpoint.version == 2, "it is not refused for ever"


def test_a_version_that_answers_wrong_never_sees_traffic(site: Site) -> None:
    site.deploy(1)
    site.world.wrong.add(2)
    with pytest.raises(RolloutError, match=r"does not answer its golden requests.*Version 1 still"):
        site.deploy(2)
    assert not [call for call in site.world.calls[5:] if call.startswith("shift")]
    assert site.is_served_by(1)


def test_without_traffic_nothing_is_known_and_the_yaml_decides(site: Site) -> None:
    site.deploy(1)
    site.world.requests_per_s = 0.0
    with pytest.raises(RolloutError, match=r"after 600 s at 10% .* 0 of 100 requests so far"):
        site.deploy(2)
    assert site.is_served_by(1)
    outcome = site.deploy(2, STEPS.model_copy(update={"when_unsure": "go_on"}))
    assert [step.verdict for step in outcome.steps] == ["0 of 100 requests so far"] * 2
    assert site.is_served_by(2)


@pytest.mark.parametrize("interval_s", [10, 45])
def test_looks_that_fail_for_a_moment_are_repeated_and_count_for_nothing(
    site: Site, interval_s: float
) -> None:
    site.deploy(1)
    clock, world = site.world.clock, site.world
    for began in (0, 90):
        clock.after(began, lambda: setattr(world, "unreachable", True))
        clock.after(began + 45, lambda: setattr(world, "unreachable", False))
    outcome = site.deploy(2, STEPS.model_copy(update={"interval_s": interval_s}))
    assert outcome.endpoint.version == 2
    assert any(
        "a look at the traffic failed, and is repeated: nobody" in said for said in site.told
    )
    assert site.is_served_by(2)


@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_version_that_cannot_be_measured_for_the_time_stated_is_rolled_back(
    site: Site, *, from_the_start: bool
) -> None:
    site.deploy(1)
    began = site.world.clock.at
    site.world.unreachable = from_the_start
    site.world.clock.after(30, lambda: setattr(site.world, "unreachable", True))
    with pytest.raises(
        RolloutError, match=r"at 10% .* it could not be measured for 60 s: nobody is.*Version 1"
    ):
        site.deploy(2)
    lasted = (site.world.clock.at - began).total_seconds()
    assert lasted == (60 if from_the_start else 90)
    assert site.is_served_by(1)


@pytest.mark.parametrize("follows", [True, False])
def test_a_stable_pod_that_goes_takes_nothing_with_it(site: Site, *, follows: bool) -> None:
    """What it answered in this step still counts, and what it answered before still does not."""
    world = site.world
    world.pods[1] = ["a", "b"]
    site.deploy(1)
    world.rates[1] = {"errors": 0.2}
    world.clock.sleep(1000)
    world.rates.clear()
    world.clock.after(25, lambda: world.pods.update({1: ["b", "c"] if follows else ["b"]}))
    first, _ = site.deploy(2).steps
    per_pod = 20 * 0.9 / 2
    assert first.stable.errors == 0, "of before the step"
    assert first.stable.requests == pytest.approx(2 * first.seconds * per_pod, rel=0.2)
    assert first.stable.rows == first.stable.requests


def test_a_version_that_tells_nothing_any_more_is_rolled_back_for_that(site: Site) -> None:
    """As one does whose pods are too slow even for their readiness probe."""
    site.deploy(1)
    site.world.silent.add(2)
    with pytest.raises(RolloutError, match=r"after 600 s .*version 2 tells nothing: none of it is"):
        site.deploy(2)
    assert site.is_served_by(1)


@pytest.mark.parametrize(
    ("rates", "requests_per_s", "words"),
    [
        ({"Yes": 0.9}, 20.0, "label=Yes in 30"),
        ({"Yes": 0.3}, 0.0, "0 of 100 requests so far"),
        ({"errors": 1.0}, 20.0, ""),
    ],
    ids=["it drifted", "its callers are gone", "it fails"],
)
def test_a_version_that_returns_is_not_judged_beside_the_one_it_leaves(
    site: Site, rates: dict[str, float], requests_per_s: float, words: str
) -> None:
    site.deploy(1)
    site.deploy(2)
    site.world.rates[2], site.world.requests_per_s = rates, requests_per_s
    began, seen = site.world.clock.at, len(site.world.calls)
    if words:
        with pytest.raises(RolloutError, match=rf"version 1 was rolled back: .*{words}.* still"):
            site.deploy(1)
        began, seen = site.world.clock.at, len(site.world.calls)
    outcome = site.deploy(1, returns=True)
    assert (outcome.endpoint.version, outcome.endpoint.previous_version) == (1, 2)
    assert (outcome.changed, outcome.steps) == (True, ())
    assert site.world.calls[seen:] == ["apply", "ask", "shift 1", "ask", "settle"]
    assert site.world.clock.at == began, "it baked"
    assert site.is_served_by(1)


def test_a_version_that_returns_and_answers_wrong_never_sees_traffic(site: Site) -> None:
    site.deploy(1)
    site.deploy(2)
    site.world.wrong.add(1)
    with pytest.raises(RolloutError, match=r"does not answer its golden requests.*Version 2 still"):
        site.deploy(1, returns=True)
    assert site.is_served_by(2)


@pytest.mark.parametrize("how", ["killed", "killed_after"])
def test_a_version_that_returns_goes_on_wherever_it_was_killed(
    tmp_path: Path, built: Built, how: str
) -> None:
    for position in range(1, 6):
        site = Site(tmp_path / f"{position}", built)
        site.deploy(1)
        site.deploy(2)
        site.world.rates[2] = {"errors": 1.0}
        began = site.world.clock.at
        site.world.fault = (len(site.world.calls) + position, how)
        with pytest.raises(KilledError):
            site.deploy(1, returns=True)
        assert_somebody_answers(site, position)
        site.world.fault = None
        assert site.deploy(1, run="another-run", returns=True).steps == ()
        assert site.is_served_by(1), position
        assert site.world.clock.at == began, position


@pytest.mark.parametrize(
    ("after", "words"),
    [(0, "shift"), (7, "shift 0.5"), (100, "shift 1")],
    ids=["before its first step", "in its first step", "in its second step"],
)
@pytest.mark.parametrize("interval_s", [10, 3600])
def test_a_version_that_is_taken_back_loses_its_traffic_at_once(
    site: Site, after: float, words: str, interval_s: float
) -> None:
    """However long its steps bake, and however seldom its traffic is looked at."""
    site.deploy(1)
    clock, seen, reasons = site.world.clock, len(site.world.calls), [""]
    clock.after(after, lambda: reasons.insert(0, "version 1 returns (rollback by ann)"))
    clock.sleep(0)
    began = clock.at
    bakes = {"bake_s": 90, "timeout_s": 40_000, "interval_s": interval_s}
    if interval_s > 90:
        bakes["bake_s"] = 36_000
    with pytest.raises(
        RolloutError, match=r"version 2 was rolled back: version 1 returns .*Version 1"
    ):
        site.deploy(2, STEPS.model_copy(update=bakes), withdrawn=lambda: reasons[0])
    assert (clock.at - began).total_seconds() <= after + ATTENTION_S
    assert not [call for call in site.world.calls[seen:] if call.startswith(words)]
    assert site.is_served_by(1)
    assert site.journal.read().stage == "rolled_back"
    assert not site.deploy(1, returns=True).changed, "it never left"


def test_a_version_that_is_taken_back_while_it_comes_up_goes_within_seconds(site: Site) -> None:
    """However long the platform takes to start it."""
    site.deploy(1)
    clock, reasons = site.world.clock, [""]
    site.world.comes_up_s = 900
    clock.after(60, lambda: reasons.insert(0, "version 1 returns (rollback by ann)"))
    began = clock.at
    with pytest.raises(RolloutError, match=r"rolled back: version 1 returns .*Version 1"):
        site.deploy(2, withdrawn=lambda: reasons[0])
    assert (clock.at - began).total_seconds() <= 60 + ATTENTION_S
    assert site.is_served_by(1)
    assert site.journal.read().stage == "rolled_back"


def test_a_return_ends_the_steps_that_its_version_had_begun(site: Site) -> None:
    """Somebody moved the alias by hand first, and its rollout was killed at its first step."""
    site.deploy(1)
    site.deploy(2)
    site.world.fault = (len(site.world.calls) + 5, "killed")
    with pytest.raises(KilledError):
        site.deploy(1)
    assert site.journal.read().share == 0.1
    site.world.fault = None
    seen = len(site.world.calls)
    assert site.deploy(1, returns=True).steps == ()
    assert "measure" not in site.world.calls[seen:]
    assert site.is_served_by(1)


def calls_of(site: Site) -> list[str]:
    """Of a rollout of version 2 beside version 1 when nothing fails."""
    rehearsal = Site(site.context.state / "rehearsal", site.built)
    rehearsal.deploy(1)
    before = len(rehearsal.world.calls)
    rehearsal.deploy(2)
    return rehearsal.world.calls[before:]


@pytest.mark.parametrize("how", ["before", "after", "killed", "killed_after"])
@pytest.mark.parametrize("follower", [2, 3])
def test_whatever_call_fails_or_is_the_last_the_next_rollout_converges(
    tmp_path: Path, built: Built, how: str, follower: int
) -> None:
    calls = calls_of(Site(tmp_path, built))
    assert len(calls) > 15
    for position, call in enumerate(calls, 1):
        site = Site(tmp_path / f"{position}", built)
        site.deploy(1)
        site.world.fault = (len(site.world.calls) + position, how)
        error: type[BaseException] = KilledError if how.startswith("killed") else TargetError
        harmless = call == "measure" and error is TargetError
        with nullcontext() if harmless else pytest.raises(error):
            site.deploy(2)
        assert_somebody_answers(site, position)
        assert not harmless or site.is_served_by(2), "one look that failed was the end"
        progress = site.journal.read()
        if how.startswith("killed"):
            assert not progress.ended, position
        site.world.fault = None
        outcome = site.deploy(follower)
        assert outcome.endpoint.version == follower, position
        assert site.is_served_by(follower), position
        assert site.journal.read().stage == "done"


def assert_somebody_answers(site: Site, position: int) -> None:
    shares = site.world.shares
    assert sum(shares.values()) == pytest.approx(1.0), position
    assert {version for version, share in shares.items() if share > 0} <= set(site.world.up)


def test_a_killed_rollout_goes_on_at_its_step(site: Site) -> None:
    site.deploy(1)
    position = calls_of(site).index("shift 0.5") + 3
    site.world.fault = (len(site.world.calls) + position, "killed")
    with pytest.raises(KilledError):
        site.deploy(2)
    assert site.journal.read().share == 0.5
    seen = len(site.world.calls)
    site.world.fault = None
    outcome = site.deploy(2, run="another-run")
    assert [step.asked for step in outcome.steps] == [0.5]
    assert "shift 0.1" not in site.world.calls[seen:]
    assert any("goes on with version 2, begun by run a-run" in line for line in site.told)


def test_a_rollout_that_cannot_be_rolled_back_says_so_and_the_next_one_does(site: Site) -> None:
    site.deploy(1)
    site.world.rates[2] = {"errors": 1.0}
    rehearsed = len(site.world.calls)
    with pytest.raises(RolloutError):
        site.deploy(2)
    position = len(site.world.calls)
    site.world.calls = site.world.calls[:rehearsed]
    site.world.fault = (position, "before")
    with pytest.raises(TargetError, match=r"is to be rolled back .*, which did not succeed"):
        site.deploy(2)
    assert site.journal.read().stage == "rolling_back"
    site.world.fault = None
    arguments: dict[str, Any] = {"spec": STEPS, "journal": site.journal, "context": site.context}
    assert clean_up(site.target, **arguments, tell=site.told.append)
    assert site.is_served_by(1)
    assert not clean_up(site.target, **arguments, tell=site.told.append)


@pytest.mark.parametrize("follower", [2, 3])
def test_what_vanished_while_it_was_settled_is_rolled_back_and_the_next_begins(
    site: Site, follower: int
) -> None:
    site.deploy(1)
    site.world.fault = (len(site.world.calls) + len(calls_of(site)), "killed")
    with pytest.raises(KilledError):
        site.deploy(2)
    assert site.journal.read().stage == "settling"
    site.target.retire("churn", site.context)
    outcome = site.deploy(follower)
    assert (outcome.endpoint.version, outcome.changed) == (follower, True)
    assert any("rolls version 2 back: version 2 is not there" in line for line in site.told)
    assert site.is_served_by(follower)


def test_a_progress_that_nobody_wrote_is_named(site: Site, tmp_path: Path) -> None:
    from mlops_assets.gateways.data_store import DataStoreError

    site.deploy(1)
    path = tmp_path / "data" / "churn" / "rollouts" / "fake.json"
    path.write_text('{"surprise": 1}')
    with pytest.raises(DataStoreError, match=r"rollouts/fake.json does not hold"):
        site.deploy(2)
    progress = replace(site_progress(), stage="done")
    site.journal.write(progress)
    assert site.journal.read() == progress


def site_progress() -> Any:
    from mlops_assets.deployment.journal import Progress

    return Progress("run", 1, {"version": 1}, "shifting", 0.5, "2026-05-03T00:00:00+00:00", "")
