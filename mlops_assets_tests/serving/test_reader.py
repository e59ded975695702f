"""The fast way of reading gives what the exact way gives, for every body."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.serving.reader import Reader
from mlops_assets.serving.refusals import RequestError
from mlops_assets.serving.requests import parse_json, parse_lines
from mlops_assets.serving.schema import Column, InputSchema
from mlops_assets_tests.builders import SCHEMA
from mlops_assets_tests.serving.test_requests import GOOD, NAMES, TYPED, VALUES

READER = Reader(SCHEMA, max_rows=5, entity="who")
ODD = InputSchema(
    (Column("a b", "numeric"), Column("class", "boolean"), Column("é", "categorical"))
)


def both(body, *, lines=False):
    """What the two ways make of a body: columns and entities, or status and reason."""
    exact = parse_lines if lines else parse_json
    try:
        columns = exact(body, SCHEMA, max_rows=5, entity="who")
        expected = (columns, columns.pop("who", None))
    except RequestError as error:
        expected = (error.status, error.reason)
    try:
        rows = READER.lines(body) if lines else READER.json(body)
        found = (rows.columns, rows.entities)
    except RequestError as error:
        found = (error.status, error.reason)
    return found, expected


def is_same(found, expected):
    """Equal also in types: 1, 1.0 and True are equal to Python."""
    return repr(found) == repr(expected)


@pytest.mark.parametrize(
    "content",
    [
        {"dataframe_split": {"columns": NAMES, "data": [VALUES]}},
        {"dataframe_split": {"columns": NAMES[::-1], "data": [VALUES[::-1]], "index": [7]}},
        {"dataframe_records": [GOOD]},
        {"instances": [dict(reversed(GOOD.items()))]},
        {"inputs": [GOOD]},
        {"inputs": {name: [value] for name, value in reversed(GOOD.items())}},
    ],
)
def test_no_good_body_needs_the_exact_way(content):
    columns = READER._fast.json(json.dumps(content).encode())
    assert columns == TYPED
    assert list(columns) == NAMES


VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, 1.0, 0.0, -0.0, 2, 10**30, 10**400, 1e308, "\ud800", "é", "\x00"]),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
    st.just([]),
)
ROW = st.fixed_dictionaries(
    {
        "tenure": VALUE | st.integers(),
        "charges": VALUE | st.floats(allow_nan=False, allow_infinity=False),
        "senior": VALUE | st.booleans(),
        "contract": VALUE | st.text(),
    },
    optional={"who": VALUE, "x": VALUE},
)


@st.composite
def bodies(draw):
    rows = draw(st.lists(ROW, max_size=6))
    names = draw(st.permutations([*NAMES, "who"][: draw(st.integers(3, 5))]))
    ascii_only = draw(st.booleans())
    content = draw(
        st.sampled_from(
            [
                {"instances": rows},
                {"dataframe_records": rows, "x": 1},
                {"inputs": {name: [row.get(name) for row in rows] for name in names}},
                {
                    "dataframe_split": {
                        "columns": names,
                        "data": [[row.get(name) for name in names] for row in rows],
                    }
                },
            ]
        )
    )
    return json.dumps(content, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


@given(bodies())
def test_both_ways_agree(body):
    assert is_same(*both(body))


@given(bodies(), st.data())
def test_both_ways_agree_on_mutated_bodies(body, data):
    at = data.draw(st.integers(0, len(body)))
    cut = data.draw(st.integers(0, 3))
    put = data.draw(
        st.binary(max_size=3)
        | st.sampled_from([b"NaN", b"1e999", b"\\ud800", b'"tenure":1,', b"["])
    )
    assert is_same(*both(body[:at] + put + body[at + cut :]))


@given(st.lists(ROW, max_size=6), st.sampled_from([b"\n", b"\n\n", b"\r\n", b" \n", b","]))
def test_both_ways_agree_on_lines(rows, end):
    body = end.join(json.dumps(row).encode() for row in rows)
    assert is_same(*both(body, lines=True))


@given(st.floats() | st.decimals().map(str) | st.from_regex(r"-?\d{1,25}\.\d{1,25}(e-?\d{1,3})?"))
def test_numbers_are_read_to_the_last_bit(number):
    body = f'{{"instances": [{{"a b": {number}, "class": 1, "é": "x"}}]}}'.encode()
    try:
        rows = Reader(ODD, max_rows=5).json(body)
    except RequestError:
        return
    (found,) = rows.columns["a b"]
    assert math.copysign(1, found) == math.copysign(1, float(number)) or found == 0
    assert found == float(number)
    assert rows.columns["class"] == [True]


@given(
    st.lists(
        st.tuples(
            st.permutations([*NAMES, "who"]), st.booleans(), st.sampled_from([None, "", " ", "\n"])
        ),
        min_size=2,
        max_size=5,
    )
)
def test_it_makes_no_difference_what_was_read_before(orders):
    """A header is remembered; another one, a field left out, or other white space may follow."""
    values = {**GOOD, "who": "me"}
    for order, named, space in orders:
        header = [name for name in order if named or name != "who"]
        table = {"columns": header, "data": [[values[name] for name in header]]}
        body = json.dumps({"dataframe_split": table}).encode()
        if space is not None:
            body = body.replace(b"{", space.encode() + b"{" + space.encode())
        assert is_same(*both(body))
        found = READER.json(body)
        assert found.columns == TYPED
        assert found.entities == (["me"] if named else None)


def test_names_may_be_anything():
    record = {"a b": 1, "class": None, "é": "ü"}
    for content in ([record], {name: [value] for name, value in record.items()}):
        rows = Reader(ODD, max_rows=5).json(json.dumps({"inputs": content}).encode())
        assert rows.columns == {"a b": [1.0], "class": [None], "é": ["ü"]}
        assert rows.entities is None
