"""CSV and Parquet: what the files may look like, what is refused, and how."""

import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from mlops_assets.features.sources.base import SourceContext, SourceError
from mlops_assets.features.sources.csv import Csv
from mlops_assets.features.sources.parquet import Parquet
from mlops_assets.features.sources.tables import deliver

TELCO = Path(__file__).parents[3] / "shared" / "data" / "telco-churn.csv"


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    return SourceContext(tmp_path, tmp_path / "cache", {})


def read_csv(context: SourceContext, content: str | bytes, **fields: Any) -> pd.DataFrame:
    data = content if isinstance(content, bytes) else content.encode()
    (context.directory / "t.csv").write_bytes(data)
    return Csv.model_validate({"kind": "csv", "path": "t.csv", **fields}).read(context)


def cells(frame: pd.DataFrame) -> list[list[Any]]:
    return [list(row) for row in frame.itertuples(index=False)]


@pytest.mark.parametrize(
    ("content", "fields", "expected"),
    [
        ("a,b\n007,1.50\n,TRUE\n", {}, [["007", "1.50"], [None, "TRUE"]]),
        ("a,b\nNA, \nnan,NULL\n", {}, [["NA", " "], ["nan", "NULL"]]),
        ("a,b\nNA,-\n1,NA\n", {"missing": ["NA", "-"]}, [[None, None], ["1", None]]),
        ('a,b\r\n"x, ""y""\r\nz",1\r\n', {}, [['x, "y"\r\nz', "1"]]),
        ('a,b\n5" pipe,1\n', {}, [['5" pipe', "1"]]),
        ("a\tb\n1\t2", {"separator": "\t"}, [["1", "2"]]),
        ("a,b\n\n1,2\n\n", {}, [["1", "2"]]),
        ("\ufeffa,b\n1,2\n", {}, [["1", "2"]]),
        ("a,b\nß,€\n".encode("cp1252"), {"encoding": "cp1252"}, [["ß", "€"]]),
        ("a,b\nß,1\n".encode("utf-16"), {"encoding": "utf-16"}, [["ß", "1"]]),
        (
            "a;b\n1,5;x,y\n-,25;1e3\n",
            {"separator": ";", "decimal": ","},
            [["1.5", "x,y"], ["-.25", "1e3"]],
        ),
        (
            "a;b\n1.234,5;1.2.2024\n12;2.000\n;v 1.5\n",
            {"separator": ";", "decimal": ",", "thousands": "."},
            [["1234.5", "1.2.2024"], ["12", "2000"], [None, "v 1.5"]],
        ),
        ('a,b\n"1,234.5","1,23"\n', {"thousands": ","}, [["1234.5", "1,23"]]),
    ],
)
def test_csv_cells_stay_text(
    content: str | bytes, fields: dict[str, Any], expected: list[Any], context: SourceContext
) -> None:
    frame = read_csv(context, content, **fields)

    assert list(frame.columns) == ["a", "b"]
    assert cells(frame) == expected
    assert {kind.kind for kind in frame.dtypes} == {"O"}


@pytest.mark.parametrize(
    ("content", "fields", "message"),
    [
        ("", {}, r"t\.csv is empty"),
        (" \n\n", {}, r"t\.csv is empty"),
        ("a,b\n", {}, r"t\.csv has columns but no rows"),
        ("a,b,a\n1,2,3\n", {}, r"t\.csv: 'a' names more than one column"),
        ("a,,b\n1,2,3\n", {}, r"t\.csv: column 2 of 3 has no name"),
        ("a,b\n1,2\n\n1,2,3\n", {}, r"t\.csv line 4: 3 fields, but the header has 2"),
        ('a,b\n"x\ny",2\n1\n', {}, r"t\.csv line 4: 1 fields, but the header has 2"),
        ("a;b\n1;2\n", {}, r"one column, 'a;b'; separator is ',', should it be ';'"),
        ('a,b\n1,2\n3,"x\n4,5\n', {}, r"t\.csv line 3: a quoted field is never closed"),
        (b"a,b\n1,2\n3,\xe9\n", {}, r"t\.csv line 3: byte e9 is not utf-8"),
        (b"a,\xe9\n1,2\n", {}, r"t\.csv line 1: byte e9 is not utf-8"),
        (b"a,b\n\n\x81,1\n", {"encoding": "cp1252"}, r"line 3: byte 81 is not cp1252"),
        (
            "a;b\n1,5;1\n1.234;2\n",
            {"separator": ";", "decimal": ","},
            r"column 'a' holds '1\.234', but decimal is ','.*set thousands: '\.'",
        ),
    ],
)
def test_csv_faults_are_named(
    content: str | bytes, fields: dict[str, Any], message: str, context: SourceContext
) -> None:
    with pytest.raises(SourceError, match=message):
        read_csv(context, content, **fields)


def test_csv_unpacks_gzip_and_refuses_a_broken_one(context: SourceContext) -> None:
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * 5000)
    path = context.directory / "t.csv.gz"
    source = Csv(kind="csv", path="t.csv.gz")

    path.write_bytes(packed)
    assert len(source.read(context)) == 5000
    path.write_bytes(packed[:-20])
    with pytest.raises(SourceError, match=r"t\.csv\.gz cannot be read: EOFError"):
        source.read(context)


def test_a_folder_is_no_csv_and_absolute_paths_work(context: SourceContext) -> None:
    read_csv(context, "a,b\n1,2\n")
    elsewhere = SourceContext(context.directory / "deep", context.cache, {})

    path = str(context.directory / "t.csv")
    assert cells(Csv(kind="csv", path=path).read(elsewhere)) == [["1", "2"]]
    with pytest.raises(SourceError, match="is a folder, not a file"):
        Csv(kind="csv", path=".").read(context)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": ""}, "at least 1 character"),
        ({"path": "ftp://host/t.csv"}, "'ftp://host/t.csv' is not served"),
        ({"path": "s3://key:secret@bucket/t.csv"}, "without credentials"),
        ({"path": "s3://bucket"}, "s3://bucket/key"),
        ({"encoding": "utf-9"}, "not an encoding Python knows"),
        ({"separator": ";;"}, "pattern"),
        ({"separator": '"'}, "pattern"),
        ({"separator": "ß"}, "ASCII"),
        ({"decimal": ",", "thousands": ","}, "cannot both be ','"),
    ],
)
def test_csv_spec_refuses(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Csv.model_validate({"kind": "csv", "path": "t.csv", **fields})


@pytest.mark.skipif(not TELCO.exists(), reason="the Telco data are not beside the repository")
def test_csv_reads_real_data_as_pandas_does() -> None:
    context = SourceContext(TELCO.parent, TELCO.parent, {})

    frame = Csv(kind="csv", path=TELCO.name).read(context)

    assert frame.shape == (7043, 21)
    assert frame.equals(pd.read_csv(TELCO, dtype=str, keep_default_na=False))
    assert {kind.kind for kind in frame.dtypes} == {"O"}


def test_parquet_keeps_types(context: SourceContext) -> None:
    table = {
        "i": [1, 2],
        "f": [0.5, None],
        "b": [True, False],
        "s": ["x", None],
        "t": pd.to_datetime(["2025-01-01T10:00Z", None]),
        "d": pa.array([20000, None], pa.date32()),
        "m": [Decimal("1.25"), None],
        "c": pa.array(["u", None]).dictionary_encode(),
    }
    pq.write_table(pa.table(table), context.directory / "t.parquet")

    frame = Parquet(kind="parquet", path="t.parquet").read(context)

    kinds = {name: kind.kind for name, kind in frame.dtypes.items()}
    assert kinds == dict(zip("ifbstdmc", "ifbOMMfO", strict=True))
    assert frame.loc[0].tolist()[:4] == [1, 0.5, True, "x"]
    assert frame["t"][0] == pd.Timestamp("2025-01-01T10:00Z")
    assert frame["d"][0] == pd.Timestamp("2024-10-04")
    assert (frame["m"][0], frame["c"][0]) == (1.25, "u")
    assert frame.loc[1, ["f", "s", "t", "d", "m", "c"]].isna().all()


def test_parquet_folder_is_read_in_order_with_its_partitions(context: SourceContext) -> None:
    for month, values in (("2025-02", [3.5]), ("2025-01", [1, 2])):
        folder = context.directory / "t" / f"month={month}"
        folder.mkdir(parents=True)
        pd.DataFrame({"x": values}).to_parquet(folder / "part.parquet")
    (context.directory / "t" / "_SUCCESS").write_text("")
    (context.directory / "t" / ".part.parquet.crc").write_text("")

    frame = Parquet(kind="parquet", path="t").read(context)

    assert cells(frame) == [[1.0, "2025-01"], [2.0, "2025-01"], [3.5, "2025-02"]]


def test_parquet_index_of_pandas_stays_only_if_named(context: SourceContext) -> None:
    frame = pd.DataFrame({"x": [1, 2, 3]}, index=[7, 5, 6])
    frame.to_parquet(context.directory / "nameless.parquet")
    frame.rename_axis("id").to_parquet(context.directory / "named.parquet")

    def columns(name: str) -> list[str]:
        return list(Parquet(kind="parquet", path=name).read(context).columns)

    assert columns("nameless.parquet") == ["x"]
    assert set(columns("named.parquet")) == {"x", "id"}


def _write(folder: Path, **tables: pa.Table) -> None:
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")


def test_parquet_faults_are_named(context: SourceContext) -> None:
    folder = context.directory
    one, two = pa.table({"x": [1]}), pa.table({"x": [1], "y": [2]})
    _write(folder, none=one.slice(0, 0), nested=pa.table({"x": [[1]]}))
    _write(folder, double=pa.Table.from_arrays([pa.array([1])] * 2, ["x", "x"]))
    (folder / "text.parquet").write_text("not parquet at all")
    for name, tables in {
        "differ": {"a": one, "b": two},
        "clash": {"a": one, "b": pa.table({"x": ["one"]})},
        "hollow": {},
    }.items():
        (folder / name).mkdir()
        _write(folder / name, **tables)

    for path, message in {
        "none.parquet": r"none\.parquet has columns but no rows",
        "nested.parquet": r"column 'x' holds list<.*flatten it",
        "double.parquet": r"double\.parquet: 'x' names more than one column",
        "text.parquet": r"text\.parquet is not a Parquet file",
        "differ": r"b\.parquet and .*a\.parquet differ in the columns y",
        "clash": r"clash cannot be read as one table: .*x",
        "hollow": r"hollow holds no file that ends in \.parquet",
    }.items():
        with pytest.raises(SourceError, match=message):
            Parquet(kind="parquet", path=path).read(context)


def test_tables_hold_scalars_only(context: SourceContext) -> None:
    ids = pd.DataFrame({"u": [UUID(int=1), None]}, index=[5, 9])
    delivered = deliver(ids, "t")
    assert cells(delivered) == [["00000000-0000-0000-0000-000000000001"], [None]]
    assert delivered.index.equals(pd.RangeIndex(2))
    with pytest.raises(SourceError, match="t: column 'j' holds dict and list"):
        deliver(pd.DataFrame({"j": [{"a": 1}, [2]]}), "t")
