"""Every data source keeps the contract; openml and the bundled datasets besides."""

import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError

from mlops_assets.experiment.spec import discover, kind_of
from mlops_assets.features import sources
from mlops_assets.features.sources.base import Source, SourceContext, SourceError
from mlops_assets.features.sources.csv import Csv
from mlops_assets.features.sources.openml import Openml
from mlops_assets.features.sources.parquet import Parquet
from mlops_assets.features.sources.simulator import Simulator
from mlops_assets.features.sources.sklearn_bundled import SklearnBundled
from mlops_assets.features.sources.sql import Sql
from mlops_assets_tests.contracts.source import OutsideSourceContract, SourceContract, contracts
from mlops_assets_tests.peers import openml as openml_peer

FLOWERS = pd.DataFrame(
    {
        "petal": [1.5, None, 4.5, 6.0],
        "leaves": [3, 4, 5, 6],
        "ward": pd.Categorical(["1", "2", "1", None]),
        "class": pd.Categorical(["tall one", "short", None, "short"]),
    }
)
DATASET = openml_peer.Dataset(4711, "flowers", 2, "class", FLOWERS)


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    return SourceContext(tmp_path, tmp_path / "cache", {})


class TestCsv(OutsideSourceContract):
    kind = "csv"
    missing_name = r"tabel\.csv does not exist; beside it: table\.csv"

    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        (tmp_path / "table.csv").write_text("id,amount\n7,1.50\n8,\n")
        return Csv(kind="csv", path="table.csv")

    @pytest.fixture
    def missing(self, source: Source) -> Source:
        return Csv(kind="csv", path="tabel.csv")

    @pytest.fixture
    def context(self, context: SourceContext) -> SourceContext:
        return context


class TestParquet(OutsideSourceContract):
    kind = "parquet"
    missing_name = r"nowhere\.parquet does not exist"

    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        FLOWERS.to_parquet(tmp_path / "table.parquet")
        return Parquet(kind="parquet", path="table.parquet")

    @pytest.fixture
    def missing(self) -> Source:
        return Parquet(kind="parquet", path="nowhere.parquet")

    @pytest.fixture
    def context(self, context: SourceContext) -> SourceContext:
        return context


class TestSql(OutsideSourceContract):
    kind = "sql"
    missing_name = r"no table 'customer'; there is customers"

    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        with sqlite3.connect(tmp_path / "shop.db") as database:
            database.executescript(
                "CREATE TABLE IF NOT EXISTS customers (name TEXT, id INTEGER PRIMARY KEY);"
                "INSERT OR IGNORE INTO customers VALUES ('Ada', 2), ('Bob', 1);"
            )
        database.close()
        return Sql(kind="sql", url="sqlite:///shop.db", table="customers")

    @pytest.fixture
    def missing(self, source: Source) -> Source:
        return Sql(kind="sql", url="sqlite:///shop.db", table="customer")

    @pytest.fixture
    def context(self, context: SourceContext) -> SourceContext:
        return context


class TestOpenml(OutsideSourceContract):
    kind = "openml"
    missing_name = r"d/9 cannot be fetched: Dataset with data_id 9 not found"

    @pytest.fixture
    def peer(self) -> Iterator[openml_peer.Openml]:
        with openml_peer.running(DATASET) as peer:
            yield peer

    @pytest.fixture
    def source(self, peer: openml_peer.Openml) -> Source:
        return Openml(kind="openml", data_id=4711)

    @pytest.fixture
    def missing(self, peer: openml_peer.Openml) -> Source:
        return Openml(kind="openml", data_id=9)

    @pytest.fixture
    def context(self, context: SourceContext) -> SourceContext:
        return context

    def test_holds_the_target_and_plain_values(
        self, source: Source, context: SourceContext
    ) -> None:
        frame = source.read(context)

        assert list(frame.columns) == ["petal", "leaves", "ward", "class"]
        assert frame["class"].tolist()[:2] == ["tall one", "short"]
        assert frame["ward"].tolist()[:3] == ["1", "2", "1"]
        assert frame.isna().sum().to_dict() == {"petal": 1, "leaves": 0, "ward": 1, "class": 1}
        assert frame["petal"].sum() == 12.0

    def test_name_and_version_find_the_same_data(
        self, source: Source, context: SourceContext
    ) -> None:
        named = Openml(kind="openml", name="flowers", version=2)

        assert named.read(context).equals(source.read(context))

    def test_second_read_needs_no_server(
        self, peer: openml_peer.Openml, source: Source, context: SourceContext
    ) -> None:
        source.read(context)
        asked = len(peer.requests)

        source.read(context)

        assert len(peer.requests) == asked > 0

    def test_unknown_version_is_named(
        self, peer: openml_peer.Openml, context: SourceContext
    ) -> None:
        with pytest.raises(SourceError, match="flowers with version 3 not found"):
            Openml(kind="openml", name="flowers", version=3).read(context)


class TestSklearnBundled(SourceContract):
    kind = "sklearn_bundled"

    @pytest.fixture
    def source(self) -> Source:
        return SklearnBundled(kind="sklearn_bundled", dataset="iris")

    @pytest.fixture
    def context(self, context: SourceContext) -> SourceContext:
        return context


class TestSimulator(SourceContract):
    kind = "simulator"

    @pytest.fixture
    def source(self) -> Source:
        return Simulator(kind="simulator", customers=60, months=3)

    @pytest.fixture
    def context(self, context: SourceContext) -> SourceContext:
        return context


def test_every_discovered_source_is_held_to_the_contract() -> None:
    discovered = {kind_of(member) for member in discover(sources, Source)}

    assert discovered == contracts()
    assert discovered >= {"csv", "parquet", "sql", "openml", "sklearn_bundled", "simulator"}


def test_context_does_not_print_secrets() -> None:
    context = SourceContext(Path(), Path(), {"secret": "s3cret"}, {"DB": "s3cret"})

    assert "s3cret" not in repr(context)


@pytest.mark.filterwarnings("ignore:A network error occurred:UserWarning")
def test_openml_out_of_reach_is_a_source_error(context: SourceContext) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with (
            openml_peer.redirected(address),
            pytest.raises(SourceError, match=r"openml\.org/d/4711 cannot be fetched: .*refused"),
        ):
            Openml(kind="openml", data_id=4711).read(context)


@pytest.mark.parametrize(
    "fields", [{}, {"data_id": 1, "name": "iris"}, {"name": "iris"}, {"data_id": 1, "version": 1}]
)
def test_openml_needs_one_way_to_find_the_dataset(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="data_id"):
        Openml.model_validate({"kind": "openml", **fields})


@pytest.mark.parametrize(
    ("dataset", "rows", "labels"),
    [
        ("iris", 150, {"setosa", "versicolor", "virginica"}),
        ("wine", 178, {"class_0", "class_1", "class_2"}),
        ("breast_cancer", 569, {"malignant", "benign"}),
        ("digits", 1797, set("0123456789")),
    ],
)
def test_bundled_classes_have_names(
    dataset: str, rows: int, labels: set[str], context: SourceContext
) -> None:
    source = SklearnBundled.model_validate({"kind": "sklearn_bundled", "dataset": dataset})

    frame = source.read(context)

    assert len(frame) == rows
    assert set(frame["target"]) == labels
    # In scikit-learn's data code 0 is malignant: 212 of the 569 tumours.
    assert dataset != "breast_cancer" or (frame["target"] == "malignant").sum() == 212


def test_bundled_regression_keeps_numbers(context: SourceContext) -> None:
    frame = SklearnBundled(kind="sklearn_bundled", dataset="diabetes").read(context)

    assert frame["target"].dtype == float
    assert frame["target"].mean() == pytest.approx(152.13, abs=0.01)
