"""What speaks against a retraining, and its words."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlops_assets.training.retraining.brakes import Data, Past, Retraining, hold, refuse
from mlops_assets.training.spec import Brakes

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
FREE = Brakes(cool_down=0, per_day=100, per_week=100, failed_candidates=100)


def ended(hours: float, outcome: Any = "version", recipe: str = "r") -> Retraining:
    """One that took ten minutes and ended so many hours ago."""
    end = NOW - timedelta(hours=hours)
    return Retraining(f"run{hours:g}", end - timedelta(minutes=10), end, outcome, recipe)


def said(spec: Brakes, past: Past, recipe: str = "r") -> str:
    return str(hold(spec, past, recipe=recipe, now=NOW) or "")


def test_nothing_holds_the_first_one() -> None:
    assert said(Brakes(), Past()) == ""


@pytest.mark.parametrize(
    ("keys", "past", "expected"),
    [
        ({}, Past(busy="r1"), "one at a time: run r1 is under way or waits in the queue"),
        (
            {"cool_down": 3},
            Past((ended(2),)),
            "cool-down: 3 hours after the last retraining, until 2026-06-10T13:00+00:00",
        ),
        ({"cool_down": 2}, Past((ended(2),)), ""),
        (
            {"cool_down": 3},
            Past(by_hand=NOW - timedelta(hours=1)),
            "cool-down: 3 hours after the last retraining, until 2026-06-10T14:00+00:00",
        ),
        (
            {"per_day": 2},
            Past((ended(1), ended(5), ended(30))),
            "budget per day: 2 of 2 are used, until 2026-06-11T06:50+00:00",
        ),
        ({"per_day": 3}, Past((ended(1), ended(5), ended(30))), ""),
        (
            {"per_week": 3},
            Past((ended(1), ended(5), ended(30), ended(200))),
            "budget per week: 3 of 3 are used, until 2026-06-16T05:50+00:00",
        ),
        (
            {"failed_candidates": 2},
            Past((ended(1, "failed"), ended(2, "canceled"), ended(3, "failed"))),
            "circuit breaker: 2 retrainings in a row brought no version, the last was run run1; "
            "make a model by hand or change the YAML",
        ),
        ({"failed_candidates": 2}, Past((ended(1, "failed"), ended(2), ended(3, "failed"))), ""),
    ],
)
def test_each_brake_and_its_numbers(keys: dict[str, Any], past: Past, expected: str) -> None:
    assert said(FREE.model_copy(update=keys), past) == expected


def test_what_closes_the_circuit() -> None:
    spec = FREE.model_copy(update={"failed_candidates": 2})
    failed = (ended(1, "failed"), ended(2, "failed"))
    assert said(spec, Past(failed))
    assert not said(spec, Past(failed), recipe="another YAML")
    assert not said(spec, Past((ended(0.5), *failed)))
    assert not said(spec, Past(failed, by_hand=NOW - timedelta(minutes=5)))
    assert said(spec, Past(failed, by_hand=NOW - timedelta(hours=9)))


NEW = Data("d1", 500, {"trained_model": "the data changed"}, 7, 450)


@pytest.mark.parametrize(
    ("data", "asked", "expected"),
    [
        (NEW, None, ""),
        (
            Data("d1", 500, {}, 7, 450, "tried by run a, which registered a version"),
            None,
            "no new data: none since version 7 (digest d1)",
        ),
        (Data("d1", 500, {}, None, 450), None, "no new data: none (digest d1)"),
        (
            Data("d1", 500, {"x": "y"}, 7, 450, "tried by run a, which was refused by b"),
            None,
            "tried before: this exact data (digest d1) was already tried by run a, which was "
            "refused by b",
        ),
        (NEW, 50, ""),
        (NEW, 51, "too few labels: 50 since the last training, 51 needed"),
        (Data("d1", 500, {"x": "y"}, None, None), 51, ""),
    ],
)
def test_data_that_needs_no_training(data: Data, asked: int | None, expected: str) -> None:
    assert str(refuse(data, new_labels=asked) or "") == expected
