"""Profiles of what a batch was asked and answered, left where those of the endpoints are."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import PurePosixPath

from mlops_assets.gateways import profile_store
from mlops_assets.gateways.profile_store import ProfileStore
from mlops_assets.gateways.table_files import TableFile
from mlops_assets.serving.bundle import Manifest
from mlops_assets.serving.profile import Profile
from mlops_assets.serving.recording import window_start


@dataclass(frozen=True)
class Profiles:
    """Those of one batch and version: one per file, in the window in which its scoring began."""

    store: ProfileStore
    experiment: str
    batch: str
    version: int
    window_seconds: int
    now: Callable[[], datetime]
    """Aware."""

    def window(self) -> datetime:
        """Start of the one it is now."""
        return window_start(self.now().timestamp(), self.window_seconds)

    def begin(self, manifest: Manifest, window: datetime) -> Profile:
        """An empty one."""
        told = {"model": manifest.model, "version": str(self.version)}
        return Profile(manifest.schema, when=window, metadata=told)

    def keep(
        self, profile: Profile, window: datetime, *, file: TableFile, bundle_digest: str
    ) -> None:
        """Leave a file's profile, unless that was done before: a run may have ended between this
        and what says that the file is scored.

        Raises:
            DataStoreError: the store does not answer.
        """
        said = "\n".join((file.name, file.fingerprint, bundle_digest))
        name = hashlib.sha256(said.encode()).hexdigest()[:32]
        if profile.rows and name not in self._before:
            self.store.put(
                self.experiment,
                self.version,
                self._target,
                window=window,
                name=name,
                content=profile.serialize(),
            )

    @property
    def _target(self) -> str:
        return profile_store.batch(self.batch)

    @cached_property
    def _before(self) -> frozenset[str]:
        """Names of what earlier runs left, in whichever window."""
        left = self.store.increments(self.experiment, self.version, [self._target])
        return frozenset(PurePosixPath(one.url).stem for one in left)
