"""The matrix that a model was asked with tells what the lists of its requests hold."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.serving.contents import FEW, Contents, Counting, of_lists
from mlops_assets.serving.encoding import Categories, InputEncoding
from mlops_assets.serving.recording import Answered, combine
from mlops_assets.serving.schema import Column, InputSchema
from mlops_assets.serving.scorer import Scores

SCHEMA = InputSchema(
    (Column("n", "numeric"), Column("flag", "boolean"), *(Column(c, "categorical") for c in "abc"))
)
NAN = float("nan")
CODES = {"x": 0.0, "y": 1.0, "": 2.0}
OWN = Categories(CODES, missing=3.0, unknown=-1.0)
SHARED = Categories(CODES, missing=-1.0, unknown=-1.0)
MISSING_IS_NAN = Categories(CODES, missing=NAN, unknown=-1.0)
UNREAD = Categories({}, missing=NAN, unknown=NAN)

WORDS = st.sampled_from(["x", "y", "", "new", None])
ROW = st.tuples(
    st.none() | st.integers(-5, 5) | st.floats(-1e9, 1e9),
    st.sampled_from([True, False, None]),
    WORDS, WORDS, WORDS,
)  # fmt: skip


def answered(encoding: InputEncoding, rows: list[Any], *, regression: bool) -> Answered:
    names = SCHEMA.names
    columns = {name: list(values) for name, values in zip(names, zip(*rows, strict=True))}  # noqa: B905
    said = np.linspace(0, 1, len(rows))
    if not regression:
        said = np.stack([1 - said, said], axis=1)
    labels = said.tolist() if regression else ["yes" if p > 0.4 else "no" for p in said[:, 1]]
    asked = encoding.matrix(columns)
    scores = Scores(labels, [] if regression else said.tolist(), asked, said)
    return Answered(columns, scores, 0.0, "r", None)


def assert_same(found: Contents, expected: Contents) -> None:
    assert found.rows == expected.rows
    assert list(found.columns) == list(expected.columns)
    for name, content in expected.columns.items():
        if isinstance(content, Counter):
            assert +found.columns[name] == content, name
        else:
            np.testing.assert_array_equal(np.sort(found.columns[name]), np.sort(content))


@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("known", [OWN, SHARED, MISSING_IS_NAN, UNREAD])
@settings(deadline=None, max_examples=60)
@given(requests=st.lists(st.lists(ROW, min_size=1, max_size=FEW + 4), min_size=1, max_size=5))
def test_the_matrix_tells_what_the_lists_hold(
    requests: list[Any], known: Categories, *, regression: bool
) -> None:
    encoding = InputEncoding(SCHEMA.names, (None, None, known, OWN, SHARED))
    counting = Counting(SCHEMA, encoding)
    every = [answered(encoding, rows, regression=regression) for rows in requests]
    expected = of_lists(SCHEMA, *combine(every, SCHEMA.names))
    kept = [
        each
        if counting.needs_lists(each.scores)
        else Answered(None, each.scores, each.when, each.request_id, None)
        for each in every
    ]
    assert_same(counting.of(kept), expected)


def test_lists_are_needed_where_a_category_is_new_or_there_is_no_matrix() -> None:
    encoding = InputEncoding(("a",), (OWN,))
    schema = InputSchema((Column("a", "categorical"),))
    counting = Counting(schema, encoding)

    def needed(word: str | None, counting: Counting = counting, rows: int = FEW) -> bool:
        asked = encoding.matrix({"a": ["x"] * (rows - 1) + [word]})
        return counting.needs_lists(Scores(["no"] * rows, [[1.0, 0.0]] * rows, asked))

    assert [needed(word) for word in ("x", None, "new")] == [False, False, True]
    assert needed("x", rows=1)
    assert counting.needs_lists(Scores(["no"], [[1.0, 0.0]]))
    assert needed("x", Counting(schema, None))
    assert needed("x", Counting(schema, InputEncoding(("a",), (UNREAD,))))
