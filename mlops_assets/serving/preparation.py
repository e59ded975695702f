"""A verified, self-tested bundle becomes a service with its metrics and recorder, on any target."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.recording import Recording

if TYPE_CHECKING:
    from mlops_assets.serving.recorder import Recorder
    from mlops_assets.serving.service import Service


def prepare(
    bundle: Path,
    *,
    digest: str | None,
    version: str,
    keys: frozenset[str],
    recording: Recording | None,
    spool: Path,
    shared: Path | None = None,
    counts_at_once: bool = False,
    **limits: int,
) -> tuple["Service", "Recorder | None"]:
    """Load a bundle, and what stands between it and its callers; nothing is started yet.

    Args:
        bundle: folder of the bundle.
        digest: what the bundle must have; None for any.
        version: named in answers and profiles.
        keys: of which callers need one; empty asks for none.
        recording: what is kept of the traffic; None keeps nothing.
        spool: folder for what the store has not taken.
        shared: folder of the counters of all processes of the endpoint; None for a single one.
        counts_at_once: whether rows are in the metrics when they are answered, not only when they
            are recorded, which is cheaper.
        limits: those of `service.Limits` that differ from its own.

    Raises:
        BundleError: the bundle is not intact, not the one asked for, answers its golden requests
            differently, or lacks a column that is to be recorded.
    """
    from mlops_assets.serving.metrics import Metrics
    from mlops_assets.serving.recorder import Recorder
    from mlops_assets.serving.scorer import Scorer
    from mlops_assets.serving.service import Limits, Service

    scorer = Scorer.open(bundle)
    if digest not in (None, scorer.digest):
        raise BundleError(f"{bundle} has digest {scorer.digest}, {digest} was to be served")
    scorer.self_test()
    metrics = Metrics(scorer, version, directory=shared)
    recorder = None
    if recording is not None:
        try:
            recorder = Recorder(
                scorer.manifest,
                recording=recording,
                version=version,
                spool=spool,
                encoding=scorer.encoding,
                on_rows=None if counts_at_once else metrics.count,
            )
        except ValueError as error:
            raise BundleError(f"monitoring.prediction_log: {error}") from error
        metrics.watch(recorder)
    service = Service(
        scorer,
        version=version,
        limits=Limits(**limits),
        metrics=metrics,
        recorder=recorder,
        counts_at_once=counts_at_once,
        keys=keys,
    )
    return service, recorder


def keys(environment: Mapping[str, str], variable: str | None) -> frozenset[str]:
    """The keys callers may have, out of the variable that holds them; none when there is none.

    Raises:
        BundleError: keys are asked for, and there is none: nothing is served open by mistake.
    """
    if variable is None:
        return frozenset()
    parts = (part.strip() for part in environment.get(variable, "").split(","))
    found = frozenset(part for part in parts if part)
    if not found:
        raise BundleError(f"the environment variable {variable} holds no key")
    return found
