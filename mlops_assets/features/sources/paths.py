"""Where a file source keeps its data: a local path or `s3://`, opened through fsspec.

Turns what can go wrong outside into SourceError; knows no file format.
"""

import difflib
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from mlops_assets.features.sources.base import SourceContext, SourceError

REMOTE = "s3://"


def _check(path: str) -> str:
    if path.startswith(REMOTE):
        if not re.fullmatch(r"s3://[^/@:?#]+/.*[^/].*", path):
            raise ValueError("a remote path reads s3://bucket/key, without credentials in it")
        return path
    if "://" in path or "::" in path:
        raise ValueError(f"{path!r} is not served; write a local path or {REMOTE}...")
    return path


TablePath = Annotated[str, Field(min_length=1), AfterValidator(_check)]


def locate(path: str, context: SourceContext) -> str:
    """The absolute local path, or the `s3://` URL, that `path` in an experiment's YAML means."""
    if path.startswith(REMOTE):
        return path
    return str((context.directory / Path(path).expanduser()).resolve())


def open_filesystem(where: str, context: SourceContext) -> Any:
    """The fsspec file system of a located path. New each time: a cached one would serve an old
    listing, with old sizes, after a file was replaced."""
    import fsspec

    if where.startswith(REMOTE):
        return fsspec.filesystem("s3", skip_instance_cache=True, **context.storage_options)
    return fsspec.filesystem("file")


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Whatever fails outside while `where` is read becomes a SourceError that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise SourceError(f"{where} does not exist{_near(where)}") from error
    except IsADirectoryError as error:
        raise SourceError(f"{where} is a folder, not a file") from error
    except PermissionError as error:
        raise SourceError(f"{where} may not be read: {error}") from error
    except _outside_errors(where) as error:
        raise SourceError(f"{where} cannot be read: {type(error).__name__}: {error}") from error


def read_bytes(where: str, context: SourceContext) -> bytes:
    """The whole file, unpacked when its name ends in .gz, .bz2, .xz or .zip.

    Raises:
        SourceError: the file is absent, a folder, or cannot be read.
    """
    with (
        reading(where),
        open_filesystem(where, context).open(where, "rb", compression="infer") as file,
    ):
        return bytes(file.read())


def _outside_errors(where: str) -> tuple[type[Exception], ...]:
    local = (OSError, EOFError, zlib.error, zipfile.BadZipFile, lzma.LZMAError)
    if not where.startswith(REMOTE):
        return local
    from botocore.exceptions import BotoCoreError, ClientError

    return (*local, BotoCoreError, ClientError)


def _near(where: str) -> str:
    """The names beside a missing local file that look like it."""
    path = Path(where)
    if where.startswith(REMOTE) or not path.parent.is_dir():
        return ""
    names = [entry.name for entry in path.parent.iterdir()]
    near = difflib.get_close_matches(path.name, names, n=3)
    return f"; beside it: {', '.join(near)}" if near else ""
