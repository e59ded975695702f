import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.serving.refusals import RequestError
from mlops_assets.serving.requests import parse_csv, parse_json, parse_lines
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
        parse_lines(body, SCHEMA, max_rows=10)
    with pytest.raises(RequestError):
        parse_csv(body, SCHEMA, max_rows=10, header=True)


@pytest.mark.parametrize("header", [None, False])
def test_csv_without_a_header_stands_in_the_order_of_the_schema(header):
    body = b"12,70.5,true,monthly\r\n,,0,\r\n"
    assert parse_csv(body, SCHEMA, max_rows=10, header=header) == {
        "tenure": [12.0, None],
        "charges": [70.5, None],
        "senior": [True, False],
        "contract": ["monthly", None],
    }


@pytest.mark.parametrize(
    ("body", "header", "reason", "word"),
    [
        (b"1,2,true\n", None, "unknown_field", "'1'"),
        (b"a,b,c,d\n1,2,true,x\n", None, "unknown_field", "'a'"),
        (b",,,monthly\n", None, "unknown_field", "''"),
        (b"12,70,1,contract\n", None, "unknown_field", "'1'"),
        (b"1,x,true,monthly\n", False, "wrong_type", "'charges'"),
        (b"1,2,true,monthly\n", True, "unknown_field", "'1'"),
        (b"1,2\n", False, "bad_row", "row 0"),
    ],
)
def test_a_first_line_that_could_be_either_is_taken_for_a_header(body, header, reason, word):
    with pytest.raises(RequestError) as caught:
        parse_csv(body, SCHEMA, max_rows=10, header=header)
    assert (caught.value.status, caught.value.reason) == (400, reason)
    assert word in caught.value.message


def test_too_many_lines_of_csv_are_counted():
    body = b"tenure,charges,senior,contract\n" + b"1,2,1,x\n" * 25
    with pytest.raises(RequestError, match="25 rows; at most 10"):
        parse_csv(body, SCHEMA, max_rows=10)
    assert len(parse_csv(body, SCHEMA, max_rows=25)["tenure"]) == 25


def test_json_lines_are_records():
    body = json.dumps(GOOD).encode() + b"\n\n" + json.dumps({**GOOD, "tenure": 3}).encode()
    assert parse_lines(body, SCHEMA, max_rows=10)["tenure"] == [12.0, 3.0]
    with pytest.raises(RequestError, match="row 1 is not JSON"):
        parse_lines(body.replace(b"3", b"}", 1), SCHEMA, max_rows=10)
    with pytest.raises(RequestError, match="2 rows"):
        parse_lines(body, SCHEMA, max_rows=1)


def test_a_key_that_stands_twice_counts_with_its_last_value():
    body = json.dumps({"instances": [GOOD]}).encode()
    assert parse(body.replace(b'"tenure": 12', b'"tenure": 12, "tenure": 13')) == {
        **TYPED,
        "tenure": [13.0],
    }


def test_a_mark_of_utf8_is_no_part_of_the_body():
    assert parse(b"\xef\xbb\xbf" + json.dumps({"instances": [GOOD]}).encode()) == TYPED


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le"])
def test_json_is_utf8(encoding):
    with pytest.raises(RequestError, match="not JSON"):
        parse(json.dumps({"instances": [GOOD]}).encode(encoding))


@pytest.mark.parametrize(
    ("content", "entities"),
    [
        ({"instances": [{**GOOD, "who": "a"}, GOOD]}, ["a", None]),
        ({"instances": [{**GOOD, "who": 7}]}, [7]),
        ({"inputs": {"who": ["a"], **{name: [value] for name, value in GOOD.items()}}}, ["a"]),
        ({"dataframe_split": {"columns": ["who", *NAMES], "data": [["a", *VALUES]]}}, ["a"]),
    ],
)
def test_an_entity_follows_the_inputs(content, entities):
    columns = parse_json(json.dumps(content).encode(), SCHEMA, max_rows=10, entity="who")
    assert columns.pop("who") == entities
    assert list(columns) == NAMES


def test_an_entity_may_stand_in_csv():
    columns = parse_csv(
        b"tenure,who,charges,senior,contract\n1,a,1,1,x\n1,,1,1,x\n",
        SCHEMA, max_rows=10, entity="who",
    )  # fmt: skip
    assert columns["who"] == ["a", None]


@pytest.mark.parametrize("value", [True, [], {}, "\ud800", float("1e999")])
def test_an_entity_is_a_string_or_a_number(value):
    body = json.dumps({"instances": [{**GOOD, "who": value}]}).replace("Infinity", "1e999")
    with pytest.raises(RequestError, match="'who' says whom the row is about"):
        parse_json(body.encode(), SCHEMA, max_rows=10, entity="who")
