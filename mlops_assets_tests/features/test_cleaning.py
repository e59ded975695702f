"""A table that fits passes untouched; everything that does not fit is counted."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlops_assets.features.cleaning import Conformed, conform
from mlops_assets.features.inference import infer
from mlops_assets_tests.features.tables import BINARY, ROWS, features, table

TELCO = Path(__file__).parents[2] / ".." / "shared" / "data" / "telco-churn.csv"


def cleaned(
    frame: pd.DataFrame, trained: pd.DataFrame | None = None, **section: object
) -> Conformed:
    """The frame, conformed to the schema of the table that was there at training time."""
    spec = features(**section)
    return conform(frame, infer(table() if trained is None else trained, spec, BINARY), spec)


def found(result: Conformed) -> list[tuple[str, str, int, bool]]:
    return [(v["column"], v["problem"], v["count"], v["blocking"]) for v in result.violations]


def test_what_was_trained_on_fits():
    result = cleaned(table())
    assert result.violations == ()
    assert list(result.frame) == ["age", "charge", "plan", "active", "partner", "churn"]
    assert {str(t) for t in result.frame[["age", "charge", "active"]].dtypes} == {"float64"}
    assert result.frame["charge"].isna().sum() == 5
    assert set(result.frame["active"]) == {0.0, 1.0}


def test_words_are_trimmed_and_blanks_are_none():
    frame = table(plan=[" gold ", "", None, "tin"] * 50)
    result = cleaned(frame, frame)
    assert result.frame["plan"].tolist() == ["gold", None, None, "tin"] * 50


@pytest.mark.parametrize("missing", ["", " ", "NA", "n/a", "NaN", "null", "None", "-", "?", None])
def test_words_for_missing_are_no_fault_in_numbers(missing):
    result = cleaned(table(charge=["1.25"] * 199 + [missing]))
    assert result.violations == ()
    assert np.isnan(result.frame["charge"].iloc[-1])


def test_few_unreadable_numbers_are_told_and_many_block():
    few = cleaned(table(age=["30"] * 198 + ["x", "y"]))
    assert found(few) == [("age", "unparsable values", 2, False)]
    assert few.violations[0]["examples"] == ["'x'", "'y'"]
    assert few.violations[0]["share"] == 0.01
    many = cleaned(table(age=["30"] * 197 + [f"x{n}" for n in range(3)]))
    assert found(many) == [("age", "unparsable values", 3, True)]


def test_at_most_five_examples_are_kept():
    result = cleaned(table(age=["30"] * 180 + [f"x{n}" for n in range(20)]))
    assert len(result.violations[0]["examples"]) == 5


@pytest.mark.parametrize(
    "change",
    [
        {"age": ["young", "old"] * 100},
        {"active": ["perhaps", "hardly"] * 100},
        {"plan": ["1", "2"] * 100},
        {"age": pd.date_range("2024-01-01", periods=ROWS)},
        {"plan": pd.date_range("2024-01-01", periods=ROWS)},
    ],
)
def test_another_type_blocks(change):
    result = cleaned(table(**change))
    (name,) = change
    assert found(result) == [(name, "type changed", ROWS, True)]
    assert list(result.frame)[:2] == ["age", "charge"]


@pytest.mark.parametrize("name", ["age", "charge", "plan", "active"])
def test_a_column_that_lost_all_values_blocks(name):
    result = cleaned(table(**{name: [None] * ROWS}))
    assert found(result) == [(name, "no values", ROWS, True)]


def test_new_gaps_are_told():
    result = cleaned(table(age=["30"] * 190 + [None] * 10, plan=["gold"] * 199 + [" "]))
    assert found(result) == [
        ("age", "missing values", 10, False),
        ("plan", "missing values", 1, False),
    ]


def test_infinity_is_missing_and_told():
    result = cleaned(table(age=["30"] * 199 + ["inf"]))
    assert found(result) == [("age", "infinite values", 1, False)]
    assert np.isnan(result.frame["age"].iloc[-1])
    typed = cleaned(table(age=[30.0] * 190 + [-np.inf] * 10))
    assert found(typed) == [("age", "infinite values", 10, True)]


def test_new_categories_and_numbers_out_of_range_are_told():
    result = cleaned(table(plan=["gold"] * 199 + ["brass"], age=["30"] * 198 + ["19", "70"]))
    assert found(result) == [
        ("age", "out of range", 2, False),
        ("plan", "new categories", 1, False),
    ]
    assert [v["examples"] for v in result.violations] == [["'19'", "'70'"], ["'brass'"]]
    assert result.frame["plan"].iloc[-1] == "brass"


def test_columns_that_came_and_went_are_told():
    result = cleaned(table(extra=["1"] * ROWS).drop(columns=["age", "plan"]))
    assert found(result) == [
        ("age", "missing column", ROWS, True),
        ("plan", "missing column", ROWS, True),
        ("extra", "unexpected column", ROWS, False),
    ]
    assert result.frame["age"].isna().all()
    assert str(result.frame["age"].dtype) == "float64"
    assert [v["column"] for v in result.blocking] == ["age", "plan"]


def test_known_columns_that_are_no_features_are_expected():
    section = {"exclude": ("plan",), "entity": "id"}
    frame = table(id=[f"c{n}" for n in range(ROWS)])
    result = cleaned(frame, frame, **section)
    assert result.violations == ()
    assert result.frame["id"].iloc[7] == "c7"
    assert "plan" not in result.frame
    assert "joined" not in result.frame


def test_whole_identifiers_are_the_same_text_whatever_their_type():
    numbers = [*range(1, ROWS), ROWS]
    for ids in (numbers, [float(n) for n in numbers], [f" {n} " for n in numbers]):
        frame = table(id=ids)
        assert cleaned(frame, frame, entity="id").frame["id"].tolist() == [str(n) for n in numbers]


def test_columns_can_be_kept_to_slice_by():
    spec = features(exclude=("plan",))
    frame = table()
    result = conform(frame, infer(frame, spec, BINARY), spec, keep=("plan", "age"))
    assert list(result.frame) == ["age", "charge", "active", "partner", "plan", "churn"]
    assert str(result.frame["age"].dtype) == "float64"


def test_labels_that_are_not_known_yet_are_normal_when_the_yaml_names_their_time():
    frame = table(churn=["Yes", "No", "No", ""] * 50, known=["2025-01-01"] * ROWS)
    timed = cleaned(frame, frame, event_time="joined", label_time="known")
    assert timed.violations == ()
    assert str(timed.frame["known"].dtype) == "datetime64[ns, UTC]"
    assert found(cleaned(frame, frame.assign(churn=table()["churn"]))) == [
        ("churn", "missing label", 50, False)
    ]


def test_an_unknown_label_blocks():
    result = cleaned(table(churn=["Yes"] * 100 + ["No"] * 99 + ["Maybe"]))
    assert found(result) == [("churn", "unknown label", 1, True)]
    assert result.frame["churn"].iloc[-1] is None


def test_unreadable_times_are_told():
    frame = table(joined=["2024-01-31"] * 190 + ["soon"] * 5 + [None] * 5)
    result = cleaned(frame, event_time="joined")
    assert found(result) == [
        ("joined", "unparsable values", 5, True),
        ("joined", "missing values", 5, False),
    ]
    assert result.frame["joined"].iloc[0] == pd.Timestamp("2024-01-31", tz="UTC")


def test_a_regression_target_is_a_number():
    spec = features()
    frame = table(churn=[f"{n}.5" for n in range(ROWS - 1)] + ["lots"])
    result = conform(frame, infer(frame, spec, "regression"), spec)
    assert result.frame["churn"].iloc[0] == 0.5
    assert found(result) == [("churn", "unparsable values", 1, False)]


def test_the_index_and_order_of_the_rows_stay():
    frame = table().iloc[::-1].iloc[:50]
    assert cleaned(frame).frame.index.equals(frame.index)


def test_an_empty_table_loses_no_column():
    result = cleaned(table().iloc[:0])
    assert list(result.frame) == ["age", "charge", "plan", "active", "partner", "churn"]
    assert result.blocking


@pytest.mark.skipif(not TELCO.exists(), reason="the shared data set is not on this machine")
def test_telco_simply_works():
    raw = pd.read_csv(TELCO, dtype=str, keep_default_na=False)
    raw.loc[raw["tenure"] == "0", "TotalCharges"] = " "
    spec = features(target="Churn", entity="customerID", positive="Yes")
    schema = infer(raw, spec, BINARY)
    types = {c.name: c.type for c in schema.inputs.columns}
    assert len(types) == 19
    assert [n for n, t in types.items() if t == "numeric"] == [
        "SeniorCitizen",
        "tenure",
        "MonthlyCharges",
        "TotalCharges",
    ]
    result = conform(raw, schema, spec)
    assert result.violations == ()
    assert result.frame["TotalCharges"].isna().sum() == 11
