"""Registered versions as bundles on local disk, proven to be what was registered."""

from dataclasses import dataclass
from pathlib import Path

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
        RegistryError: MLflow does not have it.
        BundleError: it is not the one that was registered.
    """
    tags = registry.version(model, version).tags
    if "mlops.bundle_uri" not in tags:
        raise RegistryError(
            f"version {version} of {model} has no serving bundle: it was not registered by an "
            "experiment of ours"
        )
    path = registry.download(tags["mlops.bundle_uri"], folder)
    bundle.verify(path)
    if (found := bundle.digest(path)) != tags["mlops.bundle_digest"]:
        raise BundleError(
            f"the bundle of version {version} has digest {found[:12]}, registered was "
            f"{tags['mlops.bundle_digest'][:12]}: its artifacts were changed"
        )
    return Fetched(version, path, found)
