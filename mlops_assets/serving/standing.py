"""What an endpoint says of itself in `state.json`. Standard library only.

A full disk does not end it: what could not be written is written once there is room.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mlops_assets.serving import endpoint
from mlops_assets.serving.crew import Crew
from mlops_assets.serving.endpoint import Desired

log = logging.getLogger("supervisor")


class Standing:
    """The state of one endpoint, in memory and on disk."""

    def __init__(self, folder: Path, *, now: Callable[[], datetime]) -> None:
        self.state = endpoint.starting(folder, pid=os.getpid())
        self.unsaved = False
        """The disk does not yet say what `state` says."""
        self._folder = folder
        self._now = now
        self._served: Desired | None = None

    def change(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        self.save()

    def live(self, crew: Crew) -> None:
        """The crew has the traffic."""
        desired, before = crew.desired, self.state
        changed = desired.version != before.version or desired.bundle_digest != before.bundle_digest
        moved = {
            "since": self._now().isoformat(timespec="seconds"),
            "previous_version": before.version,
            "previous_digest": before.bundle_digest,
        }
        self._served = desired
        answered = max(before.generation, desired.generation)
        self.change(
            state="live",
            worker_pids=crew.pids,
            version=desired.version,
            bundle_digest=desired.bundle_digest,
            generation=answered,
            serving_generation=desired.generation,
            fingerprint=desired.fingerprint(),
            detail=before.detail if answered > desired.generation else "",
            **(moved if changed else {}),
        )

    def save(self) -> None:
        try:
            if self._served is not None:
                endpoint.write(self._folder / endpoint.SERVING, self._served)
            endpoint.write(self._folder / endpoint.STATE, self.state)
        except OSError as error:
            if not self.unsaved:
                log.error("the state cannot be written, and will be: %s", error)  # noqa: TRY400
            self.unsaved = True
        else:
            self.unsaved = False

    def fallback(self) -> Desired | None:
        """The last request that was fulfilled, also by a supervisor before this one."""
        return self._served or endpoint.read_serving(self._folder)

    def asked(self) -> int:
        """The request to answer, where it could not be served."""
        try:
            return endpoint.read_desired(self._folder / endpoint.DESIRED).generation
        except ValueError:
            return self.state.generation
