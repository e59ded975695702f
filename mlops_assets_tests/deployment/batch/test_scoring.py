"""Tables are scored as an endpoint would score their rows, in chunks, and go on where they were."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from mlops_assets.deployment.batch import scoring
from mlops_assets.deployment.batch.profiles import Profiles
from mlops_assets.deployment.batch.scoring import MARKS, BatchError, Outcome
from mlops_assets.deployment.batch.spec import BatchSpec
from mlops_assets.gateways.data_store import DataStore, DataStoreError
from mlops_assets.gateways.profile_store import ProfileStore
from mlops_assets.gateways.table_files import TableFiles
from mlops_assets.monitoring import profiles
from mlops_assets.serving.profile import Profile
from mlops_assets.serving.scorer import Scorer
from mlops_assets_tests.builders import Built, make_bundle, make_columns
from mlops_assets_tests.peers import s3
from mlops_assets_tests.serving.test_profile import counted


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("batch") / "bundle")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two months of rows, one as Parquet and one as CSV."""
    rows = tmp_path / "rows"
    (rows / "2026").mkdir(parents=True)
    table(230, seed=1).to_parquet(rows / "2026" / "04.parquet", index=False)
    table(75, seed=2).to_csv(rows / "2026" / "05.csv", index=False)
    return tmp_path


def table(rows: int, *, seed: int) -> pd.DataFrame:
    return pd.DataFrame({"customer": range(rows), **make_columns(rows, seed=seed)})


def noon() -> datetime:
    return datetime(2026, 5, 3, 12, 30, tzinfo=UTC)


def run(
    built: Built,
    folder: Path,
    *,
    version: int = 3,
    now: Callable[[], datetime] = noon,
    **changes: object,
) -> Outcome:
    given = {"input": str(folder / "rows"), "output": str(folder / "out"), "chunk_rows": 50}
    spec = BatchSpec(name="nightly", **{**given, **changes})
    return scoring.score(
        built.folder,
        version=version,
        spec=spec,
        source=TableFiles(spec.input, {}),
        target=TableFiles(spec.output, {}),
        profiles=Profiles(
            ProfileStore(DataStore(str(folder / "data"), {})),
            "churn",
            spec.name,
            version,
            3600,
            now,
        ),
        tell=lambda _: None,
    )


def data_of(folder: Path) -> DataStore:
    return DataStore(str(folder / "data"), {})


def profiles_of(store: DataStore, *, version: int, now: Callable[[], datetime] = noon) -> Profiles:
    return Profiles(ProfileStore(store), "churn", "nightly", version, 3600, now)


def profiled(store: DataStore, version: int = 3) -> dict[str, list[int]]:
    """Rows of every profile that batches left of a version, by the window's hour."""
    found: dict[str, list[int]] = {}
    for each in ProfileStore(store).increments("churn", version, ["batch-nightly"]):
        view = profiles.deserialize(store.read_bytes(each.url))
        found.setdefault(f"{each.window:%H:%M}", []).append(profiles.rows(view))
    return {hour: sorted(rows) for hour, rows in found.items()}


def test_every_row_gets_what_the_estimator_says(built: Built, folder: Path) -> None:
    outcome = run(built, folder)
    assert (outcome.rows, outcome.invalid, len(outcome.scored)) == (305, 0, 2)
    for name, rows, seed in (("04", 230, 1), ("05", 75, 2)):
        found = pd.read_parquet(folder / "out" / "2026" / f"{name}.parquet")
        given = table(rows, seed=seed)
        assert found["customer"].astype(int).tolist() == given["customer"].tolist()
        asked = built.estimator.predict_proba(given.drop(columns="customer"))
        answered = found[["probability_No", "probability_Yes"]].to_numpy(dtype=float)
        np.testing.assert_allclose(answered, asked, rtol=0, atol=1e-12)
        assert set(found["model_version"]) == {3}
        assert set(found["prediction"]) <= {"No", "Yes"}
    assert not [*(folder / "out").rglob("*.partial")]


def test_what_was_scored_is_not_scored_again_until_rows_version_or_request_change(
    built: Built, folder: Path
) -> None:
    run(built, folder)
    again = run(built, folder)
    assert (len(again.scored), len(again.skipped), again.rows) == (0, 2, 305)
    table(10, seed=9).to_parquet(folder / "rows" / "2026" / "04.parquet", index=False)
    changed = run(built, folder)
    assert [(one.input, one.rows) for one in changed.scored] == [("2026/04.parquet", 10)]
    assert len(run(built, folder, version=4).scored) == 2
    assert len(run(built, folder, version=4, keep=("customer",)).scored) == 2
    found = pd.read_parquet(folder / "out" / "2026" / "04.parquet")
    assert [*found.columns] == [
        "customer", "prediction", "probability_No", "probability_Yes", "model_version",
    ]  # fmt: skip


def test_a_run_that_ended_early_goes_on_at_the_file_it_was_at(built: Built, folder: Path) -> None:
    bad = table(60, seed=3)
    bad.loc[55, "tenure"] = np.inf
    bad.to_parquet(folder / "rows" / "2026" / "06.parquet", index=False)
    with pytest.raises(BatchError, match=r"06\.parquet, from row 50: row 5: .*tenure"):
        run(built, folder)
    assert not (folder / "out" / "2026" / "06.parquet").exists()
    bad.head(50).to_parquet(folder / "rows" / "2026" / "06.parquet", index=False)
    rest = run(built, folder)
    assert [one.input for one in rest.scored] == ["2026/06.parquet"]


def test_rows_an_endpoint_would_refuse_are_marked_where_the_yaml_says_so(
    built: Built, folder: Path
) -> None:
    bad = table(120, seed=4).astype({"senior": object, "tenure": object})
    bad.loc[7, "senior"] = "perhaps"
    bad.loc[100, "tenure"] = "many"
    bad.to_csv(folder / "rows" / "2026" / "05.csv", index=False)
    outcome = run(built, folder, on_invalid="mark")
    assert outcome.invalid == 2
    found = pd.read_parquet(folder / "out" / "2026" / "05.parquet")
    assert found["error"].notna().to_numpy().nonzero()[0].tolist() == [7, 100]
    assert "senior" in found["error"][7]
    assert found["prediction"].isna().sum() == 2
    good = found["error"].isna().to_numpy()
    given = table(120, seed=4).drop(columns="customer")[good]
    asked = built.estimator.predict_proba(given)
    answered = found.loc[good, ["probability_No", "probability_Yes"]].to_numpy(dtype=float)
    np.testing.assert_allclose(answered, asked, rtol=0, atol=1e-12)


def test_rows_are_profiled_as_an_endpoint_would_whatever_the_chunks(
    built: Built, folder: Path
) -> None:
    run(built, folder)
    assert profiled(data_of(folder)) == {"12:00": [75, 230]}
    scorer = Scorer.open(built.folder)
    expected = Profile(scorer.manifest.schema, when=noon())
    for rows, seed in ((230, 1), (75, 2)):
        columns = make_columns(rows, seed=seed)
        expected.track(columns, scorer.score(columns))
    store = data_of(folder)
    increments = ProfileStore(store).increments("churn", 3, ["batch-nightly"])
    found = profiles.merge(profiles.deserialize(store.read_bytes(one.url)) for one in increments)
    wanted = profiles.deserialize(expected.serialize())
    for name, column in found.get_columns().items():
        assert counted(column) == counted(wanted.get_column(name)), name


def test_rows_count_once_in_profiles_and_those_without_an_answer_not_at_all(
    built: Built, folder: Path
) -> None:
    bad = table(60, seed=3)
    bad.loc[55, "tenure"] = np.inf
    bad.to_parquet(folder / "rows" / "2026" / "06.parquet", index=False)
    with pytest.raises(BatchError):
        run(built, folder)
    assert profiled(data_of(folder)) == {"12:00": [75, 230]}
    # The run went on in another window, and one that is killed before the mark is repeated.
    later = noon() + timedelta(hours=1)
    run(built, folder, now=lambda: later, on_invalid="mark")
    assert profiled(data_of(folder)) == {"12:00": [75, 230], "13:00": [59]}
    (folder / "out" / MARKS / "2026" / "04.parquet.json").unlink()
    assert [one.input for one in run(built, folder, on_invalid="mark").scored] == [
        "2026/04.parquet"
    ]
    assert profiled(data_of(folder)) == {"12:00": [75, 230], "13:00": [59]}
    run(built, folder, version=4, on_invalid="mark")
    assert profiled(data_of(folder), 4) == {"12:00": [59, 75, 230]}


def test_what_is_wrong_with_the_tables_is_named(built: Built, folder: Path) -> None:
    with pytest.raises(BatchError, match="keep: the input has no column 'surprise'"):
        run(built, folder, keep=("surprise",))
    table(5, seed=1).rename(columns={"tenure": "months"}).to_csv(folder / "one.csv", index=False)
    with pytest.raises(BatchError, match=r"one\.csv: the model needs a column 'tenure'"):
        run(built, folder, input=str(folder / "one.csv"))
    with pytest.raises(DataStoreError, match="holds no file that ends in"):
        run(built, folder, input=str(folder / "absent"))
    (folder / "broken.parquet").write_bytes(b"no table")
    with pytest.raises(DataStoreError, match="cannot be read as a table"):
        run(built, folder, input=str(folder / "broken.parquet"))
    named = table(5, seed=1).assign(prediction="?")
    named.to_csv(folder / "named.csv", index=False)
    with pytest.raises(BatchError, match="'prediction' bears the name of an output"):
        run(built, folder, input=str(folder / "named.csv"))


def test_a_regression_and_an_empty_table(tmp_path: Path) -> None:
    built = make_bundle(tmp_path / "bundle", task="regression")
    (tmp_path / "rows").mkdir()
    table(40, seed=1).to_parquet(tmp_path / "rows" / "a.parquet", index=False)
    table(40, seed=1).head(0).to_parquet(tmp_path / "rows" / "b.parquet", index=False)
    outcome = run(built, tmp_path)
    assert [one.rows for one in outcome.scored] == [40, 0]
    found = pd.read_parquet(tmp_path / "out" / "a.parquet")
    asked = built.estimator.predict(table(40, seed=1).drop(columns="customer"))
    np.testing.assert_allclose(found["prediction"].to_numpy(dtype=float), asked, rtol=1e-12)
    assert len(pd.read_parquet(tmp_path / "out" / "b.parquet")) == 0


@pytest.mark.peer
def test_on_an_object_store(built: Built, folder: Path) -> None:
    with s3.running() as peer:
        peer.create_bucket("batch-tables")
        options = peer.storage_options
        spec = BatchSpec(
            name="nightly", input="s3://batch-tables/rows", output="s3://batch-tables/out"
        )
        source, target = TableFiles(spec.input, options), TableFiles(spec.output, options)
        with source.writing("a.parquet") as write:
            write(table(30, seed=1))
        for expected in (1, 0):
            outcome = scoring.score(
                built.folder,
                version=1,
                spec=spec,
                source=source,
                target=target,
                profiles=profiles_of(DataStore("s3://batch-tables/data", options), version=1),
                tell=lambda _: None,
            )
            assert len(outcome.scored) == expected
            assert profiled(DataStore("s3://batch-tables/data", options), 1) == {"12:00": [30]}
        (file,) = target.found()
        (chunk,) = target.chunks(file, 100)
        assert len(chunk) == 30


def test_two_files_are_not_scored_into_one(built: Built, folder: Path) -> None:
    table(5, seed=3).to_csv(folder / "rows" / "2026" / "04.csv", index=False)
    with pytest.raises(BatchError, match=r"04\.csv and .*04\.parquet would both be scored into"):
        run(built, folder)
    assert not (folder / "out").exists()


@pytest.mark.parametrize("output", ["rows", "rows/", "rows/out"])
def test_predictions_are_no_input(output: str) -> None:
    with pytest.raises(ValidationError, match=f"output {output} is in input rows"):
        BatchSpec(name="nightly", input="rows", output=output)
    assert BatchSpec(name="nightly", input="rows", output="rows-scored").output == "rows-scored"
