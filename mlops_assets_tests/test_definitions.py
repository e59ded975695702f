"""The definitions load the way a code server loads them, and every one carries what it must."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import AssetKey, AssetSpec

from mlops_assets import definitions, settings, vocabulary
from mlops_assets.experiment import loader
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.training.spec import Retrain

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
EXPERIMENTS = loader.load_files(CONFIGS)

STAGE_OF = {
    "source": "features",
    "features": "features",
    "training_set": "features",
    "tuned_hyperparameters": "tuning",
    "trained_model": "training",
    "evaluation": "training",
    "registered_elsewhere": "registry",
    "registered_version": "registry",
    "endpoints": "deployment",
    "reference_profile": "monitoring",
    "serving_profile": "monitoring",
    "monitoring_report": "monitoring",
}
CHECKS = {
    "matches_schema": "features",
    "labels_do_not_leak": "training_set",
    "serving_matches_training": "trained_model",
    "meets_quality_floor": "evaluation",
    "beats_champion": "evaluation",
    "no_slice_left_behind": "evaluation",
    "keeps_its_budgets": "evaluation",
    "profile_is_fresh": "serving_profile",
    "data_quality_holds": "serving_profile",
    "has_not_drifted": "serving_profile",
    "predictions_have_not_drifted": "serving_profile",
}
"""Check and the asset it judges; every endpoint has `answers_probe` besides."""
STOPS_A_DEPLOYMENT = {
    "matches_schema",
    "labels_do_not_leak",
    "serving_matches_training",
    "meets_quality_floor",
    "beats_champion",
    "no_slice_left_behind",
    "keeps_its_budgets",
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    home = tmp_path_factory.mktemp("state")
    return definitions.load(settings.load({"MLOPS_ROOT": str(ROOT), "MLOPS_HOME": str(home)}))


def specs(loaded: dg.Definitions) -> Iterator[AssetSpec]:
    for asset in loaded.assets or ():
        assert isinstance(asset, dg.AssetsDefinition)
        yield from asset.specs


def check_specs(loaded: dg.Definitions) -> list[dg.AssetCheckSpec]:
    """Of assets that judge themselves, and of checks with a step of their own."""
    made = [*(loaded.assets or ()), *(loaded.asset_checks or ())]
    return [spec for one in made for spec in one.check_specs]  # type: ignore[union-attr]


def names_of(found: object) -> set[str]:
    assert isinstance(found, list | tuple)
    return {each.name for each in found}


def without_our_variables() -> dict[str, str]:
    ours = ("MLOPS_", "MLFLOW_", "DAGSTER_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def test_a_code_server_loads_them_without_any_variable_of_ours() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "dagster", "job", "list", "-w", "workspace.yaml"],
        cwd=ROOT,
        env=without_our_variables(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    jobs = set(re.findall(r"^Job: (\S+)", done.stdout, flags=re.MULTILINE))
    own = {f"{e.name}__{suffix}" for e in EXPERIMENTS for suffix in ("retrain", "deploy")}
    shared = {f"monitor_every_{experiment.monitoring.window}" for experiment in EXPERIMENTS}
    assert jobs - {"__ASSET_JOB"} == own | shared | {vocabulary.RETENTION_JOB}


def test_loading_writes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "state"
    definitions.load(settings.load({"MLOPS_ROOT": str(ROOT), "MLOPS_HOME": str(home)}))
    assert not home.exists()


def test_a_folder_without_experiments_loads(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    empty = definitions.load(settings.load({"MLOPS_ROOT": str(tmp_path)}))
    assert list(specs(empty)) == []
    dg.Definitions.validate_loadable(empty)


def test_a_wrong_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    text = CONFIGS[0].read_text(encoding="utf-8")
    (tmp_path / "configs" / "wrong.yaml").write_text(text.replace("task: ", "tusk: ", 1))
    with pytest.raises(loader.ExperimentError, match=r"wrong\.yaml.*tusk"):
        definitions.load(settings.load({"MLOPS_ROOT": str(tmp_path)}))


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda each: str(each.name))
class TestExperiment:
    def test_its_assets(self, loaded: dg.Definitions, experiment: Experiment) -> None:
        keys = {spec.key for spec in specs(loaded) if spec.key.path[0] == experiment.name}
        kinds = [kind_of(type(target)) for target in experiment.deployment.targets]
        assert keys == {
            *(AssetKey([experiment.name, part]) for part in STAGE_OF if part != "endpoints"),
            *(AssetKey([experiment.name, "endpoints", kind]) for kind in kinds),
        }

    def test_its_checks(self, loaded: dg.Definitions, experiment: Experiment) -> None:
        found = {
            spec.name: spec.blocking
            for spec in check_specs(loaded)
            if spec.asset_key.path[0] == experiment.name
        }
        assert set(found) >= {*CHECKS, vocabulary.ANSWERS_PROBE}
        assert {name for name, blocking in found.items() if blocking} >= STOPS_A_DEPLOYMENT

    def test_each_check_judges_its_asset(
        self, loaded: dg.Definitions, experiment: Experiment
    ) -> None:
        found = {(spec.name, spec.asset_key) for spec in check_specs(loaded)}
        for name, part in CHECKS.items():
            assert (name, AssetKey([experiment.name, part])) in found
        for target in experiment.deployment.targets:
            key = AssetKey([experiment.name, "endpoints", kind_of(type(target))])
            assert (vocabulary.ANSWERS_PROBE, key) in found

    def test_its_jobs_hold_its_assets(self, loaded: dg.Definitions, experiment: Experiment) -> None:
        graph = loaded.resolve_asset_graph()
        stages = {
            "retrain": {"features", "tuning", "training", "registry", "monitoring"},
            "deploy": {"deployment"},
        }
        for suffix, expected in stages.items():
            job = loaded.resolve_job_def(f"{experiment.name}__{suffix}")
            keys = job.asset_layer.executable_asset_keys
            assert keys
            assert {key.path[0] for key in keys} == {experiment.name}
            assert {graph.get(key).tags[vocabulary.STAGE_TAG] for key in keys} == expected
            assert job.tags[vocabulary.EXPERIMENT_TAG] == experiment.name
            assert job.executor_def is dg.in_process_executor

    def test_what_it_serves_is_watched(
        self, loaded: dg.Definitions, experiment: Experiment
    ) -> None:
        job = loaded.resolve_job_def(vocabulary.monitor_job(experiment.monitoring.window))
        assert AssetKey([experiment.name, "serving_profile"]) in (
            job.asset_layer.executable_asset_keys
        )
        watched = {
            spec.key
            for check in loaded.asset_checks or ()
            for spec in check.check_specs
            if spec.asset_key.path[0] == experiment.name
            if spec.asset_key.path[1] in ("serving_profile", "endpoints")
        }
        assert len(watched) > 3
        assert watched <= job.asset_layer.asset_graph.asset_check_keys

    def test_its_schedules(self, loaded: dg.Definitions, experiment: Experiment) -> None:
        found = names_of(loaded.schedules)
        assert vocabulary.monitor_schedule(experiment.monitoring.window) in found

    def test_what_its_own_edit_makes_anew(self, experiment: Experiment) -> None:
        """The study survives an edit of the evaluation, and all of it one of the retraining."""
        from mlops_assets.graph import build_experiment

        def changed(**keys: Any) -> set[str]:
            training = experiment.training.model_copy(update=keys)
            edited = experiment.model_copy(update={"training": training})
            before, after = (
                {spec.key.path[1]: spec.code_version for spec in specs(build_experiment(each))}
                for each in (experiment, edited)
            )
            return {name for name in before if before[name] != after[name]}

        assert changed(retrain=Retrain(on_drift=True)) == set()
        assert changed(bootstrap=321) == {"evaluation"}
        assert changed(calibration="none") == {"trained_model", "evaluation"}
        assert changed(slices=("another",)) == {"features", "training_set", "evaluation"}
        again = changed(parameters={"random_state": 5})
        assert again == {"tuned_hyperparameters", "trained_model", "evaluation"}

    def test_its_code_versions_follow_the_yaml(self, experiment: Experiment) -> None:
        from mlops_assets.graph import build_experiment

        def versions(of: Experiment) -> dict[AssetKey, str | None]:
            return {spec.key: spec.code_version for spec in specs(build_experiment(of))}

        more = experiment.tuning.model_copy(update={"seed": experiment.tuning.seed + 1})
        edited = experiment.model_copy(update={"tuning": more})
        before, after = versions(experiment), versions(edited)
        changed = {key.path[1] for key in before if before[key] != after[key]}
        assert "tuned_hyperparameters" in changed
        assert not changed & {"source", "features", "registered_version", "endpoints"}


def test_the_sensor_watches_every_experiment(loaded: dg.Definitions) -> None:
    assert vocabulary.REGISTRY_SENSOR in names_of(loaded.sensors)
    (sensor,) = [s for s in loaded.sensors or () if s.name == vocabulary.REGISTRY_SENSOR]
    assert {job.name for job in sensor.jobs} == {
        f"{e.name}__{job}" for e in EXPERIMENTS for job in ("deploy", "retrain")
    }


def test_the_sensor_of_retrainings_starts_what_asks_for_them(loaded: dg.Definitions) -> None:
    (sensor,) = [s for s in loaded.sensors or () if s.name == vocabulary.RETRAINING_SENSOR]
    asking = [e.name for e in EXPERIMENTS if e.training.retrain is not None]
    assert {job.name for job in sensor.jobs} == set(map(vocabulary.retrain_job, asking))


def test_every_asset_says_what_it_is(loaded: dg.Definitions) -> None:
    by_name = {experiment.name: experiment for experiment in EXPERIMENTS}
    for spec in specs(loaded):
        experiment = by_name[spec.key.path[0]]
        assert spec.description
        assert len(spec.description) > 40, spec.key
        assert spec.owners == [experiment.owner]
        assert spec.kinds
        assert spec.tags[vocabulary.STAGE_TAG] == STAGE_OF[spec.key.path[1]], spec.key
        assert spec.tags[vocabulary.EXPERIMENT_TAG] == experiment.name
        assert spec.code_version or spec.key.path[1] == vocabulary.REGISTERED_ELSEWHERE
        assert spec.group_name == experiment.name
        (link,) = spec.metadata["dagster/code_references"].code_references
        assert Path(link.file_path) == experiment.path


def test_dagster_need_not_work_out_a_signature_anew(loaded: dg.Definitions) -> None:
    for each in (*(loaded.assets or ()), *(loaded.asset_checks or ())):
        assert isinstance(each, dg.AssetsDefinition)
        if not each.is_executable:
            continue
        computed = each.op.compute_fn.decorated_fn
        assert "__signature__" in vars(computed), f"{each.op.name}: it is made by `assets`"


def test_every_check_job_and_schedule_has_a_description(loaded: dg.Definitions) -> None:
    for spec in check_specs(loaded):
        assert spec.description, spec.name
    for found in (loaded.jobs, loaded.schedules, loaded.sensors):
        for each in found or ():
            assert each.description, each.name


def test_garbage_is_collected_as_usual_once_all_is_loaded() -> None:
    script = """
import gc
from mlops_assets import definitions

definitions.defs()
loaded = gc.get_threshold()[0]
kept = [[] for _ in range(loaded + 1000)]
print(gc.isenabled(), gc.get_threshold()[0] < loaded, len(gc.callbacks))
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "0"]
