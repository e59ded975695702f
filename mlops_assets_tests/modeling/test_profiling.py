"""Chunks, processes and Arrow change nothing: a table has the profile that its rows have."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.gateways.data_store import DataStoreError
from mlops_assets.gateways.table_files import TableFiles
from mlops_assets.modeling import profiling
from mlops_assets.modeling.profiling import Begun
from mlops_assets.modeling.scoring import columns
from mlops_assets.monitoring import profiles
from mlops_assets.serving.contents import Contents
from mlops_assets.serving.profile import Profile
from mlops_assets_tests.builders import SCHEMA, make_columns
from mlops_assets_tests.serving.test_profile import WIDE, counted, profile_of, tables

NOON = datetime(2026, 5, 3, 12, tzinfo=UTC)
BEGUN = Begun(NOON, {})
ROWS = 40_000
FRACTIONS = tuple(step / 20 for step in range(1, 20))
CARDINALITY_ERROR = 0.06
"""Relative, of two sketches of whylogs' size with 99% confidence."""
KLL_ERROR = 0.005
"""Rank error of a sketch of whylogs' size, with 99% confidence, and as much again for merging."""


def view_of(profile: Profile) -> Any:
    return profiles.deserialize(profile.serialize())


def assert_same(found: Profile, expected: Profile) -> None:
    ours, theirs = view_of(found).get_columns(), view_of(expected).get_columns()
    assert set(ours) == set(theirs)
    assert found.rows == expected.rows
    for name, column in ours.items():
        assert exact(column) == exact(theirs[name]), name
        distinct, wanted = (distinct_of(each) for each in (column, theirs[name]))
        assert distinct == pytest.approx(wanted, rel=CARDINALITY_ERROR), name


def exact(column: Any) -> dict[str, Any]:
    """All but the number of distinct values: united sketches estimate it otherwise."""
    return {k: v for k, v in counted(column).items() if not k.startswith("cardinality/")}


def distinct_of(column: Any) -> float:
    return float(column.get_metric("cardinality").hll.value.get_estimate())


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.DataFrame(make_columns(ROWS, seed=7))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, frame: pd.DataFrame) -> Path:
    """The same rows as Parquet in eight row groups, and as CSV."""
    made = tmp_path_factory.mktemp("tables")
    frame.to_parquet(made / "rows.parquet", index=False, row_group_size=ROWS // 8)
    frame.to_csv(made / "rows.csv", index=False)
    return made


@pytest.fixture(scope="module")
def whole(frame: pd.DataFrame) -> Profile:
    """What an endpoint makes of all rows at once."""
    made = Profile(SCHEMA, when=NOON)
    made.track(columns(frame, SCHEMA), None)
    return made


def of_table(folder: Path, name: str, workers: int) -> tuple[Profile, int]:
    """And in how many parts it was read."""
    files = TableFiles(str(folder / name), {})
    (file,) = files.found()
    parts = profiling.parts_of(files, file)
    read = partial(profiling.rows_of, files=files, schema=SCHEMA)
    found, refused = profiling.profiled(parts, read, BEGUN, workers=workers)
    assert refused == {}
    return found, len(parts)


@pytest.mark.parametrize(
    ("name", "workers", "parts"),
    [("rows.parquet", 1, 8), ("rows.parquet", 2, 8), ("rows.csv", 1, 1)],
)
def test_parts_chunks_and_processes_give_the_profile_of_the_whole(
    folder: Path, frame: pd.DataFrame, whole: Profile, name: str, workers: int, parts: int
) -> None:
    found, read = of_table(folder, name, workers)
    assert read == parts
    assert_same(found, whole)
    columns = view_of(found).get_columns()
    for column in ("tenure", "charges"):
        exact = np.sort(frame[column].dropna().to_numpy(dtype=float))
        distribution = columns[column].get_metric("distribution")
        assert distribution.avg == pytest.approx(exact.mean(), rel=1e-9)
        assert distribution.stddev == pytest.approx(exact.std(ddof=1), rel=1e-6)
        for fraction, value in zip(
            FRACTIONS, distribution.kll.value.get_quantiles(list(FRACTIONS)), strict=True
        ):
            low, high = (
                np.searchsorted(exact, value, side) / len(exact) for side in ("left", "right")
            )
            assert low - KLL_ERROR <= fraction <= high + KLL_ERROR


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=40, deadline=None)
@given(parts=st.lists(tables, min_size=1, max_size=3))
def test_a_frame_in_chunks_has_the_profile_of_its_lists(parts: list[dict[str, list[Any]]]) -> None:
    frames = [
        pd.DataFrame(
            {
                "number": pd.Series(one["number"], dtype="float64"),
                "flag": pd.Series(one["flag"], dtype="object"),
                "word": pd.Series(one["word"], dtype="object"),
            }
        )
        for one in parts
    ]
    found, refused = profiling.profiled(
        frames, lambda frame: [profiling.of_frame(frame, WIDE)], BEGUN, workers=1
    )
    assert refused == {}
    # In a table, a word that is not a number is a missing one.
    missing = [
        {**one, "word": [None if word != word else word for word in one["word"]]} for one in parts
    ]
    assert_same(found, profile_of(WIDE, *((one, None) for one in missing)))


def test_a_frame_is_cut_into_chunks_of_bounded_size(frame: pd.DataFrame) -> None:
    wide = pd.concat([frame[["tenure"]]] * 1000, axis=1)
    chunks = [*profiling.chunks_of(wide)]
    assert sum(map(len, chunks)) == ROWS
    assert {chunk.size <= profiling.CHUNK_CELLS for chunk in chunks} == {True}
    assert len(chunks) == ROWS * 1000 / profiling.CHUNK_CELLS


def read(numbers: list[float]) -> Iterator[Contents]:
    """Chunks of one number each; a negative one cannot be read."""
    for number in numbers:
        if number < 0:
            raise ValueError(f"{number} is negative")
        yield Contents(1, {"x": np.array([number])})


@pytest.mark.parametrize("workers", [1, 2])
def test_of_a_part_that_breaks_off_nothing_counts_and_the_others_do(workers: int) -> None:
    found, refused = profiling.profiled(
        [[1.0, 2.0], [3.0, -4.0], [5.0]], read, BEGUN, workers=workers
    )
    assert found.rows == 3
    assert refused == {1: "-4.0 is negative"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("rows.parquet", b"no parquet", "cannot be read as a table"),
        ("rows.csv", b"tenure,charges,senior,contract\n1,many,true,monthly\n", "many"),
        ("rows.csv", b"tenure,charges\n1,2\n", "senior"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataStoreError, match=rf"{name}.*{words}"):
        of_table(tmp_path, name, workers=1)


def test_booleans_and_empty_cells_of_a_csv_are_what_an_endpoint_reads(tmp_path: Path) -> None:
    lines = ("1,2.5,TRUE,monthly", "2,,false,", "3,4,1,one year", "4,5,,two years")
    header = "tenure,charges,senior,contract"
    (tmp_path / "rows.csv").write_text("\n".join((header, *lines, "")), encoding="utf-8")
    found, _ = of_table(tmp_path, "rows.csv", workers=1)
    assert_same(
        found,
        profile_of(
            SCHEMA,
            (
                {
                    "tenure": [1.0, 2.0, 3.0, 4.0],
                    "charges": [2.5, None, 4.0, 5.0],
                    "senior": [True, False, True, None],
                    "contract": ["monthly", None, "one year", "two years"],
                },
                None,
            ),
        ),
    )


def test_arrow_columns_of_other_types_hold_the_same_values(tmp_path: Path) -> None:
    plain = make_columns(50, seed=1)
    table = pa.table(
        {
            "tenure": pa.array([int(v) for v in plain["tenure"]], pa.int16()),
            "charges": pa.array(plain["charges"], pa.float32()),
            "senior": pa.array([int(v) for v in plain["senior"]], pa.int8()),
            "contract": pa.array(plain["contract"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    found, _ = of_table(tmp_path, "rows.parquet", workers=1)
    rounded = [None if v is None else float(np.float32(v)) for v in plain["charges"]]
    assert_same(found, profile_of(SCHEMA, ({**plain, "charges": rounded}, None)))
