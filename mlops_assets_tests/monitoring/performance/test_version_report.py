"""The report that a version carries, from a run of the monitoring job to the real MLflow store."""

from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg
import pytest

from mlops_assets import vocabulary as names
from mlops_assets.gateways.attached import PATH, REPORT, REPORT_AT, REPORT_STATE, attach_report
from mlops_assets.gateways.model_registry import ModelRegistry, RegistryError
from mlops_assets.graph import build_all
from mlops_assets_tests.monitoring.performance.served import HOUR, NOW
from mlops_assets_tests.monitoring.performance.test_quality import MADE, Live
from mlops_assets_tests.programs import free_port


@pytest.fixture
def live(tmp_path, churn_bundle, model_registry):
    found = Live(tmp_path, churn_bundle, model_registry)
    found.tell(found.answer(NOW - 30 * HOUR, rows=200, seed=9, version=2))
    found.write()
    run = model_registry.client.create_run(model_registry.experiment_id("churn"))
    version = model_registry.register(
        "churn", source="runs:/r/model", run_id=run.info.run_id, tags={}
    )
    model_registry.tag_version("churn", 1, {"mlops.evaluated_in": run.info.run_id})
    assert version == 2
    return found


def materialized(live, *wanted, **others):
    """What a run said of the report."""
    shared = dg.Definitions(resources={**live.resources, **others}, executor=dg.in_process_executor)
    job = build_all([live.experiment], shared).resolve_job_def(names.monitor_job("hour"))
    keys = frozenset(names.asset_key("churn", name) for name in wanted)
    part = job.get_subset(asset_selection=keys, asset_check_selection=set())
    with dg.DagsterInstance.ephemeral() as instance:
        result = part.execute_in_process(instance=instance)
    (said,) = [
        event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key.path[-1] == names.MONITORING_REPORT
    ]
    return {name: each.value for name, each in said.items()}


def artifacts(registry, run_id):
    return [each.path for each in registry.client.list_artifacts(run_id, "monitoring")]


def read(registry, run_id):
    with TemporaryDirectory() as folder:
        return registry.download(f"runs:/{run_id}/{PATH}", Path(folder)).read_text("utf-8")


def test_the_live_version_carries_the_newest_report_and_no_other(live, model_registry):
    for hours in (1, 2):
        live.answer(NOW - hours * HOUR, rows=400, seed=hours)
    first = materialized(live, *MADE, names.SERVING_PROFILE, names.MONITORING_REPORT)
    tags = model_registry.version("churn", 1).tags
    run_id = tags["mlops.evaluated_in"]
    assert tags[REPORT] == f"runs:/{run_id}/{PATH}"
    assert tags[REPORT_AT] > "2026"
    assert tags[REPORT_STATE] == first["says"]
    assert "drift: as in training" in first["says"]
    assert first["report"] == model_registry.artifact_url(run_id, PATH)
    page = read(model_registry, run_id)
    assert "Version 1 of churn" in page
    assert "800 rows in 2 windows with traffic" in page
    live.answer(NOW - 3 * HOUR, rows=400, seed=3, contract="monthly")
    live.answer(NOW - 4 * HOUR, rows=400, seed=4, contract="monthly")
    materialized(live, names.SERVING_PROFILE, names.MONITORING_REPORT)
    assert "1,600 rows in 4 windows" in read(model_registry, run_id)
    assert artifacts(model_registry, run_id) == [PATH]
    assert REPORT not in model_registry.version("churn", 2).tags


def test_an_mlflow_that_is_down_is_a_warning_and_no_failure(live):
    live.answer(NOW - HOUR, rows=400, seed=1)
    materialized(live, *MADE, names.SERVING_PROFILE, names.MONITORING_REPORT)
    down = ModelRegistry(f"http://127.0.0.1:{free_port()}", "", "")
    said = materialized(live, names.MONITORING_REPORT, model_registry=down)
    assert said["report"] == "MLflow did not take it"
    assert said["version"] == 1


def test_a_version_that_is_gone_is_said(model_registry):
    with pytest.raises(RegistryError, match="no version 7 of churn"):
        attach_report(model_registry, "churn", 7, "<p>", at="now", said="good")
