"""From a table nobody described to a YAML that loads."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.experiment import document, estimators, loader, scaffold
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.survey import Survey, guess_task, survey
from mlops_assets.features.table import FeatureError
from mlops_assets_tests.features.tables import ROWS, table

SOURCE = {"kind": "csv", "path": "../data.csv"}


def look(frame: pd.DataFrame, target: str = "churn", **asked: object) -> Survey:
    return survey(frame, SOURCE, target=target, **{"task": None, "positive": None, **asked})


def written(found: Survey, name: str = "churn") -> tuple[str, Experiment]:
    header = scaffold.Header(name=name, source=SOURCE, data="data.csv", schema_file=None)
    text = scaffold.render(header, found)
    return text, loader.load_text(text, Path("configs") / "churn.yaml")


def test_the_yaml_says_what_was_found():
    ids = [f"c{n}" for n in range(ROWS)]
    text, experiment = written(look(table(customerID=ids)))
    features = experiment.features
    assert experiment.task == "binary_classification"
    assert (features.entity, features.positive, features.target) == ("customerID", "Yes", "churn")
    assert features.event_time == "joined"
    assert experiment.training.estimator.endswith("HistGradientBoostingClassifier")
    assert experiment.training.slices == ("plan", "partner")
    assert 'positive: "Yes"' in text
    assert "# No 75.0%, Yes 25.0%" in text
    assert "# numeric: age, charge" in text
    assert text.startswith("name: churn\n")


def test_the_estimator_takes_every_parameter_that_is_searched():
    for target in ("churn", "charge"):
        _, experiment = written(look(table(), target))
        assert len(experiment.tuning.search_space) == 6
        assert estimators.problems(experiment) == []


def test_the_schema_is_named_first_when_it_is_there():
    header = scaffold.Header(name="a", source=SOURCE, data="d", schema_file="schema.json")
    text = scaffold.render(header, look(table()))
    assert text.splitlines()[0] == "# yaml-language-server: $schema=schema.json"


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["Yes", "No"], "binary_classification"),
        ([0, 1], "binary_classification"),
        (["1", "0", ""], "binary_classification"),
        (["a", "b", "c"], "multiclass_classification"),
        (["1", "2", "3"], "multiclass_classification"),
        (["0.5", "1.5", "2.5"], "regression"),
        ([str(n) for n in range(21)], "regression"),
    ],
)
def test_the_task_is_guessed_from_the_target(values, task):
    assert guess_task(pd.Series(values)) == task


def test_a_target_of_free_text_is_refused():
    with pytest.raises(FeatureError, match="holds 101 different texts"):
        guess_task(pd.Series([f"t{n}" for n in range(101)], name="note"))


def test_the_task_and_positive_label_can_be_said():
    _, experiment = written(look(table(churn=["1", "2", "3", "4"] * 50), task="regression"))
    assert experiment.task == "regression"
    assert experiment.features.positive is None
    assert written(look(table(), positive="No"))[1].features.positive == "No"


def test_leaks_are_left_out_with_the_reason():
    churn = table()["churn"]
    frame = table(
        refund=np.where(churn == "Yes", "100", "0"),
        reason=np.where(churn == "Yes", "price", "none"),
        score=[str(n / ROWS + (label == "Yes")) for n, label in enumerate(churn)],
    )
    text, experiment = written(look(frame))
    assert experiment.features.exclude == ("refund", "reason", "score")
    assert "- refund  # alone explains 100.0% of the target" in text


def test_a_ranking_that_nearly_separates_the_classes_is_a_leak():
    churn = table()["churn"]
    score = [n + 1000 * (label == "Yes" and n != 120) for n, label in enumerate(churn)]
    assert churn[120] == "Yes"
    found = look(table(score=score))
    assert "ROC AUC" in found.excluded["score"]


def test_a_copy_of_a_number_is_a_leak_in_a_regression():
    amount = [f"{n * 7 % 1000}.5" for n in range(2000)]
    frame = pd.DataFrame({"amount": amount, "same": amount, "other": ["1", "2"] * 1000})
    assert list(look(frame, "amount").excluded) == ["same"]


def test_unusable_columns_and_further_identifiers_are_left_out():
    frame = table(
        note=[f"text {n}" for n in range(ROWS)],
        customer_id=[str(n) for n in range(ROWS)],
        nothing=[""] * ROWS,
    )
    found = look(frame)
    assert found.entity == "customer_id"
    assert dict(found.excluded) == {
        "nothing": "holds no value",
        "note": "an identifier or free text",
    }


def test_rows_of_one_customer_stay_together_unless_time_divides_them():
    frame = table(customer_id=[f"c{n // 2}" for n in range(ROWS)])
    timed = look(frame)
    assert (timed.entity, timed.group, timed.event_time) == ("customer_id", None, "joined")
    untimed = look(frame.drop(columns="joined"))
    assert (untimed.entity, untimed.group) == ("customer_id", "customer_id")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["signup"], "signup"),
        (["birth_date"], None),
        (["birth_date", "created_at"], "created_at"),
        (["one", "two"], None),
        (["valid_until", "event_date"], "event_date"),
    ],
)
def test_the_event_time_is_the_column_named_like_one(names, expected):
    frame = table()
    frame = frame.drop(columns="joined").assign(**dict.fromkeys(names, frame["joined"]))
    assert look(frame).event_time == expected


def test_epochs_count_as_times_when_named_so():
    seconds = [str(1_700_000_000 + 60 * n) for n in range(ROWS)]
    assert look(table(event_ts=seconds).drop(columns="joined")).event_time == "event_ts"
    assert look(table(size=seconds).drop(columns="joined")).event_time is None


def test_an_unknown_target_is_named_with_its_neighbours():
    with pytest.raises(FeatureError, match=r"no column 'Churnn'; did you mean 'churn'"):
        look(table(), "Churnn")


@pytest.mark.parametrize(
    "name",
    [
        "a: b",
        "no",
        "# x",
        " lead",
        "ü",
        "1",
        "it's",
        'say "x"',
        "a\nb",
        "{x}",
        "*a",
        "-",
        "~",
        "null",
    ],
)
def test_any_column_name_survives_as_target_feature_and_exclusion(name):
    usual = table()
    slices = written(look(usual.rename(columns={"plan": name})))[1].training.slices
    assert name in slices
    target = written(look(usual.rename(columns={"churn": name}), name))[1].features.target
    assert target == name
    leaky = usual.assign(**{name: usual["churn"]})
    assert written(look(leaky))[1].features.exclude == (name,)


@given(st.text(max_size=30))
def test_any_text_is_the_same_text_after_the_yaml(value):
    read, repeated = document.parse(f"key: {scaffold.scalar(value)}\n")
    assert (read, repeated) == ({"key": value}, [])


@given(st.text(max_size=80))
def test_any_file_name_makes_a_name(stem):
    name = scaffold.slug(stem)
    (field,) = (
        m.pattern for m in Experiment.model_fields["name"].metadata if hasattr(m, "pattern")
    )
    assert pd.Series([name]).str.match(field).all()
    assert "__" not in name
