"""Jobs are those that Dagster would tie, and what a run of one may be configured with is what
Dagster says of it, for every experiment."""

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.dependency import NodeHandle
from dagster._core.definitions.job_definition import _create_run_config_schema
from dagster._core.execution.api import create_execution_plan

from mlops_assets import graph, resources, settings
from mlops_assets.jobs import Jobs
from mlops_assets_tests.builders import shipped_twice


@pytest.fixture(scope="module", params=["in_process", "kubernetes"])
def shared(request, tmp_path_factory):
    chosen = settings.load({"MLOPS_HOME": str(tmp_path_factory.mktemp("home"))})
    return dg.Definitions(
        resources=resources.build(chosen), executor=resources.executor(request.param)
    )


@pytest.fixture(scope="module")
def loaded(shared):
    return graph.build_all(shipped_twice(), shared)


def jobs(loaded):
    """Those of the experiments."""
    return [job for job in loaded.jobs if "__" in job.name]


def shown(job):
    """What Dagster shows of a job and what a run of it acts by."""
    known = job.asset_layer.asset_graph
    return {
        "snapshot": job.get_job_snapshot(),
        "description": job.description,
        "tags": (job.tags, job.run_tags),
        "executor": job.executor_def,
        "resources": {key: type(each) for key, each in job.resource_defs.items()},
        "needs": job.required_resource_keys,
        "assets": {
            node.key: (
                node.is_executable,
                node.parent_keys,
                node.child_keys,
                node.check_keys,
                node.to_asset_spec(),
                node.io_manager_key,
            )
            for node in known.asset_nodes
        },
        "checks": {node.key: node.blocking for node in map(known.get, known.asset_check_keys)},
        "of all": known.source_asset_graph.get_all_asset_keys() >= known.get_all_asset_keys(),
    }


def test_each_job_is_tied_as_by_dagster(loaded, shared, monkeypatch):
    monkeypatch.setattr(Jobs, "tie", lambda self, part, among: part)
    theirs = graph.build_all(shipped_twice(), shared).get_repository_def().get_all_jobs()
    ours = loaded.get_repository_def()
    for job in theirs:
        assert shown(ours.get_job(job.name)) == shown(job)
    assert {job.name for job in theirs} == {job.name for job in ours.get_all_jobs()}
    assert sum("__" in job.name or job.name.startswith("monitor") for job in theirs) > 10


def test_a_job_may_select_one_of_the_checks_that_an_op_evaluates(shared):
    experiment = shipped_twice()[0]
    part = graph.build_experiment(experiment)
    among = [*part.assets, *part.asset_checks]
    profile = dg.AssetKey([experiment.name, "serving_profile"])
    fresh = dg.AssetCheckKey(profile, "profile_is_fresh")
    untied = dg.define_asset_job("some", dg.AssetSelection.checks(fresh))
    (ours,) = Jobs(shared).tie(dg.Definitions(jobs=[untied]), among).jobs
    theirs = untied.resolve(AssetGraph.from_assets(among), shared.executor, shared.resources)
    assert shown(ours) == shown(theirs)
    assert ours.asset_layer.asset_graph.asset_check_keys == {fresh}


def test_each_job_is_described_as_by_dagster(loaded):
    for job in jobs(loaded):
        ours, theirs = job.run_config_schema, _create_run_config_schema(job)
        assert ours.config_type.key == theirs.config_type.key
        assert ours.config_type_dict_by_key.keys() == theirs.config_type_dict_by_key.keys()
        assert ours.config_type_dict_by_name.keys() == theirs.config_type_dict_by_name.keys()
    assert len(jobs(loaded)) == 2 * len({job.name.split("__")[0] for job in jobs(loaded)}) > 8


def test_the_description_is_of_what_the_repository_shows(loaded):
    described = {job.name: job.run_config_schema.config_type.key for job in jobs(loaded)}
    shown = loaded.get_repository_def()
    for name, key in described.items():
        assert shown.get_job(name).get_job_snapshot().mode_def_snaps[0].root_config_key == key


def test_each_op_needs_what_dagster_says(loaded):
    for job in jobs(loaded):
        for node in job.nodes:
            asked = NodeHandle(node.name, None), job.asset_layer
            theirs = dg.OpDefinition.get_resource_requirements(node.definition, *asked)
            needed = {(type(need), need.key) for need in theirs}
            ours = [*node.definition.get_resource_requirements(*asked)]
            assert {(type(need), need.key) for need in ours} == needed
            assert len(ours) == len(needed) > 1


@pytest.mark.parametrize("name", ["churn", "churn_2"])
def test_an_op_is_configured_by_its_own_name(loaded, name):
    job = next(job for job in jobs(loaded) if job.name == f"{name}__retrain")
    accepted = {"ops": {f"{name}__tuned_hyperparameters": {"config": {"n_trials": 3}}}}
    assert dg.validate_run_config(job, accepted)

    for refused, message in [
        ({"churn_3__features": {"config": {}}}, "churn_3__features"),
        ({f"{name}__tuned_hyperparameters": {"config": {"trials": 3}}}, '"trials"'),
        ({f"{name}__source": {"config": {"rows": 3}}}, f"{name}__source"),
    ]:
        with pytest.raises(dg.DagsterInvalidConfigError, match=message):
            dg.validate_run_config(job, {"ops": refused})


def test_an_asset_that_takes_no_configuration_refuses_one_also_in_the_job_of_all_assets(loaded):
    job = loaded.get_repository_def().get_job("__ASSET_JOB")
    accepted = {"churn__tuned_hyperparameters": {"config": {"n_trials": 3}}}
    assert create_execution_plan(job, {"ops": accepted})
    with pytest.raises(dg.DagsterInvalidConfigError, match="churn__source takes no configuration"):
        create_execution_plan(job, {"ops": {"churn__source": {"config": {"rows": 3}}}})
