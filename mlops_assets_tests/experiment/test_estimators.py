"""What `mlops check` says of an estimator before anything runs."""

from typing import Any

import pytest

from mlops_assets.experiment import estimators
from mlops_assets_tests.builders import make_experiment


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ({"estimator": "sklearn.naive_bayes.GaussianNB"}, "training.runtime: sklearn"),
        ({"estimator": "sklearn.naive_bayes.GaussianNB", "runtime": "sklearn"}, None),
        ({"estimator": "sklearn.linear_model.LogisticRegression"}, None),
        ({"estimator": "xgboost.XGBClassifier", "parameters": {"booster": "dart"}}, "'dart'"),
        (
            {
                "estimator": "xgboost.XGBClassifier",
                "runtime": "sklearn",
                "parameters": {"booster": "dart"},
            },
            None,
        ),
    ],
)
def test_an_estimator_that_no_endpoint_executes_is_a_problem(
    section: Any, reason: str | None
) -> None:
    found = estimators.problems(make_experiment(training=section))
    if reason is None:
        assert found == []
    else:
        ((key, message),) = found
        assert key == ("training", "estimator")
        assert reason in message
