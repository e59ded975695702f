"""Profiles are what whylogs itself makes of the same rows, and whylogs reads and merges them."""

import pickle
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.monitoring import profiles
from mlops_assets.serving.contents import Contents, label
from mlops_assets.serving.profile import Profile
from mlops_assets.serving.schema import Column, InputSchema
from mlops_assets.serving.scorer import Scores
from mlops_assets_tests.builders import SCHEMA, make_columns

ROOT = Path(__file__).parent.parent.parent
NOON = datetime(2026, 5, 3, 12, 30, 10, tzinfo=UTC)
WIDE = InputSchema(
    (Column("number", "numeric"), Column("flag", "boolean"), Column("word", "categorical"))
)
FRACTIONS = tuple(step / 20 for step in range(1, 20))
KLL_ERROR = 0.01
"""Rank error of a sketch of whylogs' size, doubled for the difference of two."""


def answers(rows: int) -> Scores:
    return Scores(["Yes"] * rows, [[0.25, 0.75]] * rows)


def profile_of(schema: InputSchema, *parts: tuple[dict[str, list[Any]], Scores | None]) -> Profile:
    found = Profile(schema, when=NOON, metadata={"model": "churn", "version": "3"})
    for columns, scores in parts:
        found.track(columns, scores)
    return found


def by_whylogs(
    schema: InputSchema, *parts: tuple[dict[str, list[Any]], Scores | None]
) -> dict[str, Any]:
    """The columns of the profile that whylogs makes of the same rows."""
    profiles.prepare()
    from whylogs.core import DatasetProfile

    profile = DatasetProfile(dataset_timestamp=NOON)
    for columns, scores in parts:
        profile.track(pandas=pd.DataFrame(_table(schema, columns, scores)))
    return profile.view().get_columns()


def _table(
    schema: InputSchema, columns: dict[str, list[Any]], scores: Scores | None
) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for column in schema.columns:
        values = columns[column.name]
        if column.type == "boolean":
            values = [value if value is None else label(value) for value in values]
        numeric = column.type == "numeric"
        table[column.name] = pd.Series(values, dtype="float64" if numeric else "object")
    if scores is not None and scores.probabilities:
        labels = [label(value) for value in scores.predictions]
        shown = [row[-1] if len(row) == 2 else max(row) for row in scores.probabilities]
        table["prediction"] = pd.Series(labels, dtype="object")
        table["probability"] = pd.Series(shown, dtype="float64")
    elif scores is not None:
        table["prediction"] = pd.Series(scores.predictions, dtype="float64")
    return table


def counted(column: Any) -> dict[str, Any]:
    """What two profiles of the same rows must agree on to the last digit."""
    summary = column.to_summary_dict()
    exact = {k: v for k, v in summary.items() if k.startswith(("counts/", "types/", "cardinal"))}
    words = summary.get("frequent_items/frequent_strings", [])
    distribution = {k: summary[f"distribution/{k}"] for k in ("n", "min", "max")}
    return {
        **exact,
        **{k: None if np.isnan(v) else v for k, v in distribution.items()},
        "metrics": sorted(column.get_metric_names()),
        "paths": sorted(column.get_metric_component_paths()),
        "words": {item.value: (item.est, item.lower, item.upper) for item in words},
    }


def assert_same(schema: InputSchema, *parts: tuple[dict[str, list[Any]], Scores | None]) -> None:
    ours = profiles.deserialize(profile_of(schema, *parts).serialize()).get_columns()
    theirs = by_whylogs(schema, *parts)
    assert set(ours) == set(theirs)
    for name, column in ours.items():
        assert counted(column) == counted(theirs[name]), name
        one, other = (c.get_metric("distribution") for c in (column, theirs[name]))
        if counted(column)["counts/inf"] == 0:
            _assert_same_moments(one, other, name)
        else:
            assert not np.isfinite([one.avg, other.avg]).any(), name
        if other.n:
            _assert_same_quantiles(one.kll.value, other.kll.value)


def _assert_same_moments(one: Any, other: Any, name: str) -> None:
    """But for what rounding leaves of values that cancel each other."""
    scale = max(abs(other.max), abs(other.min)) if other.n else 1.0
    assert one.avg == pytest.approx(other.avg, rel=1e-9, abs=1e-9 * scale), name
    close = pytest.approx(other.stddev, rel=1e-6, abs=1e-7 * scale, nan_ok=True)
    assert one.stddev == close, name


def _assert_same_quantiles(one: Any, other: Any) -> None:
    """Every quantile of one stands in the other where its rank is, within the sketches' error."""
    for fraction, value in zip(FRACTIONS, one.get_quantiles(list(FRACTIONS)), strict=True):
        low, high = other.get_rank(value, False), other.get_rank(value, True)
        error = KLL_ERROR + 1 / one.get_n()
        assert low - error <= fraction <= high + error


numbers = st.one_of(
    st.none(),
    st.just(float("nan")),
    st.integers(-1000, 1000),
    st.floats(-1e9, 1e9, allow_subnormal=False),
    st.sampled_from([0.0, -0.0, float("inf"), float("-inf"), 1e100, -1e100]),
)
flags = st.sampled_from([True, False, None])
words = st.one_of(
    st.none(),
    st.just(float("nan")),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(["", "yes", "no", "é" * 130, "é" * 130 + "tail", "\x00", "12"]),
)
tables = st.integers(1, 40).flatmap(
    lambda rows: st.fixed_dictionaries(
        {
            name: st.one_of(st.lists(one, min_size=rows, max_size=rows), st.just([None] * rows))
            for name, one in (("number", numbers), ("flag", flags), ("word", words))
        }
    )
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # whylogs computes with infinities
@settings(max_examples=60, deadline=None)
@given(parts=st.lists(tables, min_size=1, max_size=3))
def test_it_is_what_whylogs_makes_of_the_same_rows(parts: list[dict[str, list[Any]]]) -> None:
    assert_same(WIDE, *((columns, None) for columns in parts))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=40, deadline=None)
@given(parts=st.lists(tables, min_size=1, max_size=4))
def test_merging_profiles_also_of_other_processes_is_what_whylogs_makes_of_them(
    parts: list[dict[str, list[Any]]],
) -> None:
    each = [profile_of(WIDE, (columns, None)) for columns in parts]
    theirs = profiles.merge(profiles.deserialize(one.serialize()) for one in each)
    ours = profile_of(WIDE)
    for one in each:
        ours.merge(pickle.loads(pickle.dumps(one)))
    assert ours.rows == sum(one.rows for one in each)
    found = profiles.deserialize(ours.serialize()).get_columns()
    for name, column in found.items():
        assert counted(column) == counted(theirs.get_column(name)), name
        one, other = (c.get_metric("distribution") for c in (column, theirs.get_column(name)))
        if counted(column)["counts/inf"] == 0:
            _assert_same_moments(one, other, name)


def test_merging_leaves_both_as_they_were_where_a_column_has_another_type() -> None:
    numbers, words = (Profile(InputSchema(()), when=NOON) for _ in range(2))
    numbers.add(Contents(2, {"a": np.ones(2), "x": np.ones(2)}))
    words.add(Contents(3, {"a": np.ones(3), "x": Counter({"one": 3})}))
    with pytest.raises(ValueError, match="column 'x' is of numbers in one profile"):
        numbers.merge(words)
    columns = profiles.deserialize(numbers.serialize()).get_columns()
    assert {c.get_metric("counts").n.value for c in columns.values()} == {2}


@pytest.mark.parametrize(
    "scores",
    [
        Scores(["No", "Yes", "No"], [[0.75, 0.25], [0.1, 0.9], [0.5, 0.5]]),
        Scores([True, False, True], [[0.2, 0.8], [0.6, 0.4], [0.0, 1.0]]),
        Scores([True, 3, "a"], [[0.1, 0.7, 0.2], [0.1, 0.3, 0.6], [0.8, 0.1, 0.1]]),
        Scores([1.5, 2.5, -4.0], []),
        None,
    ],
)
def test_outputs_are_tracked_as_whylogs_would(scores: Scores | None) -> None:
    assert_same(SCHEMA, (make_columns(3, seed=0), scores))


@pytest.mark.parametrize("rows", [1, 2, 2000, 100_000])
def test_many_rows_have_the_same_counts_and_quantiles(rows: int) -> None:
    assert_same(SCHEMA, (make_columns(rows, seed=1), answers(rows)))


def test_more_words_than_the_sketch_holds_keep_their_bounds() -> None:
    rng = np.random.default_rng(0)
    values = [f"w{k}" for k in rng.zipf(1.3, 50_000)]
    schema = InputSchema((Column("word", "categorical"),))
    parts = [({"word": values[start : start + 5000]}, None) for start in range(0, 50_000, 5000)]
    view = profiles.deserialize(profile_of(schema, *parts).serialize())
    items = view.get_column("word").get_metric("frequent_items").strings
    assert {item.value for item in items[:5]} == {f"w{k}" for k in range(1, 6)}
    for item in items[:50]:
        assert item.lower <= values.count(item.value) <= item.upper


def test_times_and_words_travel_with_it() -> None:
    view = profiles.deserialize(profile_of(SCHEMA, (make_columns(5, seed=0), None)).serialize())
    assert view.dataset_timestamp == datetime(2026, 5, 3, 12, 30, 10, tzinfo=UTC)
    assert abs((view.creation_timestamp - datetime.now(UTC)).total_seconds()) < 60
    assert view.metadata == {"model": "churn", "version": "3"}


def test_the_bytes_are_the_messages_that_whylogs_writes() -> None:
    """Read and written again by whylogs, nothing is added, lost or moved."""
    content = profile_of(SCHEMA, (make_columns(300, seed=0), answers(300))).serialize()
    ours = profiles.deserialize(content)
    again = profiles.serialize(ours)
    assert len(again) == len(content)
    for name, column in profiles.deserialize(again).get_columns().items():
        assert counted(column) == counted(ours.get_column(name))


def test_it_merges_with_what_whylogs_wrote() -> None:
    profiles.prepare()
    from whylogs.core import DatasetProfile

    columns = make_columns(400, seed=3)
    theirs = DatasetProfile(dataset_timestamp=NOON)
    theirs.track(pandas=pd.DataFrame(_table(SCHEMA, columns, answers(400))))
    ours = profiles.deserialize(profile_of(SCHEMA, (make_columns(600, seed=4), None)).serialize())
    for merged in (
        profiles.merge([ours, profiles.deserialize(theirs.view().serialize())]),
        profiles.merge([profiles.deserialize(theirs.view().serialize()), ours]),
    ):
        assert profiles.rows(merged) == 1000
        charges = merged.get_column("charges").to_summary_dict()
        both = [v for v in columns["charges"] + make_columns(600, seed=4)["charges"] if v]
        assert charges["distribution/mean"] == pytest.approx(np.mean(both))
        assert charges["distribution/stddev"] == pytest.approx(np.std(both, ddof=1))
        assert (charges["counts/n"], charges["distribution/n"]) == (1000, len(both))


def test_merging_adds_rows_and_garbage_is_refused() -> None:
    parts = [profile_of(SCHEMA, (make_columns(n, seed=n), answers(n))) for n in (5, 7, 11)]
    assert [part.rows for part in parts] == [5, 7, 11]
    assert (
        profiles.rows(profiles.merge(profiles.deserialize(part.serialize()) for part in parts))
        == 23
    )
    with pytest.raises(ValueError, match="no whylogs profile"):
        profiles.deserialize(b"garbage")
    with pytest.raises(ValueError, match="no profile to merge"):
        profiles.merge([])


def test_a_value_of_the_wrong_type_adds_nothing() -> None:
    profile = profile_of(WIDE, ({"number": [1.0], "flag": [True], "word": ["a"]}, None))
    before = profile.serialize()
    for wrong in ({"number": [10**400]}, {"number": ["a"]}, {"word": [["a"]]}):
        good = {"number": [1.0], "flag": [True], "word": ["a"]}
        with pytest.raises((ValueError, TypeError, OverflowError)):
            profile.track({**good, **wrong}, None)
    assert (profile.serialize(), profile.rows) == (before, 1)


def test_words_that_are_no_unicode_are_tracked() -> None:
    profile = profile_of(WIDE, ({"number": [1.0], "flag": [None], "word": ["a\ud800"]}, None))
    column = profiles.deserialize(profile.serialize()).get_column("word")
    assert [item.value for item in column.get_metric("frequent_items").strings] == ["a?"]


def test_building_one_loads_neither_whylogs_nor_pandas() -> None:
    program = """
import sys
from datetime import UTC, datetime
from mlops_assets.serving.profile import Profile
from mlops_assets.serving.schema import Column, InputSchema
profile = Profile(InputSchema((Column("n", "numeric"),)), when=datetime.now(UTC))
profile.track({"n": [1.0]}, None)
profile.serialize()
print(*sorted({"whylogs", "pandas", "scipy", "google"} & set(sys.modules)))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("", "")
