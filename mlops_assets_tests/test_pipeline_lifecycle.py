"""One experiment's life in real processes: trained, served, watched, refused, replaced, stopped."""

import re
import threading
from contextlib import contextmanager
from pathlib import Path

import httpx
import mlflow.sklearn
import numpy as np
import pytest

from mlops_assets import vocabulary as names
from mlops_assets.commands import jobs
from mlops_assets.commands.instance import open_instance
from mlops_assets.commands.live import live_endpoint
from mlops_assets.commands.predict import MOST
from mlops_assets.experiment import loader
from mlops_assets.gateways.attached import REPORT_STATE
from mlops_assets.gateways.profile_store import ProfileStore
from mlops_assets.gateways.wait import wait_until
from mlops_assets.modeling.folds import SPLIT, TEST
from mlops_assets.modeling.metrics import point
from mlops_assets.modeling.scoring import fetched, records
from mlops_assets.serving.client import Client
from mlops_assets.serving.schema import InputSchema
from mlops_assets_tests.commands.project import CHURN, Project
from mlops_assets_tests.monitoring.report.test_render import Page

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def live(tmp_path_factory) -> Project:
    """A project whose experiment was run once."""
    project = Project(tmp_path_factory.mktemp("life"))
    project.write(CHURN)
    outcome = project.json("run", "churn")
    assert outcome["ok"]
    yield project
    project.retire()


@pytest.fixture
def held_out(live):
    """The held-out rows of the last run, and the schema of requests."""
    import pandas as pd

    training_set = live.record("churn", "training_set")
    rows = pd.read_parquet(training_set.url)
    test = rows[rows[SPLIT] == TEST].reset_index(drop=True)
    assert len(test) == training_set.test_rows > 300
    return test, InputSchema.from_json(list(training_set.schema))


def url(project) -> str:
    return live_endpoint(project.settings, experiment(project)).url


def experiment(project):
    return loader.load(project.root / "configs" / "churn.yaml")


def test_the_endpoint_answers_as_the_estimator_in_mlflow(live, held_out):
    test, schema = held_out
    mlflow.set_tracking_uri(live.settings.tracking_uri)
    estimator = mlflow.sklearn.load_model("models:/churn@champion")
    with Client(url(live), timeout=30) as client:
        answer = client.predict(records(test, schema), probe=True)
    expected = estimator.predict_proba(test[[*schema.names]])
    assert len(answer.predictions) == len(test)
    assert np.abs(np.asarray(answer.probabilities) - expected).max() < 1e-6


def test_the_logged_metrics_are_those_of_the_logged_bundle(live, held_out):
    test, _ = held_out
    trained = live.record("churn", "trained_model")
    logged = live.registry.metrics(trained.run_id)
    with fetched(live.registry, trained.bundle_uri) as model:
        outcome = model.outcome(test)
    for metric in ("roc_auc", "log_loss", "accuracy", "brier", "average_precision"):
        assert point(metric, outcome) == pytest.approx(logged[f"test_{metric}"], abs=1e-9)
    record = live.record("churn", "evaluation")
    assert record.metrics["roc_auc"].low <= logged["test_roc_auc"] <= record.metrics["roc_auc"].high


def test_predict_shows_the_answer_and_how_to_ask(live):
    shown = live.mlops("predict", "churn")
    assert f"curl -sS {url(live)}/invocations" in shown
    assert "P(yes)" in shown
    answer = live.json("predict", "churn")
    assert (answer["model"], len(answer["predictions"])) == ("churn", MOST)
    refused = live.mlops("predict", "churn", "--json-record", '{"tenure": 1}', code=1)
    assert "unknown field 'tenure'" in refused
    assert "Traceback" not in refused


def test_plan_and_status_say_what_is_there(live):
    plan = live.json("plan", "churn")
    assert [asset["name"] for asset in plan["assets"] if asset["stale"]] == []
    assert (plan["trials_kept"], plan["trials_left"]) == (3, 0)
    path = live.write(CHURN.replace("max_iter: 30", "max_iter: 31"))
    stale = {a["name"]: a["why"] for a in live.json("plan", "churn")["assets"] if a["stale"]}
    path.write_text(CHURN)
    assert "its part of the YAML changed" in stale[names.TUNED_HYPERPARAMETERS]
    assert names.REGISTERED_VERSION in stale
    assert names.TRAINING_SET not in stale
    (status,) = live.json("status").values()
    assert status["champion"] == status["endpoints"][0]["version"]
    assert {c["name"]: c["verdict"] for c in status["checks"]}[names.ANSWERS_PROBE] == "passed"
    assert status["running"] == []


def test_traffic_as_in_training_is_no_drift_and_shifted_traffic_is(live):
    live.mlops("predict", "churn", "--sample", "800")
    verdicts = monitored(live, rows=800)
    verdict = verdicts[names.HAS_NOT_DRIFTED]
    assert verdict.passed, verdict.reason
    assert "800 rows are as in training" in verdict.reason
    assert verdicts[names.PROFILE_IS_FRESH].passed
    quality = verdicts[names.DATA_QUALITY_HOLDS]
    assert quality.passed, quality.reason
    # The test before has sent one request that does not fit.
    assert re.search(r"columns over 800 rows are as expected; [01] of \d+ requests", quality.reason)
    live.mlops("predict", "churn", "--sample", "1600", "--shift", "monthly_charges=2")
    verdict = monitored(live, rows=2400)[names.HAS_NOT_DRIFTED]
    assert not verdict.passed
    assert "monthly_charges" in verdict.reason
    (status,) = live.json("status").values()
    assert "monthly_charges" in status["drift"]
    (version,) = {endpoint["version"] for endpoint in status["endpoints"]}
    assert (
        "drift: 1 column has drifted" in live.registry.version("churn", version).tags[REPORT_STATE]
    )


def test_the_report_says_what_monitoring_found_and_what_was_done(live):
    file = live.root / "report.html"
    said = live.mlops("report", "churn", "--output", str(file))
    assert said.startswith("churn is not well (")
    assert "drift: 1 column has drifted" in said
    text = " ".join("".join(Page(file.read_text(encoding="utf-8")).text).split())
    assert "2,400 rows" in text
    assert "1 of 11 columns of inputs is not as in training: monthly_charges" in text
    assert "went live on local" in text
    assert "version 1 was promoted" in text
    assert "training succeeded" in text
    assert "roc_auc" in text
    assert "HistGradientBoostingClassifier" in text


def test_a_model_below_the_floor_is_not_registered_and_the_old_one_serves(live):
    before, versions = url(live), live.versions()
    path = live.write(CHURN.replace("floor: 0.6", "floor: 0.999"))
    said = live.mlops("run", "churn", code=1)
    path.write_text(CHURN)
    assert "churn/evaluation: meets_quality_floor failed: roc_auc 0." in said
    assert "at least 0.999 wanted" in said
    assert "/runs/" in said
    assert "Traceback" not in said
    assert live.versions() == versions
    assert url(live) == before
    assert live.json("predict", "churn")["version"] == str(versions)


def test_a_second_run_takes_over_without_a_failed_request(live, held_out):
    test, schema = held_out
    before = live.versions()
    with hammered(url(live), records(test.head(5), schema)) as seen:
        live.mlops("run", "churn")
        wait_for(lambda: seen[-1] == str(before + 1))
    assert set(seen) == {str(before), str(before + 1)}
    assert live.versions() == before + 1


def test_a_rollback_brings_the_version_before_back_and_history_shows_both(live, held_out):
    test, schema = held_out
    newest, address = live.versions(), url(live)
    plan = live.json("rollback", "churn", "--dry-run")
    assert (plan["champion"], plan["to"]) == (newest, newest - 1)
    assert live.json("predict", "churn")["version"] == str(newest), "a dry run changed something"
    with hammered(address, records(test.head(5), schema)) as seen:
        live.mlops("rollback", "churn", "--reason", "too many alarms")
        wait_for(lambda: seen[-1] == str(newest - 1))
    assert url(live) == address
    told = live.json("history", "churn")
    assert [one["version"] for one in told[-2:]] == [newest, newest - 1]
    replaced, current = told[-2:]
    assert (replaced["until"], current["until"]) == (current["since"], "")
    assert current["reason"] == "rollback: too many alarms"
    assert "too many alarms" in current["decided"]
    assert "too many alarms" in live.registry.version("churn", newest).tags["mlops.rolled_back"]
    (status,) = live.json("status").values()
    (endpoint,) = status["endpoints"]
    assert (endpoint["version"], endpoint["run"]) == (newest - 1, current["run_id"])
    tags = live.registry.version("churn", newest - 1).tags
    assert current["origin"]["code_version"] == tags["mlops.code_version"]
    assert current["origin"]["training_rows"] == int(tags["mlops.training_rows"]) > 300
    assert replaced["live_s"] > 0
    assert replaced["registered"]
    day = current["since"][:10]
    on_day = live.json("history", "churn", "--on", day)
    assert [one["since"] for one in on_day] == [one["since"] for one in told]
    assert live.json("history", "churn", "--on", "2020-01-01") == []
    refused = live.mlops("rollback", "churn", "--to", "99", code=1)
    assert "MLflow holds no version 99 of churn" in refused


def test_the_page_of_the_endpoint_carries_its_history(live):
    told = live.json("history", "churn")
    key = names.endpoint_key("churn", "local")
    with open_instance(live.settings) as instance:
        (record,) = instance.fetch_materializations(key, limit=1).records
    _, _, *lines = record.asset_materialization.metadata["history"].value.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [(int(row[0]), row[1]) for row in cells] == [
        (one["version"], one["since"]) for one in reversed(told)
    ]
    assert [row[2] for row in cells] == ["now", *(one["until"] for one in reversed(told[:-1]))]
    assert cells[0][6] == told[-1]["origin"]["data_digest"][:12] != ""


def test_the_impact_of_a_column_reaches_the_endpoint_that_is_asked_with_it(live):
    (one,) = live.json("impact", "churn/features:contract")
    (endpoint,) = one["endpoints"]
    assert endpoint["url"] == url(live)
    assert (endpoint["serves_column"], endpoint["trouble"]) == (True, "")
    (target,) = live.json("impact", "churn/source:churned")
    assert target["endpoints"][0]["serves_column"] is False
    assert target["column"]["roles"] == ["features.target"]


def test_stop_ends_the_endpoint_and_may_be_repeated(live):
    address = url(live)
    assert "stopped; version" in live.mlops("stop", "churn")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/ping")
    assert "was stopped already" in live.mlops("stop", "churn")
    verdicts = checked(live)
    for check in (names.ANSWERS_PROBE, names.SERVES_THE_CHAMPION, names.PROFILE_IS_FRESH):
        assert verdicts[check].passed, "what somebody wants is nobody's alarm"
        assert "it was stopped by `mlops stop`" in verdicts[check].reason
    assert "is not served" in live.mlops("predict", "churn", code=1)


def monitored(project, *, rows):
    """The checks of a monitoring run by name, once all rows have reached the store."""

    def judged():
        checks = checked(project)
        arrived = project.record("churn", names.SERVING_PROFILE).rows
        return checks if arrived >= rows else None

    wait_for(lambda: profiled(project) >= 1)
    return wait_for(judged, interval=3)


def checked(project):
    """The checks of a monitoring run by name."""
    with open_instance(project.settings) as instance:
        result = jobs.execute(
            instance,
            jobs.definitions(project.settings, experiment(project)),
            names.monitor_job("hour"),
            run_id=jobs.new_run_id(),
            ops={},
            listen=lambda _: None,
            verbose=False,
        )
    assert result.success, result.failures
    return {check.name: check for check in result.checks}


def profiled(project) -> int:
    from mlops_assets.commands import kept

    store = ProfileStore(kept.store(project.settings))
    version = project.record("churn", names.ENDPOINTS, "local").version
    return len(store.increments("churn", version, ["local"]))


def wait_for(condition, *, interval=0.2):
    import time

    return wait_until(
        condition, timeout=40, interval=interval, clock=time.monotonic, sleep=time.sleep
    )


@contextmanager
def hammered(address, rows):
    """Versions that answered a client that asks without a pause, in order; no request may fail."""
    seen, failures, done = [], [], threading.Event()

    def ask():
        with httpx.Client(timeout=10) as client:
            while not done.is_set():
                try:
                    answer = client.post(f"{address}/invocations", json={"dataframe_records": rows})
                    answer.raise_for_status()
                    seen.append(answer.json()["version"])
                except httpx.HTTPError as error:
                    failures.append(repr(error))
                done.wait(0.01)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        wait_for(lambda: seen)
        yield seen
    finally:
        done.set()
        thread.join()
    assert failures == []
    assert len(seen) > 50


def test_the_project_holds_nothing_unfinished(live):
    assert live.leftovers() == []
    assert Path(live.settings.dagster_home / "dagster.yaml").read_text().startswith("telemetry")
