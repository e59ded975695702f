"""The check on a real instance, over files of the real recorder: kinds of fall told apart."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from mlops_assets import resources, settings
from mlops_assets import vocabulary as names
from mlops_assets.gateways import record_json
from mlops_assets.gateways.profile_store import reference_path
from mlops_assets.gateways.records import Endpoint, FeatureTable, Metric, Snapshot
from mlops_assets.gateways.registered import held_out, held_out_tags
from mlops_assets.graph import build_all, build_experiment
from mlops_assets.modeling.folds import ROW
from mlops_assets.monitoring import schedules
from mlops_assets.serving.profile import Profile
from mlops_assets.serving.runtimes import sklearn as runtime
from mlops_assets_tests.builders import SCHEMA, make_columns, make_experiment
from mlops_assets_tests.monitoring.performance.served import DAY, HOUR, NOW, Served

MADE = (names.LABELS, names.PREDICTION_LOG, names.PERFORMANCE)


class Live(Served):
    """The same with what stages before left behind: features, an endpoint, a version, its
    reference profile."""

    def __init__(self, folder, built, registry):
        home = {"MLOPS_HOME": str(folder), "MLFLOW_TRACKING_URI": registry.tracking_uri}
        self.resources = resources.build(settings.load(home))
        super().__init__(folder, built, self.resources["data_store"])
        columns = make_columns(4000, seed=77)
        scores = self.scorer.score(columns)
        profile = Profile(SCHEMA, when=NOW)
        profile.track(columns, scores)
        self.store.write_bytes(reference_path("churn", 1), profile.serialize())
        record = Snapshot("", "", 0, (), "", "")
        features = FeatureTable("", "", 0, self.schema.to_json(), "", (), record)
        since = (NOW - DAY).isoformat()
        endpoint = Endpoint("churn", "local", "http://127.0.0.1:9", 1, "d", since, None)
        for path, left in (("features", features), ("endpoints/local", endpoint)):
            content = record_json.to_json(left).encode()
            self.store.write_bytes(f"records/churn/{path}/latest.json", content)
        trained = runtime.frame(SCHEMA, columns).assign(**{ROW: range(4000)})
        self.store.write_table("churn/training_sets/0123456789abcdef.parquet", trained)
        tags = held_out_tags({"roc_auc": self.expected()})
        tags["mlops.data_digest"] = "0123456789abcdef0000"
        registry.register("churn", source="runs:/r/model", run_id="", tags=tags)

    def expected(self):
        """What the model's own probabilities promise; another version answers, which counts for
        nothing of what is judged."""
        self.answer(NOW - 40 * HOUR, rows=4000, seed=50, version=2)
        (window,) = self.measure().windows
        return window.estimated["roc_auc"]

    def run(self):
        """The run of the monitoring job, and what its checks found of quality and of rows."""
        self.write()
        shared = dg.Definitions(resources=self.resources, executor=dg.in_process_executor)
        job = build_all([self.experiment], shared).resolve_job_def(names.monitor_job("hour"))
        checks = {names.PERFORMANCE: names.QUALITY_HOLDS} | {
            names.PREDICTION_LOG: names.ROWS_HAVE_NOT_DRIFTED
        }
        part = job.get_subset(
            asset_selection=frozenset(names.asset_key("churn", name) for name in MADE),
            asset_check_selection={
                dg.AssetCheckKey(names.asset_key("churn", asset), check)
                for asset, check in checks.items()
            },
        )
        with dg.DagsterInstance.ephemeral() as instance:
            result = part.execute_in_process(instance=instance)
        said = {check.check_name: check for check in result.get_asset_check_evaluations()}
        return result, said[names.QUALITY_HOLDS], said[names.ROWS_HAVE_NOT_DRIFTED]


@pytest.fixture
def live(tmp_path, churn_bundle, model_registry):
    return Live(tmp_path, churn_bundle, model_registry)


def test_it_waits_for_labels_and_then_holds(live):
    answers = [live.answer(NOW - hours * HOUR, rows=400, seed=hours) for hours in (1, 2)]
    live.tell(answers[0], rows=slice(0, 30))
    _, early, _ = live.run()
    assert early.passed
    assert not early.metadata["judged"].value
    assert early.description.startswith("not judged: no window of version 1 has 100 labels")
    assert "estimated roc_auc" in early.description
    assert "value" not in early.metadata
    assert early.metadata["estimated"].value > 0.6
    for each in answers:
        live.tell(each)
    result, late, rows_as_before = live.run()
    assert late.passed
    assert rows_as_before.passed
    assert rows_as_before.metadata["logged_rows"].value > 400
    assert "holds against" in late.description
    assert late.metadata["judged"].value
    assert late.metadata["version"].value == 1
    assert late.metadata["coverage"].value == 1.0
    assert late.metadata["lag_median_hours"].value == pytest.approx(25 / 60, abs=1e-4)
    assert "data:image" in late.metadata["pictures"].value
    assert late.metadata["by_window"].records[0].data["labelled"] == "100%"
    assert "data:image" in rows_as_before.metadata["pictures"].value
    (made,) = [
        event.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key.path[-1] == names.PERFORMANCE
    ]
    rows = [row.data for row in made.metadata["by_window"].records]
    newest = next(row for row in rows if row["window"] == answers[0].start.isoformat())
    assert (newest["coverage"], newest["revision"]) == (1.0, 2)
    assert made.metadata["labels_without_a_prediction"].value == 0


def test_quality_that_falls_while_inputs_hold_is_concept_drift(live):
    for hours in (1, 2):
        live.tell(live.answer(NOW - hours * HOUR, rows=400, seed=hours), turned=True)
    _, check, rows = live.run()
    assert rows.passed
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert "roc_auc fell in 2 of 2 windows" in check.description
    assert check.metadata["kind"].value.startswith("concept drift: the inputs hold")
    assert check.metadata["value"].value < check.metadata["threshold"].value
    assert check.metadata["estimated"].value > check.metadata["value"].value


def test_quality_that_falls_with_its_inputs_is_told_apart(live):
    for hours in (1, 2):
        answers = live.answer(NOW - hours * HOUR, rows=400, seed=hours, contract="monthly")
        live.tell(answers, turned=True)
    _, check, rows = live.run()
    assert not rows.passed
    assert "by contract" in rows.description
    assert not check.passed
    assert "with drifted inputs: contract not as in training" in check.description


def test_inputs_that_drift_together_and_no_column_alone_are_no_concept_drift(live):
    for hours in (1, 2):
        answers = live.answer(NOW - hours * HOUR, rows=400, seed=hours, together=True)
        live.tell(answers, turned=True)
    # Of the newest rows those that fell count: these came since, and are as in training.
    live.answer(NOW, rows=4000, seed=9)
    _, check, rows = live.run()
    assert rows.passed
    assert not check.passed
    assert check.description.endswith(check.metadata["kind"].value)
    assert "no column alone, but their combinations are not as in training" in check.description
    assert "tenure" in check.metadata["kind"].value
    assert "charges" in check.metadata["kind"].value


def test_without_the_training_set_a_fall_is_told_with_what_is_not_known(live):
    for hours in (1, 2):
        live.tell(live.answer(NOW - hours * HOUR, rows=400, seed=hours), turned=True)
    live.store.remove("churn/training_sets/0123456789abcdef.parquet")
    _, check, _ = live.run()
    assert check.metadata["kind"].value == (
        "concept drift as far as single columns tell: each holds; their combinations are not known "
        "(0 logged rows beside the training set, 200 are needed (monitoring.drift.min_rows))"
    )


def test_the_source_of_the_features_has_the_labels_unless_another_is_named():
    features = {
        "source": {"kind": "csv", "path": "rows.csv"},
        "target": "churned",
        "entity": "customer",
        "event_time": "month",
        "label_time": "known",
    }
    found = make_experiment(features=features, monitoring={"prediction_log": {}}).labels
    assert found is not None
    assert (found.source.path, found.label_time) == ("rows.csv", "known")
    other = {"source": {"kind": "csv", "path": "labels.csv"}}
    monitoring = {"prediction_log": {}, "labels": other}
    found = make_experiment(features=features, monitoring=monitoring).labels
    assert (found.source.path, found.label_time) == ("labels.csv", None)


@pytest.mark.parametrize(
    ("monitoring", "words"),
    [
        ({"labels": {}}, "set prediction_log, or remove labels"),
        ({"labels": {}, "prediction_log": {}}, "by entity needs entity"),
        ({"quality": {"metric": "rmse"}}, "does not fit the task"),
        ({"quality": {"windows": 2, "at_least": 3}}, "more than the 2 windows"),
    ],
)
def test_what_cannot_be_joined_or_judged_is_refused(monitoring, words):
    with pytest.raises(ValueError, match=words):
        make_experiment(monitoring=monitoring)


def test_without_a_prediction_log_nothing_is_built():
    plain, logging = make_experiment(), make_experiment(monitoring={"prediction_log": {}})
    of_plain, of_logging = (
        {key.path[-1] for part in (build_experiment(each).assets or ()) for key in part.keys}
        for each in (plain, logging)
    )
    assert not of_plain & set(MADE)
    assert of_logging & set(MADE) == {names.PREDICTION_LOG, names.PERFORMANCE}


def test_the_schedule_asks_for_it_in_every_window():
    """Labels are read in the run that joins them."""
    features = {
        "source": {"kind": "csv", "path": "rows.csv"},
        "target": "churned",
        "entity": "customer",
        "event_time": "month",
    }
    experiment = make_experiment(features=features, monitoring={"prediction_log": {}})
    (schedule,) = schedules.build([experiment]).schedules or ()
    at = datetime(2026, 3, 2, 10, 2, tzinfo=UTC)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=at)
        (request,) = schedule(context)
    made = {*MADE, names.SERVING_PROFILE, names.MONITORING_REPORT}
    assert {key.path[-1] for key in request.asset_selection} == made
    assert {names.QUALITY_HOLDS, names.ROWS_HAVE_NOT_DRIFTED} <= {
        key.name for key in request.asset_check_keys
    }


def test_what_was_held_out_comes_back_from_the_tags_of_a_version():
    metrics = {"rmse": Metric(12.5, 1e-7, 2e6), "r2": Metric(-0.5, -1.0, 0.25)}
    tags = held_out_tags(metrics) | {"mlops.test_odd": "by hand", "other": "1 [0, 2]"}
    assert held_out(tags) == metrics


def test_a_lag_of_a_day_is_told_in_hours(live):
    live.tell(live.answer(NOW - 30 * HOUR, rows=150, seed=3), after=timedelta(hours=25))
    _, check, _ = live.run()
    assert check.metadata["lag_median_hours"].value == pytest.approx(25 - 5 / 60, abs=1e-4)
