"""Our own endpoint as a contender: the only file here that knows how it is started and stored."""

import sys
from datetime import UTC, datetime
from time import sleep

from mlops_assets.deployment.targets.base import Release, TargetContext
from mlops_assets.deployment.targets.local import SUPERVISOR, Local
from mlops_assets.serving import bundle, endpoint, profile
from mlops_assets.serving.app import PROBE_HEADER

UNRECORDED = f"{PROBE_HEADER}: bench\r\n"
"""A request with this header is answered like any other, and neither profiled nor counted."""
WINDOW_SECONDS = 86_400


def command(seat):
    """The supervisor, on a request as the local target renders it."""
    context = TargetContext(
        state=seat.folder,
        profiles_url=str(profiles(seat)),
        window_seconds=WINDOW_SECONDS,
        environment={},
        now=lambda: datetime.now(UTC),
        sleep=sleep,
    )
    release = Release("bench", 1, seat.trained.bundle, bundle.digest(seat.trained.bundle))
    manifest = Local(kind="local", port=seat.port).render(release, context)
    desired = endpoint.Desired(**manifest, generation=1)
    endpoint.write(seat.folder / endpoint.DESIRED, desired)
    return [sys.executable, "-P", "-m", SUPERVISOR, seat.folder]


def profiled_rows(seat):
    """How many rows are in the profiles that the endpoint left."""
    files = sorted(profiles(seat).rglob("*.bin"))
    views = [profile.deserialize(path.read_bytes()) for path in files]
    return profile.rows(profile.merge(views)) if views else 0


def profiles(seat):
    return seat.folder / "profiles"
