import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.serving.requests import RequestError, parse_csv, parse_json
from mlops_assets_tests.builders import SCHEMA

GOOD = {"tenure": 12, "charges": 70.5, "senior": True, "contract": "monthly"}
TYPED = {"tenure": [12.0], "charges": [70.5], "senior": [True], "contract": ["monthly"]}
NAMES = list(GOOD)
VALUES = list(GOOD.values())


def parse(content, max_rows=100):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return parse_json(body, SCHEMA, max_rows=max_rows)


@pytest.mark.parametrize(
    "content",
    [
        {"dataframe_split": {"columns": NAMES, "data": [VALUES]}},
        {"dataframe_split": {"columns": NAMES[::-1], "data": [VALUES[::-1]], "index": [7]}},
        {"dataframe_records": [GOOD]},
        {"instances": [GOOD]},
        {"inputs": [GOOD]},
        {"inputs": {name: [value] for name, value in GOOD.items()}},
        {"instances": {name: [value] for name, value in reversed(GOOD.items())}},
    ],
)
def test_every_dialect_gives_the_same_columns(content):
    assert parse(content) == TYPED
    assert list(parse(content)) == list(SCHEMA.names)


def test_values_are_typed_by_the_schema():
    row = {"tenure": 3, "charges": None, "senior": 0, "contract": None}
    assert parse({"instances": [row]}) == {
        "tenure": [3.0],
        "charges": [None],
        "senior": [False],
        "contract": [None],
    }
    assert type(parse({"instances": [row]})["tenure"][0]) is float


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"tenure": "12"}, "wrong_type", ["'tenure'", "row 0", "'12'", "a number"]),
        ({"tenure": True}, "wrong_type", ["'tenure'", "True"]),
        ({"tenure": [1]}, "wrong_type", ["'tenure'"]),
        ({"tenure": 10**400}, "wrong_type", ["'tenure'", "finite"]),
        ({"senior": "yes"}, "wrong_type", ["'senior'", "'yes'", "true"]),
        ({"senior": 2}, "wrong_type", ["'senior'"]),
        ({"contract": 3}, "wrong_type", ["'contract'", "a string"]),
        ({"contract": "\ud800"}, "wrong_type", ["'contract'", "Unicode"]),
        ({"color": 1}, "unknown_field", ["row 0", "'color'", "tenure, charges"]),
    ],
)
def test_a_bad_record_is_refused_by_name(change, reason, words):
    with pytest.raises(RequestError) as caught:
        parse({"instances": [{**GOOD, **change}]})
    assert (caught.value.status, caught.value.reason) == (400, reason)
    assert all(word in caught.value.message for word in words), caught.value.message


@pytest.mark.parametrize(
    ("content", "status", "reason", "word"),
    [
        (b"", 400, "not_json", "JSON"),
        (b"\xff\xfe", 400, "not_json", "JSON"),
        (b"[" * 100_000, 400, "not_json", "JSON"),
        (b'{"instances": [{"tenure": NaN}]}', 400, "not_json", "NaN"),
        (b'{"instances": [{"tenure": -Infinity}]}', 400, "not_json", "Infinity"),
        (b"[1]", 400, "bad_dialect", "dataframe_split"),
        ({}, 400, "bad_dialect", "dataframe_split"),
        ({"rows": []}, 400, "bad_dialect", "'rows'"),
        ({"instances": [GOOD], "params": {}}, 400, "bad_dialect", "'params'"),
        ({"instances": "x"}, 400, "bad_dialect", "string"),
        ({"instances": []}, 400, "empty", "empty"),
        ({"inputs": {name: [] for name in NAMES}}, 400, "empty", "empty"),
        ({"inputs": {**GOOD}}, 400, "bad_row", "'tenure'"),
        ({"inputs": {**{n: [v] for n, v in GOOD.items()}, "senior": []}}, 400, "bad_row", "senior"),
        ({"instances": [GOOD, 3]}, 400, "bad_row", "row 1"),
        ({"instances": [GOOD, {"tenure": 1}]}, 400, "missing_field", "'charges'"),
        ({"instances": [GOOD] * 101}, 413, "too_many_rows", "100"),
        ({"dataframe_split": {"columns": NAMES}}, 400, "bad_dialect", "data"),
        ({"dataframe_split": [1]}, 400, "bad_dialect", "columns"),
        ({"dataframe_split": {"columns": [1], "data": []}}, 400, "bad_dialect", "columns"),
        ({"dataframe_split": {"columns": NAMES, "data": 3}}, 400, "bad_dialect", "rows"),
        ({"dataframe_split": {"columns": NAMES, "data": [[1]]}}, 400, "bad_row", "row 0"),
        (
            {"dataframe_split": {"columns": [*NAMES, "tenure"], "data": [[*VALUES, 1]]}},
            400,
            "bad_dialect",
            "'tenure' stands twice",
        ),
        (
            {"dataframe_split": {"columns": NAMES[1:], "data": [VALUES[1:]]}},
            400,
            "missing_field",
            "'tenure'",
        ),
    ],
)
def test_a_bad_body_is_refused(content, status, reason, word):
    with pytest.raises(RequestError) as caught:
        parse(content)
    assert (caught.value.status, caught.value.reason) == (status, reason)
    assert word in caught.value.message


def test_csv_is_typed_by_the_schema():
    body = b"contract,tenure,senior,charges\nmonthly,12,true,70.5\n,3,0,\n"
    assert parse_csv(body, SCHEMA, max_rows=10) == {
        "tenure": [12.0, 3.0],
        "charges": [70.5, None],
        "senior": [True, False],
        "contract": ["monthly", None],
    }


@pytest.mark.parametrize(
    ("body", "reason", "word"),
    [
        (b"", "empty", "empty"),
        (b"tenure,charges,senior,contract\n", "empty", "empty"),
        (b"tenure,charges,senior,contract\nx,1,1,a\n", "wrong_type", "'tenure'"),
        (b"tenure,charges,senior,contract\n1_0,1,1,a\n", "wrong_type", "'1_0'"),
        (b"tenure,charges,senior,contract\nnan,1,1,a\n", "wrong_type", "finite"),
        (b"tenure,charges,senior,contract\n1,1,maybe,a\n", "wrong_type", "'senior'"),
        (b"tenure,charges,senior,contract\n1,1\n", "bad_row", "row 0"),
        (b"tenure,charges,senior\n1,1,1\n", "missing_field", "'contract'"),
        (b"\xff,a\n", "not_csv", "UTF-8"),
        (b'"a\n', "not_csv", "CSV"),
    ],
)
def test_a_bad_csv_is_refused(body, reason, word):
    with pytest.raises(RequestError) as caught:
        parse_csv(body, SCHEMA, max_rows=10)
    assert (caught.value.status, caught.value.reason) == (400, reason)
    assert word in caught.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*NAMES, "data", "columns", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.sampled_from(["dataframe_split", "dataframe_records", "inputs", "instances"]), JSON)
def test_whatever_is_sent_is_parsed_or_refused(dialect, content):
    try:
        columns = parse({dialect: content})
    except RequestError:
        return
    assert list(columns) == list(SCHEMA.names)


@given(st.binary(max_size=60))
def test_whatever_bytes_are_sent_are_refused(body):
    with pytest.raises(RequestError):
        parse(body)
    with pytest.raises(RequestError):
        parse_csv(body, SCHEMA, max_rows=10)
