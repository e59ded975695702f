"""The live endpoints of an experiment, as their targets observe them, and who asks one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from mlops_assets.deployment.targets.base import Target
    from mlops_assets.experiment.model import Experiment
    from mlops_assets.gateways.records import Endpoint
    from mlops_assets.serving.bundle import Golden
    from mlops_assets.serving.client import Client

TIMEOUT = 60.0


@dataclass(frozen=True)
class Observed:
    """What one target says of the experiment's endpoint."""

    kind: str
    endpoint: "Endpoint | None"
    """None when it was never deployed there, or when that cannot be found out."""
    error: str
    """Why it cannot be found out; empty when it could."""


def observe(settings: Settings, experiment: "Experiment") -> tuple[Observed, ...]:
    """Every target of the experiment, asked now."""
    from mlops_assets import resources
    from mlops_assets.deployment.targets.base import TargetError
    from mlops_assets.experiment.spec import kind_of

    context, found = resources.target_context(settings), []
    for target in experiment.deployment.targets:
        kind = kind_of(type(target))
        try:
            found.append(Observed(kind, target.observe(experiment.name, context), ""))
        except TargetError as error:
            found.append(Observed(kind, None, str(error)))
    return tuple(found)


def live_endpoint(
    settings: Settings, experiment: "Experiment", kind: str | None = None
) -> "Endpoint":
    """The endpoint that answers requests; with several, the first, or that of the target `kind`.

    Raises:
        ClickException: none does, with what each target says.
    """
    seen = [one for one in observe(settings, experiment) if kind in (None, one.kind)]
    if not seen:
        kinds = ", ".join(one.kind for one in observe(settings, experiment))
        raise click.ClickException(f"{experiment.name} has no target {kind!r}; it has {kinds}")
    for one in seen:
        if one.endpoint is not None and one.endpoint.state == "live":
            return one.endpoint
    said = "; ".join(f"{one.kind}: {state_in_words(one)}" for one in seen)
    raise click.ClickException(
        f"{experiment.name} is not served ({said}). `mlops run {experiment.name}` trains and "
        f"deploys; with --deploy-only it deploys the champion as it is"
    )


def state_in_words(seen: Observed) -> str:
    if seen.endpoint is None:
        return seen.error or "never deployed"
    detail = f", {seen.endpoint.detail}" if seen.endpoint.detail else ""
    return f"{seen.endpoint.state}{detail}"


def target_of(experiment: "Experiment", endpoint: "Endpoint") -> "Target":
    """The target that keeps the endpoint."""
    from mlops_assets.experiment.spec import kind_of

    targets = experiment.deployment.targets
    return next(one for one in targets if kind_of(type(one)) == endpoint.target)


def client(settings: Settings, experiment: "Experiment", endpoint: "Endpoint") -> "Client":
    """Who asks the endpoint, with the key it wants.

    Raises:
        ClickException: the environment holds no key.
    """
    from mlops_assets import resources
    from mlops_assets.deployment.targets.base import TargetError
    from mlops_assets.serving.client import Client

    try:
        key = target_of(experiment, endpoint).key(resources.target_context(settings))
    except TargetError as error:
        raise click.ClickException(str(error)) from error
    return Client(endpoint.url, key, timeout=TIMEOUT)


def golden(settings: Settings, experiment: "Experiment", endpoint: "Endpoint") -> "Golden":
    """The golden requests of the version an endpoint serves.

    Raises:
        ClickException: MLflow or the bundle cannot be reached.
    """
    import os
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from mlops_assets.gateways.model_registry import ModelRegistry, RegistryError
    from mlops_assets.serving import bundle

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    registry = ModelRegistry(settings.tracking_uri, settings.artifacts_url, settings.mlflow_url)
    with TemporaryDirectory() as folder:
        try:
            uri = registry.version(experiment.model_name, endpoint.version).tags["mlops.bundle_uri"]
            path = registry.download(uri, Path(folder))
            bundle.verify(path)
            return bundle.read_golden(path)
        except (RegistryError, bundle.BundleError, KeyError) as error:
            raise click.ClickException(
                f"the golden requests of version {endpoint.version} cannot be fetched ({error}); "
                "ask with --input FILE or --json-record '{...}'"
            ) from error
