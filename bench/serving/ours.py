"""Our own endpoint as a contender: the only file here that knows how it is started and stored."""

import sys
from datetime import UTC, datetime
from time import sleep

from mlops_assets.deployment.supervision import SUPERVISOR
from mlops_assets.deployment.targets.base import Release, TargetContext
from mlops_assets.deployment.targets.local import Local
from mlops_assets.monitoring import profiles
from mlops_assets.serving import bundle, endpoint
from mlops_assets.serving.endpoint import Desired
from mlops_assets.serving.recording import Recording

WINDOW_SECONDS = 86_400


def recorded(seat):
    """The supervisor, on a request as the local target renders it."""
    return _supervisor(seat, _rendered(seat))


def unrecorded(seat):
    """The same, and nothing is kept of the traffic."""
    return _supervisor(seat, {**_rendered(seat), "recording": None})


def profiled_rows(seat):
    """How many rows are in the profiles that the endpoint left."""
    files = sorted(_profiles(seat).rglob("*.bin"))
    found = [profiles.deserialize(path.read_bytes()) for path in files]
    return profiles.rows(profiles.merge(found)) if found else 0


def _rendered(seat):
    context = TargetContext(
        state=seat.folder,
        environment={},
        variables={},
        now=lambda: datetime.now(UTC),
        sleep=sleep,
    )
    release = Release(
        experiment="bench",
        version=1,
        bundle_digest=bundle.digest(seat.trained.bundle),
        archive_url="",
        recording=Recording(str(_profiles(seat)), WINDOW_SECONDS),
    )
    manifest = Local(kind="local", port=seat.port).render(release, context)
    return {**manifest, "bundle": str(seat.trained.bundle)}


def _supervisor(seat, manifest):
    desired = Desired.from_json({**manifest, "generation": 1})
    endpoint.write(seat.folder / endpoint.DESIRED, desired)
    return [sys.executable, "-P", "-m", SUPERVISOR, seat.folder]


def _profiles(seat):
    return seat.folder / "profiles"
