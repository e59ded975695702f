"""Tables, JSON and bytes on a folder or object store, through fsspec. Knows no stage."""

import hashlib
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


class DataStoreError(Exception):
    """The store could not be read or written; the message names the path and the cause."""


@dataclass(frozen=True)
class StoredFile:
    """A file of the store."""

    path: str
    """Below the root of the store."""
    size: int
    """Bytes."""
    modified: datetime | None
    """UTC; None where the store does not tell."""


class DataStore:
    """A tree of immutable files under one root. A file is whole or absent, never half."""

    def __init__(self, url: str, storage_options: dict[str, object]) -> None:
        self.url = url.rstrip("/")
        self.storage_options = storage_options

    def at(self, path: str) -> str:
        return f"{self.url}/{path}"

    def write_table(self, path: str, frame: "pd.DataFrame") -> str:
        """Write Parquet at `path` unless it is there already; return its URL."""
        url = self.at(path)
        if not self._exists(url):
            with self._writing(url) as file:
                frame.to_parquet(file, index=False)
        return url

    def read_table(self, url: str, columns: list[str] | None = None) -> "pd.DataFrame":
        import pandas as pd

        with self._reading(url) as file:
            try:
                return pd.read_parquet(file, columns=columns)
            except ValueError as error:  # of which pyarrow's errors are kinds
                raise DataStoreError(f"{url} cannot be read as a table: {error}") from error

    def table_columns(self, url: str) -> list[str]:
        """The names of a table's columns, in their order, without reading its rows."""
        import pyarrow.parquet

        with self._reading(url) as file:
            try:
                return list(pyarrow.parquet.read_schema(file).names)
            except ValueError as error:  # of which pyarrow's errors are kinds
                raise DataStoreError(f"{url} cannot be read as a table: {error}") from error

    def write_json(self, path: str, value: Any) -> str:
        """Write JSON at `path`, replacing what was there; return its URL."""
        return self.write_bytes(path, json.dumps(value, indent=1, sort_keys=True).encode())

    def read_json(self, url: str) -> Any:
        return json.loads(self.read_bytes(url))

    def write_bytes(self, path: str, content: bytes) -> str:
        url = self.at(path)
        with self._writing(url) as file:
            file.write(content)
        return url

    def read_bytes(self, url: str) -> bytes:
        with self._reading(url) as file:
            content = file.read()
        return bytes(content)

    def exists(self, path: str) -> bool:
        return self._exists(self.at(path))

    def files(self, path: str) -> list[str]:
        """Every file under `path`, sorted, relative to it; empty when there is none."""
        url = self.at(path)
        filesystem, root = self._locate(url)
        prefix = root.rstrip("/") + "/"
        try:
            found = filesystem.find(root) if filesystem.exists(root) else []
        except _faults(url) as error:
            raise DataStoreError(f"{url} cannot be listed: {error}") from error
        return sorted(name.removeprefix(prefix) for name in found)

    def listed(self, path: str) -> list[StoredFile]:
        """Every file under `path`, sorted, with its size and age; empty when there is none."""
        url = self.at(path)
        filesystem, root = self._locate(url)
        try:
            found = filesystem.find(root, detail=True) if filesystem.exists(root) else {}
        except _faults(url) as error:
            raise DataStoreError(f"{url} cannot be listed: {error}") from error
        below = root.rstrip("/")
        return [
            StoredFile(f"{path}{name.removeprefix(below)}", int(info["size"]), _modified(info))
            for name, info in sorted(found.items())
        ]

    def remove(self, path: str) -> None:
        """Remove a file, or leave it be when it is gone. Folders left empty go with it, but for
        those of the first two levels, which somebody may be about to write to."""
        url = self.at(path)
        filesystem, place = self._locate(url)
        try:
            filesystem.rm_file(place)
        except FileNotFoundError:
            return
        except _faults(url) as error:
            raise DataStoreError(f"{url} cannot be removed: {error}") from error
        if _is_s3(url):  # where folders are not there
            return
        with suppress(OSError):  # one holds other files
            for _ in range(path.count("/") - 2):
                place = place.rsplit("/", 1)[0]
                filesystem.rmdir(place)

    def _locate(self, url: str) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        # Without a cache of listings: other processes write and remove files too.
        options = {"use_listings_cache": False, **self.storage_options} if _is_s3(url) else {}
        filesystem, path = url_to_fs(url, **options)
        return filesystem, path

    def _exists(self, url: str) -> bool:
        filesystem, path = self._locate(url)
        try:
            return bool(filesystem.exists(path))
        except _faults(url) as error:
            raise DataStoreError(f"{url} cannot be looked for: {error}") from error

    @contextmanager
    def _reading(self, url: str) -> Iterator[IO[bytes]]:
        filesystem, path = self._locate(url)
        try:
            with filesystem.open(path, "rb") as file:
                yield file
        except FileNotFoundError as error:
            raise DataStoreError(f"{url} is gone: materialize the asset that wrote it") from error
        except _faults(url) as error:
            raise DataStoreError(f"{url} cannot be read: {error}") from error

    @contextmanager
    def _writing(self, url: str) -> Iterator[IO[bytes]]:
        filesystem, path = self._locate(url)
        partial = f"{path}.{uuid.uuid4().hex[:8]}.partial"
        try:
            if not _is_s3(url):  # where it would make the bucket, misspelt or not
                filesystem.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            with filesystem.open(partial, "wb") as file:
                yield file
            filesystem.mv(partial, path)
        except BaseException as error:
            with suppress(Exception):  # what is told is why the writing failed
                filesystem.rm(partial)
            if isinstance(error, _faults(url)):
                raise DataStoreError(f"{url} cannot be written: {error}") from error
            raise


def _modified(info: dict[str, Any]) -> datetime | None:
    told = info.get("LastModified", info.get("mtime"))
    if isinstance(told, datetime):
        return told.astimezone(UTC)
    return None if told is None else datetime.fromtimestamp(float(told), UTC)


def _is_s3(url: str) -> bool:
    return url.startswith("s3://")


def _faults(url: str) -> tuple[type[Exception], ...]:
    """What a store raises when it fails, whoever is to blame."""
    if not _is_s3(url):
        return (OSError,)
    from botocore.exceptions import BotoCoreError, ClientError

    return (OSError, BotoCoreError, ClientError)


def frame_digest(frame: "pd.DataFrame") -> str:
    """sha256 over column names, types and values: equal content has an equal digest."""
    import pandas as pd

    digest = hashlib.sha256()
    for name in frame.columns:
        column = frame[name]
        digest.update(f"{name}\0{column.dtype}\0".encode())
        digest.update(pd.util.hash_pandas_object(column, index=False).to_numpy().tobytes())
    return digest.hexdigest()
