"""The registry gateway over a real MLflow store, in a SQLite file of the test's own."""

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from mlflow.utils import requirements_utils
from sklearn.ensemble import RandomForestClassifier

from mlops_assets.gateways.model_registry import (
    CHALLENGER,
    CHAMPION,
    ModelRegistry,
    RegistryError,
)
from mlops_assets.gateways.records import Metric
from mlops_assets.gateways.registered import RegistryVersion
from mlops_assets.gateways.run_log import TrialRecord
from mlops_assets.serving.runtimes.sklearn import TRUSTED
from mlops_assets.vocabulary import DAGSTER_RUN_TAG


@pytest.fixture
def run_id(model_registry: ModelRegistry) -> str:
    return model_registry.run_for("churn", "origin", "test", name="a run")


def status(registry: ModelRegistry, run_id: str) -> str:
    return str(registry.client.get_run(run_id).info.status)


def test_a_run_is_found_by_its_tag_or_made(model_registry: ModelRegistry) -> None:
    first = model_registry.run_for("churn", "origin", "one", name="first")
    assert model_registry.run_for("churn", "origin", "one", name="again") == first
    assert model_registry.run_for("churn", "origin", "two", name="other") != first
    assert model_registry.run_for("credit", "origin", "one", name="other") != first
    found = model_registry.client.get_run(first)
    assert found.info.run_name == "first"
    assert found.info.artifact_uri.endswith(f"/artifacts/churn/{first}/artifacts")


def test_threads_that_ask_at_once_get_one_run(
    mlflow_template: Path, model_registry: ModelRegistry
) -> None:
    barrier = threading.Barrier(8)
    registries = [
        model_registry,
        ModelRegistry(model_registry.tracking_uri, model_registry._artifacts_url, ""),
    ]

    def ask(number: int) -> str:
        barrier.wait()
        registry = registries[number % 2]
        return registry.run_for("new experiment", "origin", "same", name=str(number))

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(ask, range(8)))
    experiment = model_registry.client.get_experiment_by_name("new experiment")
    runs = model_registry.client.search_runs([experiment.experiment_id])
    assert {run.info.run_id for run in runs} == found
    assert len(found) == 1


def test_of_two_runs_with_the_tag_the_oldest_counts(model_registry: ModelRegistry) -> None:
    experiment = model_registry.experiment_id("churn")
    made = [
        model_registry.client.create_run(experiment, start_time=start, tags={"origin": "x"})
        for start in (2000, 1000, 3000)
    ]
    assert model_registry.run_for("churn", "origin", "x", name="") == made[1].info.run_id


def test_a_deleted_experiment_is_said_to_be_deleted(model_registry: ModelRegistry) -> None:
    model_registry.client.delete_experiment(model_registry.experiment_id("churn"))
    with pytest.raises(RegistryError, match="the MLflow experiment churn is deleted: restore it"):
        model_registry.run_for("churn", "origin", "test", name="a run")


def test_a_run_ends_as_its_block_does(model_registry: ModelRegistry, run_id: str) -> None:
    with model_registry.writing(run_id):
        assert status(model_registry, run_id) == "RUNNING"
    assert status(model_registry, run_id) == "FINISHED"


@pytest.mark.parametrize(
    ("stopped_by", "ended"),
    [
        (ValueError, "FAILED"),
        (KeyboardInterrupt, "KILLED"),
        (dg.DagsterExecutionInterruptedError, "KILLED"),
    ],
)
def test_a_run_that_stops_midway_says_why(
    model_registry: ModelRegistry, run_id: str, stopped_by: type[BaseException], ended: str
) -> None:
    with pytest.raises(stopped_by), model_registry.writing(run_id):
        raise stopped_by
    assert status(model_registry, run_id) == ended


def test_what_is_logged_is_there(
    model_registry: ModelRegistry, run_id: str, tmp_path: Path
) -> None:
    model_registry.log(
        run_id, parameters={"C": 0.5, "l1": None}, metrics={"threshold": 1}, tags={"a": "b"}
    )
    model_registry.log_estimates(run_id, "test", {"roc_auc": Metric(0.8, 0.7, 0.9)})
    model_registry.log_text(run_id, "# card", "model_card.md")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text("{}")
    uri = model_registry.log_folder(run_id, tmp_path / "bundle", "bundle")

    data = model_registry.client.get_run(run_id).data
    assert data.params == {"C": "0.5", "l1": "None"}
    assert model_registry.metrics(run_id) == {
        "threshold": 1.0,
        "test_roc_auc": 0.8,
        "test_roc_auc_low": 0.7,
        "test_roc_auc_high": 0.9,
    }
    assert data.tags["a"] == "b"
    (tmp_path / "got").mkdir()
    folder = model_registry.download(uri, tmp_path / "got")
    assert (folder / "manifest.json").read_text() == "{}"


def test_a_figure_is_an_artifact(
    model_registry: ModelRegistry, run_id: str, tmp_path: Path
) -> None:
    from mlops_assets.modeling.figures import new_figure

    model_registry.log_figure(run_id, new_figure(), "plots/empty.png")
    path = model_registry.download(f"runs:/{run_id}/plots/empty.png", tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_data_of_a_run_is_an_input_of_it(model_registry: ModelRegistry, run_id: str) -> None:
    digest = "0123456789abcdef" * 4
    for _ in range(2):  # a step may be repeated
        model_registry.log_dataset(
            run_id, name="churn/training_set", digest=digest, source="s3://b/c.csv", rows=70
        )
    run = model_registry.client.get_run(run_id)
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("churn/training_set", digest[:36])
    assert given.dataset.source_type == "s3"
    assert [(tag.key, tag.value) for tag in given.tags] == [("mlflow.data.context", "training")]
    assert run.data.tags["mlops.data_digest"] == digest


def test_what_is_not_there_cannot_be_fetched(
    model_registry: ModelRegistry, run_id: str, tmp_path: Path
) -> None:
    for uri in (f"runs:/{run_id}/nothing", "runs:/0123/bundle", "models:/churn/7"):
        with pytest.raises(RegistryError, match=f"{uri} cannot be fetched from MLflow"):
            model_registry.download(uri, tmp_path)


@pytest.fixture(scope="module")
def forest() -> tuple[RandomForestClassifier, pd.DataFrame]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.random((60, 2)), columns=["usage", "tenure"])
    return RandomForestClassifier(5, random_state=0).fit(frame, frame["usage"] > 0.5), frame


def logged(registry: ModelRegistry, run_id: str, forest: Any) -> str:
    model, frame = forest
    return registry.log_model(
        run_id,
        model,
        example=frame.head(3),
        signature=infer_signature(frame, model.predict_proba(frame)),
        trusted=list(TRUSTED),
        requirements=["scikit-learn"],
    )


def test_a_model_is_logged_without_pickle_and_reloads(
    model_registry: ModelRegistry,
    run_id: str,
    forest: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = mlflow.get_tracking_uri(), requirements_utils._MODULES_TO_PACKAGES
    with model_registry.writing(run_id):
        uri = logged(model_registry, run_id, forest)
        assert status(model_registry, run_id) == "RUNNING"
    assert (mlflow.get_tracking_uri(), requirements_utils._MODULES_TO_PACKAGES) == before
    assert mlflow.active_run() is None
    assert uri.startswith("models:/m-")

    folder = model_registry.download(uri, tmp_path / "model")
    assert "Downloading artifacts" not in capfd.readouterr().err
    names = {path.name for path in folder.rglob("*")}
    assert "model.skops" in names
    required = (folder / "requirements.txt").read_text().split()
    assert required == [f"mlflow=={mlflow.__version__}", "scikit-learn"]
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))]
    model, frame = forest
    again = mlflow.sklearn.load_model(str(folder))
    assert (again.predict_proba(frame) == model.predict_proba(frame)).all()
    generic = mlflow.pyfunc.load_model(str(folder))
    assert (generic.predict(frame) == model.predict_proba(frame)).all()


def test_the_store_of_the_process_is_left_as_it_was(
    model_registry: ModelRegistry, run_id: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    model_registry.log_text(run_id, "a word", "word.txt")
    model_registry.download(f"runs:/{run_id}/word.txt", tmp_path)
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_a_model_is_logged_beside_another_active_run(
    model_registry: ModelRegistry, run_id: str, forest: Any
) -> None:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(model_registry.tracking_uri)
    try:
        mlflow.set_experiment("churn")
        with mlflow.start_run() as mine:
            uri = logged(model_registry, run_id, forest)
            assert mlflow.active_run().info.run_id == mine.info.run_id
    finally:
        mlflow.set_tracking_uri(before)
    assert model_registry.client.get_logged_model(uri.split("/")[1]).source_run_id == run_id


def test_trials_are_child_runs_and_known_again(model_registry: ModelRegistry, run_id: str) -> None:
    complete = TrialRecord(0, {"C": 0.1}, 0.75, "complete", 2.0, (0.7, 0.8))
    pruned = TrialRecord(3, {"C": 9.0}, None, "pruned", 0.5, (0.2,))
    for trial in (complete, pruned, TrialRecord(4, {}, None, "failed", 0.1, ())):
        model_registry.log_trial(run_id, "study a", trial)
    model_registry.log_trial(run_id, "study b", complete)
    assert model_registry.logged_slots("churn", "study a") == {0, 3, 4}
    assert model_registry.logged_slots("churn", "study b") == {0}
    assert model_registry.logged_slots("churn", "study c") == set()

    children = model_registry.client.search_runs(
        [model_registry.experiment_id("churn")],
        f"tags.`mlflow.parentRunId` = '{run_id}' and tags.`mlops.study` = 'study a'",
    )
    by_slot = {int(run.data.tags["mlops.slot"]): run for run in children}
    assert [by_slot[slot].info.status for slot in (0, 3, 4)] == ["FINISHED", "KILLED", "FAILED"]
    assert by_slot[0].data.metrics == {"score": 0.75, "seconds": 2.0, "fold_0": 0.7, "fold_1": 0.8}
    assert by_slot[3].data.metrics == {"seconds": 0.5, "fold_0": 0.2}
    assert by_slot[0].data.params == {"C": "0.1"}
    lasted = by_slot[0].info.end_time - by_slot[0].info.start_time
    assert 2000 <= lasted < 10_000


def test_versions_count_up_and_know_their_run(model_registry: ModelRegistry, run_id: str) -> None:
    assert model_registry.aliases("churn") == {}
    assert model_registry.version_of_run("churn", run_id) is None
    asked = {"source": f"runs:/{run_id}/model", "run_id": run_id}
    first = model_registry.register("churn", **asked, tags={"mlops.bundle_uri": "runs:/x"})
    second = model_registry.register("churn", source="runs:/other/model", run_id="", tags={})
    assert (first, second) == (1, 2)
    found = model_registry.version_of_run("churn", run_id)
    assert isinstance(found, RegistryVersion)
    assert (found.name, found.version, found.run_id) == ("churn", 1, run_id)
    assert found.tags == {"mlops.bundle_uri": "runs:/x"}
    assert abs(found.created_ms / 1000 - time.time()) < 60
    model_registry.tag_version("churn", 1, {"a": "1", "b": "2"})
    model_registry.describe_version("churn", 1, "the first")
    assert model_registry.version("churn", 1).tags["b"] == "2"
    assert model_registry.client.get_model_version("churn", "1").description == "the first"
    with pytest.raises(RegistryError, match="MLflow holds no version 9 of churn"):
        model_registry.version("churn", 9)


def test_aliases_point_at_versions(model_registry: ModelRegistry) -> None:
    for name, versions in (("churn", 2), ("credit", 1)):
        for _ in range(versions):
            model_registry.register(name, source="runs:/r/model", run_id="", tags={})
    model_registry.set_alias("churn", CHALLENGER, 2)
    model_registry.set_alias("churn", CHAMPION, 1)
    assert model_registry.aliases("churn") == {CHAMPION: 1, CHALLENGER: 2}
    models = model_registry.models()
    assert {name: dict(each.aliases) for name, each in models.items()} == {
        "churn": {CHAMPION: 1, CHALLENGER: 2},
        "credit": {},
    }
    model_registry.set_alias("churn", CHAMPION, 2)
    assert model_registry.aliases("churn")[CHAMPION] == 2


def test_links_lead_to_the_ui(model_registry: ModelRegistry, run_id: str) -> None:
    experiment = model_registry.experiment_id("churn")
    base = "http://127.0.0.1:5000"
    assert model_registry.run_url(run_id) == f"{base}/#/experiments/{experiment}/runs/{run_id}"
    assert model_registry.version_url("churn", 3) == f"{base}/#/models/churn/versions/3"


def test_a_server_that_is_not_there_is_told_within_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    registry = ModelRegistry(f"http://127.0.0.1:{port}", "", "")
    asked: list[Any] = [
        registry.check,
        registry.models,
        lambda: registry.aliases("churn"),
        lambda: registry.run_for("churn", "a", "b", name="c"),
        lambda: registry.download("runs:/1/x", tmp_path),
    ]
    began = time.monotonic()
    for ask in asked:
        with pytest.raises(RegistryError, match=rf"127\.0\.0\.1:{port}.*MLFLOW_TRACKING_URI"):
            ask()
    assert time.monotonic() - began < 5


def test_a_database_needs_no_server(model_registry: ModelRegistry, tmp_path: Path) -> None:
    model_registry.check()
    deep = ModelRegistry(f"sqlite:///{tmp_path / 'not' / 'there' / 'yet.db'}", "", "")
    assert deep.client is deep.client
    assert (tmp_path / "not" / "there").is_dir()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ours_first", [True, False])
def test_dagster_mlflows_resource_logs_into_the_same_run(
    model_registry: ModelRegistry, *, ours_first: bool
) -> None:
    """An asset of the user's, with dagster-mlflow's own resource, in the same Dagster run."""
    from dagster_mlflow import mlflow_tracking  # here, because importing it warns

    logged_to: dict[str, str] = {}

    def ours(context: dg.AssetExecutionContext) -> None:
        run_id = model_registry.run_for("churn", DAGSTER_RUN_TAG, context.run_id, name="ours")
        with model_registry.writing(run_id):
            model_registry.log(run_id, metrics={"ours": 1.0})
        logged_to["ours"] = run_id

    def theirs(context: dg.AssetExecutionContext) -> None:
        context.resources.mlflow.log_metric("theirs", 2.0)
        logged_to["theirs"] = context.resources.mlflow.active_run().info.run_id

    order = (ours, theirs) if ours_first else (theirs, ours)
    first = dg.asset(name="first", required_resource_keys={"mlflow"})(order[0])
    second = dg.asset(name="second", deps=["first"], required_resource_keys={"mlflow"})(order[1])
    resource = mlflow_tracking.configured(
        {
            "experiment_name": "churn",
            "mlflow_tracking_uri": model_registry.tracking_uri,
            "env": {},
            "extra_tags": {},
        }
    )
    before = mlflow.get_tracking_uri()
    model_registry.experiment_id("churn")
    try:
        with dg.DagsterInstance.ephemeral() as instance:
            done = dg.materialize(
                [first, second], resources={"mlflow": resource}, instance=instance
            )
        assert done.success
    finally:
        while mlflow.active_run():
            mlflow.end_run()
        mlflow.set_tracking_uri(before)
    assert logged_to["ours"] == logged_to["theirs"]
    assert model_registry.metrics(logged_to["ours"]) == {"ours": 1.0, "theirs": 2.0}
    runs = model_registry.client.search_runs([model_registry.experiment_id("churn")])
    assert len(runs) == 1
