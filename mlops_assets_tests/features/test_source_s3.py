"""CSV and Parquet on S3: a server on this machine, spoken to over HTTP."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from mlops_assets.features.sources.base import Source, SourceContext, SourceError
from mlops_assets.features.sources.csv import Csv
from mlops_assets.features.sources.parquet import Parquet
from mlops_assets_tests.contracts.source import OutsideSourceContract
from mlops_assets_tests.peers import s3 as s3_peer

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def s3() -> Iterator[s3_peer.S3]:
    with s3_peer.running() as server:
        server.create_bucket("data")
        yield server


class TestCsvOnS3(OutsideSourceContract):
    kind = "csv"
    secrets = (s3_peer.KEY, s3_peer.SECRET)
    missing_name = "s3://data/none.csv does not exist"

    @pytest.fixture
    def source(self, s3: s3_peer.S3) -> Source:
        return Csv(kind="csv", path=s3.put("data", "in/t.csv", b"a,b\n1,x\n2,\n"))

    @pytest.fixture
    def missing(self) -> Source:
        return Csv(kind="csv", path="s3://data/none.csv")

    @pytest.fixture
    def context(self, s3: s3_peer.S3, tmp_path: Path) -> SourceContext:
        return SourceContext(tmp_path, tmp_path, s3.storage_options)

    def test_replaced_object_is_read_anew(
        self, s3: s3_peer.S3, source: Source, context: SourceContext
    ) -> None:
        assert len(source.read(context)) == 2
        s3.put("data", "in/t.csv", b"a,b\n" + b"1,x\n" * 1000)

        assert len(source.read(context)) == 1000

    def test_bucket_that_does_not_exist(self, context: SourceContext) -> None:
        with pytest.raises(SourceError, match=r"s3://nobucket/t\.csv does not exist"):
            Csv(kind="csv", path="s3://nobucket/t.csv").read(context)


class TestParquetOnS3(OutsideSourceContract):
    kind = "parquet"
    secrets = (s3_peer.KEY, s3_peer.SECRET)
    missing_name = "s3://data/none does not exist"

    @pytest.fixture
    def source(self, s3: s3_peer.S3, tmp_path: Path) -> Source:
        for name in ("b", "a"):
            pd.DataFrame({"x": [name, None]}).to_parquet(tmp_path / name)
            s3.put("data", f"folder/{name}.parquet", (tmp_path / name).read_bytes())
        return Parquet(kind="parquet", path="s3://data/folder")

    @pytest.fixture
    def missing(self) -> Source:
        return Parquet(kind="parquet", path="s3://data/none")

    @pytest.fixture
    def context(self, s3: s3_peer.S3, tmp_path: Path) -> SourceContext:
        return SourceContext(tmp_path, tmp_path, s3.storage_options)

    def test_folder_is_in_order(self, source: Source, context: SourceContext) -> None:
        assert source.read(context)["x"].tolist() == ["a", None, "b", None]

    def test_object_added_later_is_seen(
        self, s3: s3_peer.S3, source: Source, context: SourceContext, tmp_path: Path
    ) -> None:
        pd.DataFrame({"x": ["first"]}).to_parquet(tmp_path / "grow")
        body = (tmp_path / "grow").read_bytes()
        s3.put("data", "grow/1.parquet", body)
        growing = Parquet(kind="parquet", path="s3://data/grow")
        assert len(growing.read(context)) == 1
        s3.put("data", "grow/2.parquet", body)

        assert len(growing.read(context)) == 2

    def test_single_object_is_read(self, source: Source, context: SourceContext) -> None:
        frame = Parquet(kind="parquet", path="s3://data/folder/b.parquet").read(context)

        assert frame["x"].tolist() == ["b", None]


def test_s3_out_of_reach_is_a_source_error(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        options: dict[str, object] = {
            "endpoint_url": endpoint,
            "key": "k",
            "secret": "s",
            "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 2},
        }
        context = SourceContext(tmp_path, tmp_path, options)
        with pytest.raises(SourceError, match=r"s3://data/t\.csv cannot be read: .*127\.0\.0\.1"):
            Csv(kind="csv", path="s3://data/t.csv").read(context)
