"""What depends on what, across the experiments of a folder."""

import warnings
from pathlib import Path

import click
import dagster as dg
import pytest
import yaml

from mlops_assets import resources
from mlops_assets.commands.impact import gathered, render
from mlops_assets.experiment import loader
from mlops_assets.graph import build_experiment
from mlops_assets_tests.commands.project import Project

ROWS = 120


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two experiments over one file, of which `churn` was read once, and two over a database."""
    made = Project(
        tmp_path_factory.mktemp("impact"), (("SHOP_DB", "postgresql://u:secret@db/shop"),)
    )
    (made.root / "data").mkdir()
    lines = [f"{n},{20 + n % 40},{'abc'[n % 3]},{n % 2},note{n}" for n in range(ROWS)]
    (made.root / "data" / "people.csv").write_text("\n".join(["id,age,plan,left,remark", *lines]))
    people = {"kind": "csv", "path": "../data/people.csv"}
    write(made, "churn", people, target="left", entity="id", exclude=["remark"])
    write(made, "upsell", people, target="plan", task="multiclass_classification")
    orders = {"kind": "sql", "url_env": "SHOP_DB", "table": "sales.orders"}
    joined = {**orders, "query": 'SELECT * FROM sales.orders o JOIN "customers" c ON o.c = c.id'}
    del joined["table"]
    write(made, "orders", orders, target="total", task="regression")
    write(made, "basket", joined, target="total", task="regression")
    materialize(made, "churn")
    return made


def write(project: Project, name: str, source: dict, *, task="binary_classification", **features):
    content = {
        "name": name,
        "description": f"About {name}.",
        "owner": "team:growth",
        "task": task,
        "features": {"source": source, **features},
        "training": {"estimator": "sklearn.linear_model.LogisticRegression", "slices": ["plan"]}
        if name == "churn"
        else {"estimator": "sklearn.linear_model.LinearRegression"},
        "deployment": {"targets": [{"kind": "local"}]},
    }
    project.write(yaml.safe_dump(content), f"{name}.yaml")


def materialize(project: Project, name: str) -> None:
    """Source and features, as Dagster makes them."""
    experiment = loader.load(project.root / "configs" / f"{name}.yaml")
    warnings.simplefilter("ignore")
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            list(build_experiment(experiment).assets or ()),
            instance=instance,
            resources=resources.build(project.settings),
            selection=[f"{name}/source", f"{name}/features"],
        )
        assert done.success
        assert_lineage(done)


def assert_lineage(done: dg.ExecuteInProcessResult) -> None:
    (event,) = done.asset_materializations_for_node("churn__features")
    origins = event.metadata["dagster/column_lineage"].value.deps_by_column
    assert {name: [(d.asset_key.to_user_string(), d.column_name) for d in deps]
            for name, deps in origins.items()} == {
        name: [("churn/source", name)] for name in ("id", "age", "plan", "left")
    }  # fmt: skip


def found(project: Project, what: str) -> dict:
    return {one.experiment: one for one in gathered(project.settings, what)}


def test_an_asset_of_one_experiment_has_what_comes_after_it(project: Project) -> None:
    (one,) = found(project, "churn/trained_model").values()
    assert one.assets == (
        "churn/evaluation", "churn/registered_version", "churn/endpoints/local",
        "churn/reference_profile", "churn/serving_profile", "churn/monitoring_report",
    )  # fmt: skip
    assert ("churn/evaluation", "beats_champion", True) in [
        (c.asset, c.name, c.blocking) for c in one.checks
    ]
    assert not {c.asset for c in one.checks} & {"churn/features", "churn/training_set"}
    assert [(e.target, e.version) for e in one.endpoints] == [("local", None)]
    assert one.same_source == ("upsell",)


def test_a_source_is_that_of_every_experiment_that_reads_it(project: Project) -> None:
    path = str(project.root / "data" / "people.csv")
    for asked in ("churn", "churn/source", path, "../data/people.csv"):
        assert set(found(project, asked)) == {"churn", "upsell"}, asked
    assert {one.begins for one in found(project, path).values()} == {
        "churn/source", "upsell/source",
    }  # fmt: skip


def test_a_table_is_found_in_a_query_and_no_password_is_shown(project: Project) -> None:
    assert set(found(project, "sales.orders")) == {"basket", "orders"}
    assert set(found(project, "customers")) == {"basket"}
    text = "\n".join(render(one) for one in found(project, "orders").values())
    assert "postgresql+psycopg2://db/shop: sales.orders and" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("column", "feature", "roles", "matters"),
    [
        ("age", "numeric", (), True),
        ("plan", "categorical", ("training.slices",), True),
        ("left", "", ("features.target",), True),
        ("id", "", ("features.entity",), True),
        ("remark", "", ("features.exclude",), False),
    ],
)
def test_what_a_column_is(
    project: Project, column: str, feature: str, roles: tuple[str, ...], *, matters: bool
) -> None:
    one = found(project, f"churn/features:{column}")["churn"]
    assert one.column is not None
    assert (one.column.feature, one.column.roles) == (feature, roles)
    assert one.column.judged_for_drift is bool(feature)
    assert ("churn/endpoints/local" in one.assets) is matters
    assert bool(one.endpoints) is matters


def test_a_column_of_a_file_is_asked_in_every_experiment(project: Project) -> None:
    both = found(project, "../data/people.csv:plan")
    assert both["churn"].column.roles == ("training.slices",)
    assert both["upsell"].column.roles == ("features.target",)
    assert both["upsell"].column.seen is None


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("chrun", "did you mean 'churn'? experiments are basket, churn, orders, upsell"),
        ("churn/feature", "there is no asset 'churn/feature': did you mean 'churn/features'?"),
        ("sales.order", "did you mean 'sales.orders'?"),
        ("churn/features:pln", "has no column 'pln': did you mean 'plan'? it has id, age, plan"),
        (
            "churn/evaluation:age",
            "churn/evaluation has no columns to ask about; these have: source",
        ),
    ],
)
def test_what_there_is_not_is_answered_with_what_there_is(
    project: Project, asked: str, said: str
) -> None:
    with pytest.raises(click.ClickException) as refused:
        gathered(project.settings, asked)
    assert said in refused.value.message


def test_nothing_is_made_by_asking(tmp_path: Path) -> None:
    project = Project(tmp_path)
    write(project, "lonely", {"kind": "csv", "path": "a.csv"}, target="y")
    found(project, "lonely/features:y")
    assert [path.name for path in tmp_path.iterdir()] == ["configs"]
