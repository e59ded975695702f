"""What is found in a table, and what is refused."""

import json
from datetime import date

import pandas as pd
import pytest

from mlops_assets.features import inference, values
from mlops_assets.features.cleaning import conform
from mlops_assets.features.spec import FeaturesSpec
from mlops_assets.features.table import FeatureError, TableSchema
from mlops_assets_tests.features.tables import BINARY, features, table


def infer(frame: pd.DataFrame, task: str = BINARY, **section: object) -> TableSchema:
    return inference.infer(frame, features(**section), task)


def faults(frame: pd.DataFrame, task: str = BINARY, **section: object) -> tuple[str, ...]:
    with pytest.raises(FeatureError) as raised:
        infer(frame, task, **section)
    return raised.value.problems


def column(frame: pd.DataFrame, name: str, **section: object):
    (found,) = (c for c in infer(frame, **section).inputs.columns if c.name == name)
    return found


def test_types_are_found_in_text():
    schema = infer(table())
    assert {c.name: c.type for c in schema.inputs.columns} == {
        "age": "numeric",
        "charge": "numeric",
        "plan": "categorical",
        "active": "boolean",
        "partner": "categorical",
    }
    assert [(d.column, d.reason.split(";")[0]) for d in schema.dropped] == [
        ("joined", "a time is no feature")
    ]


def test_typed_and_untyped_tables_have_one_schema():
    text = table()
    typed = text.assign(
        age=text["age"].astype(int),
        charge=pd.to_numeric(text["charge"], errors="coerce"),
        active=text["active"] == "true",
        joined=pd.to_datetime(text["joined"]),
        plan=text["plan"].astype("category"),
    )
    assert infer(typed) == infer(text)
    a, b = (conform(f, infer(f), features()).frame for f in (text, typed))
    pd.testing.assert_frame_equal(a, b)


def test_blanks_in_a_numeric_column_are_missing_values():
    charge = ["1.5"] * 190 + [" "] * 8 + ["", None]
    found = column(table(charge=charge), "charge")
    assert (found.type, found.nullable, found.integer) == ("numeric", True, False)


def test_one_stray_text_in_two_hundred_numbers_stays_numeric():
    assert column(table(age=["30"] * 199 + ["unknown"]), "age").type == "numeric"
    assert column(table(age=["30"] * 198 + ["unknown"] * 2), "age").type == "categorical"


def test_bounds_and_whole_numbers_are_noted():
    found = column(table(), "age")
    assert (found.minimum, found.maximum, found.integer) == (20.0, 69.0, True)


def test_codes_with_leading_zeros_are_words():
    found = column(table(age=[f"0{n % 7}" for n in range(200)]), "age")
    assert found.type == "categorical"
    assert found.categories[:2] == ("00", "01")


def test_words_that_look_like_missing_numbers_are_categories():
    found = column(table(plan=["NA", "None", "DE", " "] * 50), "plan")
    assert found.categories == ("DE", "NA", "None")
    assert found.nullable


@pytest.mark.parametrize(
    ("declared", "expected"),
    [("categorical", "categorical"), ("boolean", "boolean"), ("numeric", "numeric")],
)
def test_the_yaml_overrules(declared, expected):
    frame = table(age=["1", "0"] * 100)
    assert column(frame, "age", columns={"age": declared}).type == expected


def test_a_declared_time_is_no_feature():
    assert "age" not in infer(table(), columns={"age": "datetime"}).inputs.names


def test_yes_and_no_are_true_and_false_when_declared():
    found = column(table(), "partner", columns={"partner": "boolean"})
    assert found.type == "boolean"


def test_roles_are_never_features():
    frame = table(id=[f"c{n}" for n in range(200)], shop=[str(n % 9) for n in range(200)])
    schema = infer(frame, entity="id", group="shop", event_time="joined", exclude=("plan",))
    assert schema.inputs.names == ("age", "charge", "active", "partner")
    assert schema.time_formats == {"joined": "ISO8601"}
    assert [d.column for d in schema.dropped] == ["plan"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (lambda d: f"{d:%Y-%m-%d}", "ISO8601"),
        (lambda d: f"{d:%Y-%m-%d}T12:00:00+02:00", "ISO8601"),
        (lambda d: f"{d:%d.%m.%Y} 08:15", "%d.%m.%Y %H:%M"),
        (lambda d: f"{d:%m/%d/%Y}", "%m/%d/%Y"),
        (lambda d: f"{d:%Y%m%d}", "%Y%m%d"),
        (lambda d: str(1_700_000_000 + d.toordinal()), "epoch_s"),
        (lambda d: str(1_700_000_000_000 + d.toordinal()), "epoch_ms"),
    ],
)
def test_times_are_read_as_they_are_written(written, expected):
    days = [date.fromordinal(738_000 + n) for n in range(200)]
    frame = table(joined=[written(day) for day in days])
    schema = infer(frame, event_time="joined")
    assert schema.time_formats == {"joined": expected}
    read = conform(frame, schema, features(event_time="joined")).frame["joined"]
    assert str(read.dtype) == "datetime64[ns, UTC]"
    assert read.is_monotonic_increasing
    assert read.notna().all()


def test_a_time_whose_day_and_month_cannot_be_told_apart_is_refused():
    (fault,) = faults(table(joined=["03/04/2024", "05/06/2024"] * 100), event_time="joined")
    assert "can be read as %d/%m/%Y or %m/%d/%Y" in fault


def test_text_that_is_no_time_is_refused():
    (fault,) = faults(table(joined=["soon"] * 200), event_time="joined")
    assert "features.event_time: column 'joined' holds no times" in fault
    assert "'soon'" in fault


@pytest.mark.parametrize(
    ("labels", "positive", "classes"),
    [
        (["Yes", "No"], None, ("No", "Yes")),
        (["Yes", "No"], "No", ("Yes", "No")),
        (["1", "0"], None, (0, 1)),
        (["1", "0"], 0, (1, 0)),
        (["1", "0"], "1", (0, 1)),
        ([1.0, 0.0], 1, (0, 1)),
        (["true", "false"], None, (False, True)),
        ([True, False], "True", (False, True)),
        (["good", "bad", "good"], None, ("good", "bad")),
        ([" Yes", "No "], "Yes", ("No", "Yes")),
    ],
)
def test_the_positive_label_stands_last(labels, positive, classes):
    frame = table(churn=(labels * 200)[:200])
    schema = infer(frame, positive=positive)
    assert [(type(c), c) for c in schema.classes] == [(type(c), c) for c in classes]
    assert schema.positive == classes[1]
    assert bool(schema.notes) is (positive is None)


def test_labels_of_many_classes_are_sorted():
    schema = infer(table(churn=["10", "9", "8", "10"] * 50), "multiclass_classification")
    assert schema.classes == (8, 9, 10)


def test_missing_labels_do_not_change_the_others():
    frame = table(churn=["1", "0", None, ""] * 50)
    schema = infer(frame)
    assert schema.classes == (0, 1)
    cleaned = conform(frame, schema, features()).frame["churn"]
    assert cleaned.tolist() == [1, 0, None, None] * 50
    assert type(cleaned.iloc[0]) is int


@pytest.mark.parametrize(
    ("change", "task", "section", "expected"),
    [
        ({}, BINARY, {"target": "Churn"}, "features.target: the data has no column 'Churn'; did "
         "you mean 'churn'?"),
        ({}, BINARY, {"entity": "shop"}, "features.entity: the data has no column 'shop'"),
        ({}, BINARY, {"exclude": ("agee",)}, "features.exclude: the data has no column 'agee'; "
         "did you mean 'age'?"),
        ({}, BINARY, {"columns": {"plam": "numeric"}}, "features.columns: the data has no column"),
        ({"churn": ["Yes"] * 200}, BINARY, {}, "target 'churn' holds one class only: 'Yes'"),
        ({"churn": [" "] * 200}, BINARY, {}, "target 'churn' holds no value"),
        ({"churn": ["a", "b", "c", "a"] * 50}, BINARY, {}, "holds 3 classes: 'a' (100 rows)"),
        ({}, "multiclass_classification", {}, "two classes: 'No' (150 rows), 'Yes' (50 rows); set "
         "task: binary_classification"),
        ({}, "regression", {}, "is no number in 100.0% of the rows, for instance 'Yes'"),
        ({"churn": ["5"] * 200}, "regression", {}, "holds one value only"),
        ({"churn": [f"{n}.5" for n in range(200)]}, "multiclass_classification", {},
         "holds 200 different numbers with fractions; set task: regression"),
        ({"churn": [f"w{n}" for n in range(200)]}, "multiclass_classification", {},
         "holds 200 classes, more than 100"),
        ({"churn": ["a"] * 100 + ["b"] * 99 + ["c"]}, "multiclass_classification", {},
         "has one row only of ['c']"),
        ({}, BINARY, {"positive": "yes"}, "features.positive: 'yes' is no label of 'churn'; its "
         "labels are 'No', 'Yes'"),
        ({"plan": [None] * 200}, BINARY, {}, "column 'plan' holds no value; list it in"),
        ({"plan": [[1]] * 200}, BINARY, {}, "column 'plan' holds lists or objects"),
        ({"plan": [f"text {n}" for n in range(200)]}, BINARY, {},
         "column 'plan' holds 200 different texts in 200 rows: an identifier or free text"),
        ({"age": [str(n) for n in range(190)] + [f"{n},5" for n in range(10)]}, BINARY, {},
         "(95.0% are numbers, but not '0,5')"),
        ({}, BINARY, {"columns": {"plan": "numeric"}}, "declared numeric, but holds 'gold'"),
        ({"__x": ["1"] * 200}, BINARY, {}, "names that begin with __ are reserved"),
        ({}, BINARY, {"exclude": ("age", "charge", "plan", "active", "partner")},
         "no feature is left"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(change, task, section, expected):
    problems = faults(table(**change), task, **section)
    assert len(problems) == 1
    assert expected in problems[0]


def test_all_faults_come_at_once():
    frame = table(plan=[None] * 200, age=[f"x{n}" for n in range(200)])
    problems = faults(frame, target="Churn", entity="nobody")
    assert len(problems) == 4


def test_an_identifier_may_be_declared_a_category():
    frame = table(plan=[f"text {n}" for n in range(200)])
    assert len(column(frame, "plan", columns={"plan": "categorical"}).categories) == 200


def test_the_schema_survives_json():
    frame = table(churn=["true", "false"] * 100)
    schema = infer(frame, event_time="joined", exclude=("plan",))
    assert TableSchema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


def test_a_section_without_positive_is_enough():
    assert isinstance(features(), FeaturesSpec)
    assert values.labels(pd.Series(["1", None])).tolist() == [1, None]
