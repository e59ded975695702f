"""The verdicts of both gates, at, above and below what the YAML asks for."""

from typing import Any

import pytest

from mlops_assets.gateways.records import Comparison, Evaluation, Metric
from mlops_assets.registry.promotion import beats_champion, quality_floor
from mlops_assets.registry.spec import RegistrySpec

NAN = float("nan")


def evaluated(champion: Comparison | None = None, **values: float) -> Evaluation:
    metrics = {name: Metric(value, value - 0.1, value + 0.1) for name, value in values.items()}
    return Evaluation(run_id="run", rows=100, metrics=metrics, slices=(), champion=champion)


def against(metric: str, candidate: float, champion: float) -> Evaluation:
    gap = candidate - champion
    difference = Metric(gap, gap - 0.02, gap + 0.02)
    return evaluated(Comparison(4, metric, candidate, champion, difference, note=""))


def spec(**section: Any) -> RegistrySpec:
    return RegistrySpec.model_validate(section)


@pytest.mark.parametrize(
    ("floors", "values", "passed", "reason"),
    [
        ({}, {"roc_auc": 0.1}, True, "the YAML sets no floor"),
        ({"roc_auc": 0.8}, {"roc_auc": 0.8}, True, "roc_auc 0.8000, at least 0.8 wanted"),
        ({"roc_auc": 0.8}, {"roc_auc": 0.7999}, False, "roc_auc 0.7999, at least 0.8 wanted"),
        ({"log_loss": 0.5}, {"log_loss": 0.5}, True, "log_loss 0.5000, at most 0.5 wanted"),
        ({"log_loss": 0.5}, {"log_loss": 0.51}, False, "log_loss 0.5100, at most 0.5 wanted"),
        ({"r2": -0.5}, {"r2": -0.4}, True, "r2 -0.4000, at least -0.5 wanted"),
        ({"roc_auc": 0.8}, {"roc_auc": NAN}, False, "roc_auc nan, at least 0.8 wanted"),
        ({"rmse": 3}, {"rmse": NAN}, False, "rmse nan, at most 3 wanted"),
        (
            {"roc_auc": 0.8, "f1": 0.5, "brier": 0.2},
            {"roc_auc": 0.9, "f1": 0.4, "brier": 0.3},
            False,
            "f1 0.4000, at least 0.5 wanted; brier 0.3000, at most 0.2 wanted",
        ),
    ],
)
def test_every_floor_must_be_met(
    floors: dict[str, float], values: dict[str, float], passed: bool, reason: str
) -> None:
    verdict = quality_floor(evaluated(**values), spec(floors=floors))
    assert (verdict.passed, verdict.reason) == (passed, reason)


@pytest.mark.parametrize(
    ("metric", "candidate", "champion", "margin", "passed"),
    [
        ("roc_auc", 0.85, 0.80, 0.0, True),
        ("roc_auc", 0.80, 0.80, 0.0, True),
        ("roc_auc", 0.79, 0.80, 0.0, False),
        ("roc_auc", 0.80, 0.81, 0.01, True),  # the difference is -0.010000000000000009
        ("roc_auc", 0.79, 0.81, 0.01, False),
        ("r2", -0.2, -0.1, 0.05, False),
        # Of a loss or an error the margin is a share of the champion's.
        ("rmse", 101.0, 100.0, 0.01, True),
        ("rmse", 101.1, 100.0, 0.01, False),
        ("rmse", 90.0, 100.0, 0.0, True),
        ("log_loss", 0.101, 0.1, 0.0, False),
        ("log_loss", 0.0, 0.0, 0.01, True),
        ("roc_auc", NAN, 0.8, 0.5, False),
        ("rmse", NAN, 1.0, 0.5, False),
    ],
)
def test_the_champion_is_beaten_within_the_margin(
    metric: str, candidate: float, champion: float, margin: float, passed: bool
) -> None:
    verdict = beats_champion(
        against(metric, candidate, champion), spec(champion={"margin": margin})
    )
    assert verdict.passed is passed
    assert f"{metric} {candidate:.4f} against {champion:.4f} of version 4" in verdict.reason


def test_the_reason_holds_the_interval_and_the_margin_in_the_metrics_units() -> None:
    verdict = beats_champion(against("rmse", 101.0, 100.0), spec(champion={"margin": 0.02}))
    assert verdict.reason == (
        "rmse 101.0000 against 100.0000 of version 4 on the same rows: "
        "+1.0000 (+0.9800 to +1.0200), at most 2 worse allowed"
    )


def test_the_first_model_has_nobody_to_beat() -> None:
    verdict = beats_champion(evaluated(roc_auc=0.5), spec())
    assert (verdict.passed, verdict.reason) == (True, "there is no champion yet")


def test_a_champion_that_cannot_be_compared_does_not_stand_in_the_way_silently() -> None:
    note = "the champion predicts other classes"
    other = Comparison(4, "roc_auc", None, None, None, note=note)
    verdict = beats_champion(evaluated(other, roc_auc=0.5), spec())
    assert (verdict.passed, verdict.reason) == (True, f"not comparable with version 4: {note}")
