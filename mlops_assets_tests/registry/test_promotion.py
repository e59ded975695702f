"""The verdicts of each gate, at, above and below what the YAML asks for."""

from dataclasses import replace
from typing import Any

import pytest

from mlops_assets.gateways.records import Measured
from mlops_assets.modeling.tasks import MetricName
from mlops_assets.registry.promotion import (
    beats_champion,
    findings_table,
    keeps_its_budgets,
    no_slice_left_behind,
    quality_floor,
)
from mlops_assets_tests.registry.evaluations import (
    CHAMPION,
    compared,
    decided,
    evaluated,
    policy,
)

NAN = float("nan")
SUPERIOR = {"rule": "superior"}
NON_INFERIOR = {"rule": "non_inferior", "margin": 0.01}
UNLESS_WORSE = {"rule": "not_proven_worse", "margin": 0.01}


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
    asked = policy(metrics={name: {"floor": floor} for name, floor in floors.items()})
    verdict = quality_floor(evaluated(asked, metrics=values), asked)
    assert (verdict.passed, verdict.reason) == (passed, reason)


@pytest.mark.parametrize(
    ("metric", "rule", "low", "high", "passed", "words"),
    [
        ("roc_auc", SUPERIOR, 0.001, 0.03, True, "roc_auc is better than the champion's"),
        ("roc_auc", SUPERIOR, 0.0, 0.03, False, "roc_auc is no better than the champion's"),
        ("roc_auc", SUPERIOR, 0.0, 0.0, False, "roc_auc is no better than the champion's: +0.0000"),
        ("roc_auc", SUPERIOR, -0.01, 0.03, False, "roc_auc is no better than"),
        # Of a loss, less is better.
        ("log_loss", SUPERIOR, -0.03, -0.001, True, "log_loss is better than"),
        ("log_loss", SUPERIOR, 0.001, 0.03, False, "log_loss is no better than"),
        ("roc_auc", NON_INFERIOR, -0.009, 0.03, True, "is not worse by more than 0.01 than"),
        ("roc_auc", NON_INFERIOR, -0.01, 0.03, False, "may be worse by more than 0.01 than"),
        ("roc_auc", NON_INFERIOR, 0.0, 0.0, True, "is not worse by more than 0.01"),
        ("rmse", NON_INFERIOR, -5.0, 0.009, True, "is not worse by more than 0.01"),
        ("rmse", NON_INFERIOR, -5.0, 0.011, False, "may be worse by more than 0.01"),
        ("roc_auc", UNLESS_WORSE, -0.3, -0.009, True, "is not shown to be worse by more than"),
        ("roc_auc", UNLESS_WORSE, -0.3, -0.011, False, "is worse by more than 0.01 than"),
        ("rmse", UNLESS_WORSE, 0.011, 2.0, False, "is worse by more than 0.01 than"),
        *[("roc_auc", rule, NAN, NAN, False, "nan") for rule in (SUPERIOR, UNLESS_WORSE)],
    ],
)
def test_the_interval_decides_not_its_middle(
    metric: str, rule: dict[str, Any], low: float, high: float, passed: bool, words: str
) -> None:
    asked = policy(metrics={metric: rule})
    verdict = beats_champion(evaluated(asked, compared(metric, low, high)), asked)
    assert verdict.passed is passed
    assert words in verdict.reason


def test_the_reason_holds_both_values_and_the_interval() -> None:
    asked = policy()
    verdict = beats_champion(evaluated(asked, compared("roc_auc", -0.003, 0.003)), asked)
    assert verdict.reason == (
        "roc_auc is no better than the champion's: +0.0000 (-0.0030 to +0.0030), 0.8000 against "
        "0.8000 of version 4 on the same rows"
    )


@pytest.mark.parametrize("tuned", ["roc_auc", "log_loss"])
def test_what_tuning_optimised_must_be_superior_where_nothing_else_is_asked(
    tuned: MetricName,
) -> None:
    asked = policy(tuned, metrics={"accuracy": {"floor": 0.5}, tuned: {"floor": 0.1}})
    assert (asked.metrics[tuned].rule, asked.metrics[tuned].floor) == ("superior", 0.1)
    assert asked.slices.metrics[tuned].rule == "not_proven_worse"
    other = policy(tuned, metrics={"accuracy": SUPERIOR})
    assert set(other.metrics) == {"accuracy"}


def test_the_first_model_is_judged_by_floors_and_budgets_alone() -> None:
    asked = policy(metrics={"roc_auc": {**SUPERIOR, "floor": 0.6}}, budgets={"bundle_mb": 2})
    first = evaluated(asked, metrics={"roc_auc": 0.7}, champion=None)
    verdict = beats_champion(first, asked)
    assert verdict.passed
    assert verdict.reason == "there is no champion yet: floors and budgets alone decide"
    assert set(decided(asked, first).refusals) == {"keeps_its_budgets"}
    poor = evaluated(asked, metrics={"roc_auc": 0.5}, champion=None)
    assert set(decided(asked, poor).refusals) == {"meets_quality_floor", "keeps_its_budgets"}


def test_a_champion_that_cannot_be_compared_is_replaced_only_when_the_yaml_says_so() -> None:
    note = "it needs plan, which the training set holds no more"
    other = replace(CHAMPION, changed_predictions=None, footprint=None, note=note)
    asked = policy()
    refused = beats_champion(evaluated(asked, champion=other), asked)
    assert not refused.passed
    assert refused.reason == (
        f"not comparable with version 4, the champion: {note}; set "
        "registry.promotion.incomparable: floors_only to replace it nevertheless"
    )
    allowed = policy(incomparable="floors_only", metrics={"f1": {"floor": 0.9}})
    evaluation = evaluated(allowed, metrics={"f1": 0.8}, champion=other)
    assert beats_champion(evaluation, allowed).passed
    assert note in beats_champion(evaluation, allowed).reason
    assert set(decided(allowed, evaluation).refusals) == {"meets_quality_floor"}


def test_an_evaluation_made_for_other_rules_is_refused() -> None:
    before, asked = policy(), policy(metrics={"f1": SUPERIOR})
    stale = evaluated(before, compared("roc_auc", 0.1, 0.2))
    assert set(decided(asked, stale).refusals) == {"beats_champion", "no_slice_left_behind"}
    assert "materialize it again" in decided(asked, stale).refusals["beats_champion"]
    # Limits judge what was measured; they ask for nothing new.
    assert policy(metrics={"roc_auc": {**SUPERIOR, "floor": 0.5}}, approval="manual").asks() == (
        before.asks()
    )
    assert policy(level=0.05).asks() != before.asks()


SLICES = (
    compared("roc_auc", -0.2, -0.02, where="plan=gold", rows=300),
    compared("roc_auc", -0.02, 0.2, where="plan=tin", rows=400),
    Measured("roc_auc", "plan", "a|b", 20, None, None, None, 0.0, "fewer than 200 rows"),
)


def test_a_slice_that_is_shown_to_be_worse_is_left_behind() -> None:
    asked = policy()
    verdict = no_slice_left_behind(evaluated(asked, *SLICES), asked)
    assert not verdict.passed
    assert verdict.reason.startswith(
        "roc_auc where plan is gold (300 rows) is worse than the champion's: -0.1100 (-0.2000"
    )
    assert [each.result for each in verdict.findings] == ["failed", "passed", "not judged"]
    assert "tin" not in verdict.reason
    good = no_slice_left_behind(evaluated(asked, *SLICES[1:]), asked)
    assert (good.passed, good.reason) == (True, "1 rules hold on slices; 1 not judged")
    many = no_slice_left_behind(evaluated(asked, *[SLICES[0]] * 7), asked)
    assert many.reason.endswith("of version 4 on the same rows; and 2 more")
    assert len(many.findings) == 7
    small = no_slice_left_behind(evaluated(asked, SLICES[2]), asked)
    assert small.passed
    assert small.reason == (
        "roc_auc where plan is a|b (20 rows) is not judged: fewer than 200 rows"
    )


def test_slices_have_floors_too() -> None:
    asked = policy(slices={"metrics": {"roc_auc": {"floor": 0.75}}})
    alone = [replace(each, champion=None, difference=None) for each in SLICES]
    verdict = no_slice_left_behind(evaluated(asked, *alone, champion=None), asked)
    assert verdict.reason == "roc_auc where plan is gold (300 rows) 0.6900, at least 0.75 wanted"
    assert [each.rule for each in verdict.findings] == ["floor"] * 3


@pytest.mark.parametrize(
    ("budgets", "passed", "reason"),
    [
        ({}, True, "the YAML sets no budget"),
        ({"latency_ms": 1.0}, True, "latency_ms 1, at most 1 wanted, 2 the champion's"),
        ({"bundle_mb": 2.5}, False, "bundle_mb 3, at most 2.5 wanted, 1 the champion's"),
        ({"changed_predictions": 0.05}, False, "changed_predictions 0.1, at most 0.05 wanted"),
        ({"calibration_error": 0.02}, False, "calibration_error 0.03, at most 0.02 wanted"),
    ],
)
def test_budgets_are_kept(budgets: dict[str, float], passed: bool, reason: str) -> None:
    asked = policy(budgets=budgets)
    evaluation = evaluated(asked, metrics={"calibration_error": 0.03})
    verdict = keeps_its_budgets(evaluation, asked)
    assert (verdict.passed, verdict.reason) == (passed, reason)


def test_without_a_champion_no_prediction_is_changed() -> None:
    asked = policy(budgets={"changed_predictions": 0.0})
    verdict = keeps_its_budgets(evaluated(asked, champion=None), asked)
    assert verdict.passed
    assert [each.result for each in verdict.findings] == ["not judged"]


def test_the_table_and_the_decision_hold_every_number() -> None:
    asked = policy()
    evaluation = evaluated(asked, compared("roc_auc", 0.01, 0.03), *SLICES)
    table = findings_table(no_slice_left_behind(evaluation, asked).findings).splitlines()
    assert len(table) == 2 + len(SLICES)
    assert (
        "| roc_auc where plan is gold (300 rows) | not_proven_worse | 0.6900 | 0.8000 |"
        in (table[2])
    )
    assert {line.replace("\\|", "").count("|") for line in table} == {8}
    assert findings_table(()) == ""
    found = decided(asked, evaluation).to_json()
    assert [each["gate"] for each in found] == ["beats_champion"] + ["no_slice_left_behind"] * 3
    assert found[0]["difference"] == {"value": 0.02, "low": 0.01, "high": 0.03}
    assert found[0]["result"] == "passed"
