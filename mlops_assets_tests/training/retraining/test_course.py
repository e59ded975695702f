"""What must hold of every course of retrainings, whatever happens in whatever order."""

from datetime import datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from mlops_assets.training.retraining.cases import Case
from mlops_assets.training.retraining.course import MOST_STARTS, PATIENCE, Start, Step, turns
from mlops_assets.training.spec import Brakes, Retrain
from mlops_assets_tests.training.retraining.world import START, Run, World

HOURLY = "0 * * * *"


class Course(RuleBasedStateMachine):
    """Ticks, new rows, edits, drift, people and the ends of runs, in any order."""

    @initialize(
        cool_down=st.sampled_from([0, 3, 24]),
        per_day=st.integers(1, 3),
        per_week=st.integers(2, 6),
        failed=st.integers(1, 3),
        on_drift=st.booleans(),
    )
    def begin(
        self, cool_down: int, per_day: int, per_week: int, failed: int, *, on_drift: bool
    ) -> None:
        brakes = Brakes(
            cool_down=cool_down, per_day=per_day, per_week=per_week, failed_candidates=failed
        )
        cron = "0 */6 * * *"
        self.world = World(Retrain(cron=cron, on_drift=on_drift, look=HOURLY, brakes=brakes))

    @rule(hours=st.sampled_from([0, 0.5, 1, 7, 30]))
    def tick(self, hours: float) -> None:
        world = self.world
        world.wait(hours)
        before = [*world.runs]
        world.tick()
        for run in world.runs[len(before) :]:
            self.check(run, before)

    def check(self, run: Run, before: list[Run]) -> None:
        """What held when this run was asked for."""
        world, brakes = self.world, self.world.spec.brakes
        assert all(each.ended is not None for each in before), "one at a time"
        assert run.key not in [each.key for each in before]
        if run.part == "data":
            return
        models = [each for each in before if each.part == "model"]
        assert len(world.spent(timedelta(days=1))) <= brakes.per_day
        assert len(world.spent(timedelta(days=7))) <= brakes.per_week
        ends = [each.ended for each in models] + [world.by_hand]
        cool = timedelta(hours=brakes.cool_down)
        assert all(world.now - end >= cool for end in ends if end is not None)
        same = [each for each in models if (each.data, each.recipe) == (run.data, run.recipe)]
        assert not any(each.refused or each.outcome == "version" for each in same), "tried before"
        assert world.made != (run.data, run.recipe), "nothing new"
        judged = [each for each in models if each.outcome in ("version", "failed")]
        last = judged[-brakes.failed_candidates :]
        broken = len(last) == brakes.failed_candidates and all(
            each.outcome == "failed"
            and each.recipe == run.recipe
            and (world.by_hand is None or each.started > world.by_hand)
            for each in last
        )
        assert not broken, "the circuit is open"

    @rule(outcome=st.sampled_from(["version", "version", "failed", "canceled"]), by=st.booleans())
    def finish(self, outcome: Any, *, by: bool) -> None:
        self.world.wait(0.2)
        self.world.finish(outcome, refused=by and outcome == "failed")

    @rule(outcome=st.sampled_from(["version", "failed", "failed"]), times=st.integers(1, 4))
    def whole_courses(self, outcome: Any, times: int) -> None:
        """New rows, the refresh, the training and its end, so many times in a row."""
        for _ in range(times):
            self.world.data += 1
            for hours, end in ((6, "version"), (0, outcome), (0, "version")):
                self.tick(hours)
                self.world.finish(end)

    @rule()
    def a_run_is_started_by_hand(self) -> None:
        now = self.world.now
        self.world.runs.append(Run(f"hand {now}", "data", now, self.world.data, self.world.recipe))

    @rule()
    def rows_arrive(self) -> None:
        self.world.data += 1

    @rule()
    def edit(self) -> None:
        self.world.recipe += 1

    @rule()
    def by_hand(self) -> None:
        self.world.make_by_hand()

    @rule(passed=st.booleans(), version=st.sampled_from(["1", "2"]))
    def judged(self, version: str, *, passed: bool) -> None:
        self.world.evaluate(passed=passed, version=version)


Course.TestCase.settings = settings(max_examples=30, stateful_step_count=50, deadline=None)
test_every_course = Course.TestCase


class Drift(RuleBasedStateMachine):
    """One drift that lasts: evaluated again and again, over ticks, nights and restarts."""

    @initialize(refused=st.booleans())
    def begin(self, *, refused: bool) -> None:
        brakes = Brakes(cool_down=0, per_day=1000, per_week=1000, failed_candidates=100)
        self.world = World(Retrain(on_drift=True, look=HOURLY, brakes=brakes))
        self.refused, self.data = refused, 0
        self.world.make_by_hand()
        self.world.wait(1)
        self.world.data += 1
        self.world.evaluate(passed=False)

    @rule(hours=st.sampled_from([0, 0.01, 1, 24]))
    def tick(self, hours: float) -> None:
        self.world.wait(hours)
        self.world.tick()
        # One for the drift, and one more for each time that new rows came while it lasted.
        assert len(self.world.models) <= 1 + self.data
        # Nor is the data read more often than at the beginning and when `look` says, every hour.
        looks = (self.world.now - START) // timedelta(hours=1)
        assert len(self.world.runs) - len(self.world.models) <= 2 + looks

    @rule()
    def finish(self) -> None:
        self.world.wait(0.1)
        model = bool(self.world.models) and self.world.models[-1].ended is None
        failed = model and self.refused
        self.world.finish("failed" if failed else "version", refused=failed)

    @rule()
    def judged_again(self) -> None:
        self.world.evaluate(passed=False)

    @rule(enough=st.integers(0, 5))
    def rows_arrive(self, enough: int) -> None:
        if enough == 0:
            self.world.data += 1
            self.data += 1


Drift.TestCase.settings = settings(max_examples=30, stateful_step_count=50, deadline=None)
test_one_retraining_for_one_drift = Drift.TestCase


def drifting() -> World:
    world = World(Retrain(on_drift=True, look="0 5 * * *", brakes=Brakes(cool_down=0)))
    world.make_by_hand()
    world.wait(1)
    world.evaluate(passed=False)
    return world


def test_the_course_of_one_drift() -> None:
    world = drifting()
    world.data += 1
    assert world.tick().startswith("asks for run churn:retraining:")
    assert [run.part for run in world.runs] == ["data"]
    assert "refreshes the training set" in world.tick()
    world.finish("version")
    assert world.tick().endswith(":model")
    assert "trains" in world.tick()
    world.wait(0.5)
    world.finish("version")
    assert world.tick() == f"run {world.runs[-1].key} registered a version"
    assert world.tick() == ""


def test_without_new_rows_none_is_trained_and_the_next_look_sees_them() -> None:
    world = drifting()
    world.tick()
    world.finish("version")
    assert world.tick() == "refused: no new data: none (digest 0)"
    assert world.case.said == "refused: no new data: none (digest 0)"
    world.wait(2)
    world.data += 1
    world.evaluate(passed=False)
    assert world.tick() == ""
    world.wait(20)
    world.tick()
    world.finish("version")
    world.tick()
    assert [run.part for run in world.runs] == ["data", "data", "model"]


def test_a_run_that_never_came_is_asked_for_anew_under_another_name() -> None:
    world = drifting()
    world.tick()
    (lost,) = world.runs
    world.runs.clear()
    assert world.tick() == f"waits for run {lost.key} to be made"
    world.now += PATIENCE
    world.tick()
    assert world.runs[0].key != lost.key


def test_what_is_held_back_starts_when_the_brake_lets_go() -> None:
    world = World(Retrain(cron="0 * * * *", brakes=Brakes(cool_down=5)))
    world.tick()
    world.make_by_hand()
    world.data += 1
    for _ in range(4):
        world.wait(1)
        assert world.tick() == (
            "held back by cool-down: 5 hours after the last retraining, until "
            "2026-06-01T17:00+00:00"
        )
    assert world.case.said_at == (START + timedelta(hours=1)).isoformat()
    world.wait(1)
    world.tick()
    assert [run.part for run in world.runs] == ["data"]


def test_turns_go_by_priority_and_then_by_age() -> None:
    def asked(hour: int) -> Step:
        at = datetime(2026, 6, 1, hour, tzinfo=START.tzinfo).isoformat()
        return Step(Case({"cron": ""}, at), "", Start("data", "key"))

    steps = {"a": asked(3), "b": asked(1), "c": asked(2), "held": Step(Case(), "held back")}
    assert turns(steps, {"a": 0, "b": 0, "c": 5, "held": 9}) == ["c", "b", "a"]
    many = {f"e{i:03}": asked(1) for i in range(3 * MOST_STARTS)}
    assert turns(many, dict.fromkeys(many, 0)) == [*many][:MOST_STARTS]
