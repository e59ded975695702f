"""A version built anew from what was recorded of it, in a project that really trained it."""

import shutil
import sqlite3
from pathlib import Path

import pandas as pd
import pytest

from mlops_assets.commands.rebuild import ReproductionError, typed
from mlops_assets.commands.reproduction import Difference, Reproduction, reproduce
from mlops_assets.experiment import loader
from mlops_assets.features.sources.base import SourceError
from mlops_assets.gateways.model_registry import RegistryError
from mlops_assets_tests.commands.project import CHURN, Project

pytestmark = pytest.mark.pipeline

CUSTOMERS = """\
  source: {kind: csv, path: customers.csv}
  target: churned
  positive: "yes"
"""
SOURCE = CHURN[CHURN.index("  source:") : CHURN.index("  split:")]
YAML = CHURN.replace(SOURCE, CUSTOMERS).replace("n_trials: 3", "n_trials: 2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, mlflow_template) -> Project:
    """A project with one version, trained on a file that people can edit."""
    project = Project(tmp_path_factory.mktemp("trained")).with_tables(mlflow_template)
    path = project.write(YAML)
    customers().to_csv(path.parent / "customers.csv", index=False)
    outcome = project.json("run", "churn", "--no-deploy")
    assert outcome["ok"]
    return project


@pytest.fixture
def project(trained: Project, tmp_path: Path) -> Project:
    """A copy of it, for a test to break. MLflow's artifacts stay where they are, unharmed."""
    shutil.copytree(trained.root, tmp_path / "copy", ignore=shutil.ignore_patterns("mlartifacts"))
    return Project(tmp_path / "copy")


def customers() -> pd.DataFrame:
    import numpy as np

    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "tenure": rng.integers(0, 72, 900),
            "charges": rng.uniform(18, 120, 900).round(2),
            "contract": rng.choice(["monthly", "yearly"], 900),
        }
    )
    risk = rows["charges"] / 120 - rows["tenure"] / 72 + rng.normal(0, 0.3, 900)
    return rows.assign(churned=["yes" if value > 0 else "no" for value in risk])


def snapshot(project: Project) -> Path:
    (found,) = (project.settings.home / "data" / "churn" / "snapshots").glob("*.parquet")
    return found


def reproduced(project: Project, version: int = 1, tolerance: float = 1e-6) -> Reproduction:
    experiment = loader.load(project.root / "configs" / "churn.yaml")
    return reproduce(
        project.settings, experiment, version, tolerance=tolerance, tell=lambda *_: None
    )


def edit(project: Project, statement: str) -> None:
    """Change MLflow's database behind everybody's back."""
    connection = sqlite3.connect(project.settings.home / "mlflow.db")
    assert connection.execute(statement).rowcount == 1
    connection.commit()
    connection.close()


def test_a_version_is_reproduced_exactly_and_nothing_is_written(trained: Project) -> None:
    before = {p for p in trained.root.rglob("*") if "logs" not in p.parts}
    runs = len(trained.registry.client.search_runs([trained.registry.experiment_id("churn")]))
    found = trained.json("reproduce", "churn", "1")
    assert found["verdict"] == "exact"
    assert found["model_is_identical"]
    assert found["differences"] == []
    assert found["test"]["max_difference"] == found["golden"]["max_difference"] == 0
    assert found["test"]["rows"] > 100
    assert found["golden"]["rows"] > 0
    assert trained.versions() == 1
    assert {p for p in trained.root.rglob("*") if "logs" not in p.parts} == before
    after = len(trained.registry.client.search_runs([trained.registry.experiment_id("churn")]))
    assert after == runs


def test_the_yaml_of_then_counts_and_not_the_one_of_today(project: Project) -> None:
    project.write(YAML.replace("max_iter: 30", "max_iter: 60").replace("folds: 3", "folds: 4"))
    said = project.mlops("reproduce", "churn", "1")
    assert "predicts exactly the same" in said
    assert "fitting sklearn.ensemble.HistGradientBoostingClassifier" in said


def test_parameters_that_were_edited_are_named_with_how_much_it_changes(project: Project) -> None:
    edit(project, "update params set value = '3' where key = 'max_iter'")
    found = project.json("reproduce", "churn", "1", code=1)
    assert found["verdict"] == "differs"
    assert not found["model_is_identical"]
    assert found["test"]["max_difference"] > 0.01
    assert found["golden"]["max_difference"] > 0.01
    (named,) = found["differences"]
    assert named == {"what": "parameter max_iter", "recorded": "3", "now": "30"}
    tolerant = reproduced(project, tolerance=1.0)
    assert tolerant.test.label_flips > 0
    assert tolerant.verdict == "differs", "another label is never within a tolerance"


def test_a_small_difference_is_within_the_tolerance_that_is_asked_for(project: Project) -> None:
    of_models = "select run_uuid from params where key = 'estimator'"
    edit(
        project,
        "update params set value = value * 1.000001 where key = 'learning_rate' "
        f"and run_uuid in ({of_models})",
    )
    found = reproduced(project, tolerance=1e-3)
    assert 0 < found.test.max_difference < 1e-3
    assert found.verdict == "within tolerance"
    assert reproduced(project, tolerance=0).verdict == "differs"


def test_another_environment_is_told(project: Project) -> None:
    edit(
        project,
        "update tags set value = replace(value, 'scikit-learn ', 'scikit-learn 0.') "
        "where key = 'mlops.environment'",
    )
    found = reproduced(project)
    assert found.verdict == "exact"
    (named,) = found.differences
    assert named == Difference("scikit-learn", f"0.{named.now}", named.now)


def test_a_tampered_snapshot_is_found(project: Project) -> None:
    path = snapshot(project)
    rows = pd.read_parquet(path)
    rows.loc[3, "charges"] = "19.5"
    rows.to_parquet(path, index=False)
    said = project.mlops("reproduce", "churn", "1", code=1)
    assert "the data was changed: the snapshot has digest" in said
    assert "Traceback" not in said


def test_a_lost_snapshot_is_taken_again_from_the_source(project: Project) -> None:
    snapshot(project).unlink()
    found = reproduced(project)
    assert found.verdict == "exact"
    assert found.data.startswith("the source, read again")


def test_a_source_that_changed_since_is_said(project: Project) -> None:
    snapshot(project).unlink()
    path = project.root / "configs" / "customers.csv"
    path.write_text(path.read_text() + "1,20.0,monthly,no\n")
    with pytest.raises(ReproductionError, match="is gone, and the source holds other data now"):
        reproduced(project)
    path.unlink()
    with pytest.raises(SourceError, match=r"customers\.csv"):
        reproduced(project)


def test_versions_that_cannot_be_reproduced(project: Project) -> None:
    with pytest.raises(RegistryError, match="MLflow holds no version 9 of churn"):
        reproduced(project, 9)
    registry = project.registry
    run_id = registry.run_for("churn", "origin", "by hand", name="by hand")
    source = registry.version("churn", 1).source
    registry.register("churn", source=source, run_id=run_id, tags={})
    with pytest.raises(ReproductionError, match="was not registered by an experiment of ours"):
        reproduced(project, 2)
    registry.client.delete_run(registry.version("churn", 1).run_id)
    with pytest.raises(ReproductionError, match="is gone from MLflow"):
        reproduced(project)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_iter", "30", 30),
        ("max_iter", "3", 3),
        ("learning_rate", "0.30000000000000004", 0.30000000000000004),
        ("class_weight", "None", None),
        ("loss", "log_loss", "log_loss"),
        ("kernel", "1", "1"),
        ("hidden_layer_sizes", "(10, 5)", (10, 5)),
    ],
)
def test_parameters_are_read_as_they_were_given(name, text, value) -> None:
    text_of = YAML.replace(
        "    learning_rate:",
        '    kernel: {type: categorical, choices: ["1", "2"]}\n    learning_rate:',
    )
    experiment = loader.load_text(text_of, Path("configs/churn.yaml"))
    found = typed(experiment, name, text)
    assert found == value
    assert type(found) is type(value)
