"""Records between assets: this run's where there is one, otherwise the latest."""

import dagster as dg
import pytest

from mlops_assets import resources, settings
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.records import ReferenceProfile
from mlops_assets.resources import RecordIOManager


@pytest.fixture
def store(tmp_path):
    return DataStore(str(tmp_path), {})


@dg.asset(key=["churn", "made"])
def made(context: dg.AssetExecutionContext) -> dg.MaterializeResult[ReferenceProfile]:
    rows = int(context.run.tags.get("rows", "1"))
    return dg.MaterializeResult(value=ReferenceProfile(url="u", rows=rows, version=1))


@dg.asset(ins={"made": dg.AssetIn(["churn", "made"])})
def read(made: ReferenceProfile) -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"rows": made.rows}, value=made)


@dg.asset
def no_record() -> int:
    return 3


def run(store, assets, **options):
    return dg.materialize(
        assets,
        instance=options.pop("instance", dg.DagsterInstance.ephemeral()),
        resources={"io_manager": RecordIOManager(store)},
        **options,
    )


def rows_read(result):
    (event,) = result.asset_materializations_for_node("read")
    return event.metadata["rows"].value


def test_a_record_of_the_same_run_is_read_though_a_later_run_wrote_the_latest(store):
    assert rows_read(run(store, [made, read], tags={"rows": "7"})) == 7
    newer = DataStore(store.url, {})
    newer.write_json("records/churn/made/latest.json", {"url": "u", "rows": 99, "version": 1})
    assert rows_read(run(store, [made, read], tags={"rows": "8"})) == 8


def test_a_run_of_the_downstream_asset_alone_reads_the_latest(store):
    run(store, [made], tags={"rows": "5"})
    assert rows_read(run(store, [made, read], selection=[read])) == 5


def test_what_was_never_materialized_is_named(store):
    result = run(store, [made, read], selection=[read], raise_on_error=False)
    (failure,) = [e for e in result.all_events if e.is_step_failure]
    assert "churn/made was never materialized" in str(failure.step_failure_data.error)


def test_an_asset_that_returns_no_record_is_refused(store):
    result = run(store, [no_record], raise_on_error=False)
    assert not result.success
    assert store.files("records") == []


def test_an_endpoint_is_told_where_the_object_store_is(tmp_path):
    local = settings.load({"MLOPS_ROOT": str(tmp_path)})
    assert resources.target_context(local).environment == {}
    remote = settings.load({"MLOPS_ROOT": str(tmp_path), "MLOPS_S3_ENDPOINT_URL": "http://s3:9000"})
    environment = resources.target_context(remote).environment
    assert environment == {"AWS_ENDPOINT_URL": "http://s3:9000"}
