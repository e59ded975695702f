"""Registered versions as bundles on local disk, proven to be what was registered."""

import gzip
import io
import shutil
import tarfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.decisions import Decision
from mlops_assets.gateways.model_registry import ModelRegistry, RegistryError
from mlops_assets.serving import bundle
from mlops_assets.serving.bundle import BundleError


@dataclass(frozen=True)
class Fetched:
    """A verified bundle of a version."""

    version: int
    folder: Path
    digest: str


def fetch(registry: ModelRegistry, model: str, version: int, folder: Path) -> Fetched:
    """Copy the bundle of a registered version into `folder`.

    Raises:
        RegistryError: MLflow does not have it, or it was refused.
        BundleError: it is not the one that was registered.
    """
    tags = registry.version(model, version).tags
    if "mlops.bundle_uri" not in tags:
        raise RegistryError(
            f"version {version} of {model} has no serving bundle: it was not registered by an "
            "experiment of ours"
        )
    decision = Decision.of(tags)
    if decision is not None and decision.outcome == "refused":
        raise RegistryError(f"version {version} of {model} was refused: {decision.reason}")
    path = registry.download(tags["mlops.bundle_uri"], folder)
    bundle.verify(path)
    if (found := bundle.digest(path)) != tags["mlops.bundle_digest"]:
        raise BundleError(
            f"the bundle of version {version} has digest {found[:12]}, registered was "
            f"{tags['mlops.bundle_digest'][:12]}: its artifacts were changed"
        )
    return Fetched(version, path, found)


def archive(store: DataStore, found: Fetched) -> str:
    """Put the bundle on the data store as one `.tar.gz`, unless it is there; return its URL.

    Equal bundles are equal bytes: the name is the digest, and nothing of this machine is in it.
    """
    path = f"bundles/{found.digest}.tar.gz"
    if store.exists(path):
        return store.at(path)
    content = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=content, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for file in sorted(found.folder.iterdir()):
            entry = tarfile.TarInfo(file.name)
            entry.size, entry.mode = file.stat().st_size, 0o644
            with file.open("rb") as opened:
                tar.addfile(entry, opened)
    return store.write_bytes(path, content.getvalue())


def keep(source: Path, digest: str, folder: Path) -> None:
    """Give the endpoint its own verified copy of the bundle, which nothing else removes."""
    stored = folder / "bundles" / digest
    if intact(stored, digest):
        return
    if stored.exists():
        # Damaged since: whatever serves it has it in memory.
        stored.rename(stored.with_name(f".{digest}.{uuid.uuid4().hex}"))
    stored.parent.mkdir(exist_ok=True)
    temporary = stored.with_name(f".{digest}.{uuid.uuid4().hex}")
    try:
        bundle.verify(source)
        shutil.copytree(source, temporary)
        _verify(temporary, digest)
        temporary.rename(stored)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def intact(folder: Path, digest: str) -> bool:
    """Whether there is a bundle with that digest, every file as it was."""
    try:
        _verify(folder, digest)
    except BundleError:
        return False
    return True


def _verify(folder: Path, digest: str) -> None:
    bundle.verify(folder)
    if bundle.digest(folder) != digest:
        raise BundleError(f"{folder} has another digest than the registered version ({digest})")


def drop(folder: Path, *, keep: set[str]) -> None:
    """Remove an endpoint's copies of all bundles but those with these digests."""
    for path in (folder / "bundles").glob("*"):
        if path.name not in keep:
            shutil.rmtree(path, ignore_errors=True)
