"""What `registry.promotion` may say, and what is answered when it says something else."""

from typing import Any

import pytest
from pydantic import ValidationError

from mlops_assets.registry.spec import MetricRule, PromotionSpec
from mlops_assets_tests.builders import make_experiment


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({}, r"needs a rule \(superior, non_inferior, not_proven_worse\), a floor, or both"),
        ({"rule": "non_inferior"}, "non_inferior needs a margin above 0"),
        ({"rule": "superior", "margin": 0.1}, "a margin is for the rules non_inferior and"),
        ({"floor": 0.5, "margin": 0.1}, "a margin is for the rules non_inferior and"),
        ({"rule": "non_inferior", "margin": -0.1}, "greater than or equal to 0"),
        ({"rule": "equal"}, "'superior', 'non_inferior' or 'not_proven_worse'"),
    ],
)
def test_a_rule_that_says_nothing_is_refused(rule: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        MetricRule.model_validate(rule)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"registry": {"promotion": {"metrics": {"rmse": {"floor": 3}}}}},
            "registry.promotion.metrics: 'rmse' does not fit the task binary_classification",
        ),
        (
            {"registry": {"promotion": {"slices": {"metrics": {"r2": {"floor": 3}}}}}},
            "registry.promotion.slices.metrics: 'r2' does not fit",
        ),
        (
            {"registry": {"promotion": {"slices": {"metrics": {"f1": {"floor": 0.3}}}}}},
            "registry.promotion.slices.metrics judges the columns of training.slices, which names",
        ),
        (
            {
                "task": "regression",
                "registry": {"promotion": {"budgets": {"calibration_error": 0.1}}},
            },
            "registry.promotion.budgets.calibration_error is of probabilities",
        ),
        (
            {"registry": {"promotion": {"level": 0.5}}},
            "less than or equal to 0.2",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused_before_anything_runs(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        make_experiment(**changes)


def test_defaults_follow_what_tuning_optimises() -> None:
    experiment = make_experiment(tuning={"metric": "log_loss"})
    assert experiment.registry.promotion == PromotionSpec()
    assert experiment.promotion.metrics == {"log_loss": MetricRule(rule="superior")}
    assert experiment.promotion.slices.metrics == {"log_loss": MetricRule(rule="not_proven_worse")}
    assert experiment.promotion.resolved("roc_auc") == experiment.promotion
