"""Which endpoints were stopped by hand, and when: among the cursors of Dagster's instance, for
whoever has to know whether an endpoint that does not answer should."""

from collections.abc import Iterable
from datetime import datetime

from mlops_assets.gateways.cursors import Storage
from mlops_assets.gateways.records import Endpoint

KEY = "mlops/stopped/{}/{}"


def mark(storage: Storage, experiment: str, target: str, at: float) -> None:
    """Somebody stopped it at that time, in seconds since 1970."""
    storage.set_cursor_values({KEY.format(experiment, target): str(at)})


def read(storage: Storage, endpoints: Iterable[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """When each was stopped last, by experiment and target; without those that never were."""
    keys = {KEY.format(*each): each for each in endpoints}
    found = storage.get_cursor_values({*keys}) if keys else {}
    return {keys[key]: float(text) for key, text in found.items()}


def is_meant(storage: Storage, endpoint: Endpoint | None) -> bool:
    """Whether the endpoint is stopped because somebody stopped it since it was deployed: what was
    done to it behind our back is not meant."""
    return (
        endpoint is not None
        and endpoint.state == "stopped"
        and was_since(storage, endpoint.experiment, endpoint.target, endpoint.since)
    )


def was_since(storage: Storage, experiment: str, target: str, since: str) -> bool:
    """Whether somebody stopped it after this time, ISO 8601."""
    at = read(storage, [(experiment, target)]).get((experiment, target))
    return at is not None and at > datetime.fromisoformat(since).timestamp()
