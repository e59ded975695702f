"""Regression and several classes, on real data that comes with scikit-learn; and Telco, as a new
user would run it."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pandas as pd
import pytest

from mlops_assets.commands.choice import choose
from mlops_assets.commands.live import live_endpoint
from mlops_assets.modeling.folds import LABEL, SPLIT, TEST
from mlops_assets.modeling.scoring import records
from mlops_assets.serving.schema import InputSchema
from mlops_assets_tests.commands.project import Project
from mlops_assets_tests.programs import mlflow_server

pytestmark = pytest.mark.pipeline

TELCO = Path(__file__).parents[1] / ".." / "shared" / "data" / "telco-churn.csv"

EXPERIMENT = """\
name: {name}
description: A dataset that comes with scikit-learn.
owner: ml@example.org
task: {task}
features:
  source: {{kind: sklearn_bundled, dataset: {dataset}}}
  target: target
tuning:
  n_trials: 4
  workers: 1
  search_space: {space}
training:
  estimator: {estimator}
  bootstrap: 100
deployment:
  targets: [{{kind: local}}]
"""


@pytest.mark.parametrize(
    ("task", "dataset", "estimator", "space", "metric", "at_least", "server"),
    [
        (
            "regression",
            "diabetes",
            "sklearn.linear_model.Ridge",
            "{alpha: {type: float, low: 0.001, high: 100, log: true}}",
            "r2",
            0.3,
            True,
        ),
        (
            "multiclass_classification",
            "wine",
            "sklearn.ensemble.RandomForestClassifier",
            "{n_estimators: {type: int, low: 20, high: 30}}",
            "accuracy",
            0.85,
            False,
        ),
    ],
)
def test_every_task_runs_through(
    tmp_path, mlflow_template, task, dataset, estimator, space, metric, at_least, server
):
    """One of them on an MLflow server that alone reaches the artifacts, as in `deploy/k8s`."""
    project = Project(tmp_path).with_tables(mlflow_template)
    project.write(
        EXPERIMENT.format(
            name=dataset, task=task, dataset=dataset, estimator=estimator, space=space
        )
    )
    with ExitStack() as closing:
        if server:
            url = closing.enter_context(mlflow_server(project, keeps_artifacts=True))
            project = replace(project, variables=(("MLFLOW_TRACKING_URI", url),))
        closing.callback(project.retire)
        outcome = project.json("run", dataset)
        assert outcome["records"]["evaluation"]["metrics"][metric]["value"] >= at_least
        assert {c["name"]: c["passed"] for c in outcome["checks"]}["answers_probe"]
        test, answer = asked(project, dataset)
        if task == "regression":
            error = (test[LABEL] - pd.Series(answer["predictions"])).abs().mean()
            assert error == pytest.approx(
                outcome["records"]["evaluation"]["metrics"]["mae"]["value"], abs=1e-6
            )
        else:
            truth = [answer["classes"][int(code)] for code in test[LABEL]]
            right = sum(a == b for a, b in zip(truth, answer["predictions"], strict=True))
            expected = outcome["records"]["evaluation"]["metrics"]["accuracy"]["value"]
            assert right / len(test) == pytest.approx(expected, abs=1e-9)


@pytest.mark.skipif(not TELCO.exists(), reason="../shared/data/telco-churn.csv is not there")
def test_telco_from_the_file_to_the_endpoint_unedited(tmp_path, mlflow_template):
    project = Project(tmp_path).with_tables(mlflow_template)
    project.mlops("init", str(TELCO.resolve()), "--target", "Churn")
    try:
        outcome = project.json("run", "--trials", "5")
        assert outcome["records"]["tuned_hyperparameters"]["trials"] == 5
        assert outcome["records"]["evaluation"]["metrics"]["roc_auc"]["value"] >= 0.84
        _, answer = asked(project, outcome["experiment"])
        assert answer["classes"] == ["No", "Yes"]
    finally:
        project.retire()


def asked(project, name):
    """The held-out rows, and what the endpoint says of them."""
    training_set = project.record(name, "training_set")
    rows = pd.read_parquet(training_set.url)
    test = rows[rows[SPLIT] == TEST].reset_index(drop=True)
    schema = InputSchema.from_json(list(training_set.schema))
    experiment = choose(project.settings, name)
    endpoint = live_endpoint(project.settings, experiment)
    answer = httpx.post(
        f"{endpoint.url}/invocations",
        json={"dataframe_records": records(test, schema)},
        timeout=30,
    ).json()
    assert answer["version"] == "1"
    return test, answer
