"""A bundle on its way to an endpoint: from a folder or an archive, wherever fsspec reaches.

A program of its own, so that the supervisor does not keep a store's client in memory. What has not
the digest that was asked for is not left behind.
"""

import json
import logging
import shutil
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mlops_assets.serving import bundle
from mlops_assets.serving.bundle import MANIFEST, BundleError

ARCHIVES = (".tar.gz", ".tgz", ".tar")
_S3_LIMITS = {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 3}}


def is_folder_here(url: str) -> bool:
    """Whether the bundle can be served from where it lies."""
    return "://" not in url and not url.endswith(ARCHIVES)


def fetch(url: str, *, digest: str | None, into: Path) -> None:
    """Make `into` a verified copy of the bundle at `url`.

    A copy of an earlier time is kept, if it is known what it must be.

    Args:
        url: path or fsspec URL of a folder, or of an archive with a name in `ARCHIVES`.
        digest: what the bundle must have; None for any.
        into: folder, which is replaced as a whole.

    Raises:
        BundleError: there is no such bundle, or it is another one.
    """
    if digest is not None and into.is_dir():
        try:
            check(into, digest)
        except BundleError:
            pass
        else:
            return
    partial = into.with_name(f".{into.name}")
    for path in (partial, into):
        shutil.rmtree(path, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _copy(url, digest, partial)
        check(partial, digest)
        partial.rename(into)
    except BundleError as error:
        raise BundleError(f"{url}: {error}") from error
    except Exception as error:  # stores fail in as many ways as there are stores
        raise BundleError(f"{url} cannot be fetched: {error!r}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check(folder: Path, digest: str | None) -> bundle.Manifest:
    """The manifest of the bundle in `folder`, if it is intact and the one asked for.

    Raises:
        BundleError: with the reason.
    """
    manifest = bundle.verify(folder)
    _compare(bundle.digest(folder), digest)
    return manifest


def _compare(found: str, digest: str | None) -> None:
    if digest not in (None, found):
        raise BundleError(f"the bundle has digest {found}, {digest} was to be served")


def _copy(url: str, digest: str | None, into: Path) -> None:
    if url.endswith(ARCHIVES):
        with _opened(url) as stream, tarfile.open(fileobj=stream, mode="r|*") as archive:
            _unpack(archive, into)
        return
    store, root = _store(url)
    root = root.rstrip("/")
    store.get_file(f"{root}/{MANIFEST}", str(into / MANIFEST))
    # Before the rest comes over the network.
    _compare(bundle.digest(into), digest)
    for name in json.loads((into / MANIFEST).read_text(encoding="utf-8"))["files"]:
        store.get_file(f"{root}/{_flat(name)}", str(into / name))


def _unpack(archive: tarfile.TarFile, into: Path) -> None:
    """A bundle is flat: files at the top of the archive or in its one folder, and nothing else."""
    folders = set()
    for member in archive:
        if member.isdir():
            continue
        *above, name = member.name.removeprefix("./").split("/")
        folders.add("/".join(above))
        content = archive.extractfile(member) if member.isreg() else None
        if content is None or len(above) > 1 or len(folders) > 1:
            raise BundleError(f"{member.name!r} has no place in the archive of a bundle")
        with (into / _flat(name)).open("xb") as file:
            shutil.copyfileobj(content, file)


def _flat(name: str) -> str:
    if "/" in name or name in ("", ".", ".."):
        raise BundleError(f"{name!r} is no name of a bundle's file")
    return name


@contextmanager
def _opened(url: str) -> Iterator[IO[bytes]]:
    if "://" not in url:
        with Path(url).open("rb") as file:
            yield file
        return
    store, path = _store(url)
    with store.open(path, "rb") as file:
        yield file


def _store(url: str) -> tuple[Any, str]:
    import fsspec

    options = {"config_kwargs": _S3_LIMITS} if url.startswith("s3://") else {}
    found: tuple[Any, str] = fsspec.core.url_to_fs(url, **options)
    return found


def main(arguments: list[str]) -> int:
    url, digest, into = arguments
    logging.basicConfig(level=logging.WARNING)
    try:
        fetch(url, digest=digest or None, into=Path(into))
    except BundleError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
