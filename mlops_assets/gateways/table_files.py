"""Folders of Parquet and CSV files, read and written in chunks through fsspec. Knows no stage."""

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from mlops_assets.gateways.data_store import DataStoreError
from mlops_assets.serving.schema import ColumnType

if TYPE_CHECKING:
    import pandas as pd

ENDINGS = (".parquet", ".csv")
TRUE_WORDS, FALSE_WORDS = ("true", "1", "1.0"), ("false", "0", "0.0")
"""What a boolean is in a CSV, as endpoints read it."""


@dataclass(frozen=True)
class TableFile:
    """One file of a folder."""

    name: str
    """Below the folder, as in `2026/05.parquet`."""
    path: str
    """As the file system names it."""
    fingerprint: str
    """Changes when the file does, as far as its size and the store's own mark of change tell."""


class TableFiles:
    """The table files of one folder, or a single one."""

    def __init__(self, url: str, storage_options: dict[str, object]) -> None:
        from fsspec.core import url_to_fs

        options = {"use_listings_cache": False, **storage_options} if "s3://" in url else {}
        self.url = url.rstrip("/")
        self._files, self._root = url_to_fs(self.url, **options)

    def found(self) -> list[TableFile]:
        """Every file that ends in `.parquet` or `.csv`, by name.

        Raises:
            DataStoreError: there is none, or the store does not answer.
        """
        try:
            single = self._files.isfile(self._root)
            paths = [self._root] if single else sorted(self._files.find(self._root))
            found = [
                TableFile(
                    path.rsplit("/", 1)[-1] if single else path.removeprefix(f"{self._root}/"),
                    path,
                    _fingerprint(self._files.info(path)),
                )
                for path in paths
                if path.endswith(ENDINGS) and "/_" not in path.removeprefix(self._root)
            ]
        except Exception as error:
            raise DataStoreError(f"{self.url} cannot be listed: {error}") from error
        if not found:
            raise DataStoreError(f"{self.url} holds no file that ends in {' or '.join(ENDINGS)}")
        return found

    def chunks(self, file: TableFile, rows: int) -> Iterator["pd.DataFrame"]:
        """The file's rows, so many at a time; an empty file gives one empty chunk. Cells of a CSV
        are text, as they stand there: types guessed from one chunk need not be those of the next.

        Raises:
            DataStoreError: it cannot be read as a table.
        """
        import pandas as pd
        import pyarrow.parquet as pq

        seen = False
        try:
            with self._files.open(file.path, "rb") as opened:
                if self.is_text(file):
                    for frame in pd.read_csv(
                        opened, chunksize=rows, dtype=str, keep_default_na=False
                    ):
                        seen = True
                        yield frame
                else:
                    table = pq.ParquetFile(opened)
                    for batch in table.iter_batches(batch_size=rows):
                        seen = True
                        yield batch.to_pandas()
                    if not seen:
                        yield table.schema_arrow.empty_table().to_pandas()
        except (OSError, ValueError) as error:  # of which pyarrow's and pandas' errors are kinds
            raise DataStoreError(f"{file.path} cannot be read as a table: {error}") from error

    def row_groups(self, file: TableFile) -> int | None:
        """How many a Parquet file has; None for another one, which cannot be read in parts.

        Raises:
            DataStoreError: it cannot be read as a table.
        """
        import pyarrow.parquet as pq

        if self.is_text(file):
            return None
        with self._reading(file) as opened:
            return int(pq.ParquetFile(opened).num_row_groups)

    def batches(
        self,
        file: TableFile,
        columns: Mapping[str, ColumnType],
        *,
        rows: int,
        groups: Sequence[int] | None = None,
    ) -> Iterator[Any]:
        """Arrow batches of at most so many rows of these columns. Cells of a CSV become what the
        column is; empty ones are missing.

        Args:
            file: of the folder.
            columns: by name.
            rows: of a batch.
            groups: row groups of a Parquet file to read; by default all.

        Raises:
            DataStoreError: it cannot be read as a table, or not with these columns.
        """
        import pyarrow.parquet as pq

        with self._reading(file) as opened:
            if self.is_text(file):
                yield from _csv_batches(opened, columns, rows)
            else:
                table = pq.ParquetFile(opened)
                yield from table.iter_batches(rows, groups, [*columns])

    @contextmanager
    def _reading(self, file: TableFile) -> Iterator[IO[bytes]]:
        try:
            with self._files.open(file.path, "rb") as opened:
                yield opened
        except (OSError, ValueError, KeyError) as error:  # of which pyarrow's errors are kinds
            raise DataStoreError(f"{file.path} cannot be read as a table: {error}") from error

    @staticmethod
    def is_text(file: TableFile) -> bool:
        """Whether the cells of its chunks are text."""
        return file.path.endswith(".csv")

    @contextmanager
    def writing(self, name: str) -> Iterator[Callable[["pd.DataFrame"], None]]:
        """Write a Parquet file chunk by chunk; it is there whole at the end, or not at all.

        Raises:
            DataStoreError: it cannot be written.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = f"{self._root}/{name}"
        partial = f"{path}.{uuid.uuid4().hex[:8]}.partial"
        writer: Any = None

        def add(frame: "pd.DataFrame") -> None:
            nonlocal writer
            if writer is None:
                table = pa.Table.from_pandas(frame, preserve_index=False)
                writer = pq.ParquetWriter(file, table.schema, compression="zstd")
            else:
                table = pa.Table.from_pandas(frame, schema=writer.schema, preserve_index=False)
            writer.write_table(table)

        try:
            self._files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            with self._files.open(partial, "wb") as file:
                try:
                    yield add
                finally:
                    # Before the file is: its last part is written now.
                    if writer is not None:
                        writer.close()
            self._files.mv(partial, path)
        except BaseException as error:
            with suppress(Exception):  # what is told is why the writing failed
                self._files.rm(partial)
            if isinstance(error, (OSError, pa.ArrowException)):
                raise DataStoreError(f"{self.url}/{name} cannot be written: {error}") from error
            raise

    def read_text(self, name: str) -> str | None:
        """A small file of the folder; None when it is not there."""
        path = f"{self._root}/{name}"
        try:
            return str(self._files.cat_file(path).decode()) if self._files.exists(path) else None
        except OSError as error:
            raise DataStoreError(f"{self.url}/{name} cannot be read: {error}") from error

    def write_text(self, name: str, text: str) -> None:
        path = f"{self._root}/{name}"
        try:
            self._files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            self._files.pipe_file(path, text.encode())
        except OSError as error:
            raise DataStoreError(f"{self.url}/{name} cannot be written: {error}") from error


def _csv_batches(opened: IO[bytes], columns: Mapping[str, ColumnType], rows: int) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.csv

    types = {"numeric": pa.float64(), "boolean": pa.bool_(), "categorical": pa.string()}
    options = pyarrow.csv.ConvertOptions(
        column_types={name: types[kind] for name, kind in columns.items()},
        include_columns=[*columns],
        null_values=[""],
        strings_can_be_null=True,
        true_values=sorted(_spelt(TRUE_WORDS)),
        false_values=sorted(_spelt(FALSE_WORDS)),
    )
    for batch in pyarrow.csv.open_csv(opened, convert_options=options):
        yield from (batch.slice(start, rows) for start in range(0, len(batch), rows))


def _spelt(words: Iterable[str]) -> set[str]:
    return {form for word in words for form in (word, word.upper(), word.title())}


def _fingerprint(info: dict[str, Any]) -> str:
    mark = info.get("ETag") or info.get("mtime") or info.get("LastModified") or ""
    return hashlib.sha256(f"{info.get('size')} {mark}".encode()).hexdigest()[:16]
