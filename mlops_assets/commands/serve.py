"""`mlops serve`: an endpoint by hand, in the foreground, until Ctrl-C."""

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mlops_assets.gateways.model_registry import ModelRegistry
    from mlops_assets.settings import Settings

PROGRAM = "mlops_assets.serving.serve"


@click.command(context_settings={"show_default": True})
@click.argument("model")
@click.option("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, help="0 takes any free one.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, help="Processes that answer.")
@click.option("--key-env", metavar="NAME", help="Variable with the keys callers need, by commas.")
@click.option("--profiles-url", metavar="URL", help="Folder or URL for profiles of the traffic.")
@click.option("--window-seconds", type=click.IntRange(1), default=3600, help="Of a profile.")
@click.option("--max-rows", type=click.IntRange(1), default=10_000, help="In a request.")
@click.option("--max-body-mb", type=click.FloatRange(0, 1000), default=10.0, help="Of a request.")
@click.option("--max-in-flight", type=click.IntRange(1), default=64, help="Requests per worker.")
def serve(model: str, **options: str | int | float | None) -> None:
    """Serve MODEL until Ctrl-C: a bundle's folder, or where MLflow has one.

    \b
    mlops serve path/to/bundle
    mlops serve models:/churn/3
    mlops serve models:/churn@champion
    mlops serve runs:/<run id>/<path of the bundle>

    A bundle that was changed is refused. Without an option nothing is recorded and no key is
    asked for.
    """
    from mlops_assets import settings

    folder, version = Path(model), 0
    if model.startswith(("models:/", "runs:/")):
        folder, version = _fetched(settings.load(), model)
    elif not folder.is_dir():
        raise click.ClickException(f"{model} is neither a folder nor a models:/ or runs:/ address")
    given = {name.replace("_", "-"): value for name, value in options.items() if value is not None}
    arguments = [f"--{name}={value}" for name, value in given.items()]
    sys.stdout.flush()
    # In place of this process, which may hold all of MLflow in memory.
    command = [sys.executable, "-P", "-m", PROGRAM, str(folder), f"--version={version}"]
    os.execv(sys.executable, [*command, *arguments])  # noqa: S606 no shell is involved


def _fetched(settings: "Settings", uri: str) -> tuple[Path, int]:
    """A copy of the bundle that stays, and the version it belongs to; 0 for none.

    Raises:
        ClickException: MLflow does not have it, or it is not what was registered.
    """
    from tempfile import TemporaryDirectory

    from mlops_assets.deployment import releases
    from mlops_assets.gateways.model_registry import ModelRegistry, RegistryError
    from mlops_assets.serving import bundle

    registry = ModelRegistry(settings.tracking_uri, settings.artifacts_url, settings.mlflow_url)
    kept = settings.home / "served"
    kept.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(dir=kept) as folder:
            if uri.startswith("runs:/"):
                path, version = registry.download(uri, Path(folder)), 0
                bundle.verify(path)
            else:
                name, version = _registered(registry, uri)
                path = releases.fetch(registry, name, version, Path(folder)).folder
            stored = kept / bundle.digest(path)
            # The copy of an earlier time may have been damaged since.
            shutil.rmtree(stored, ignore_errors=True)
            path.rename(stored)
    except (RegistryError, bundle.BundleError) as error:
        raise click.ClickException(f"{uri}: {error}") from error
    return stored, version


def _registered(registry: "ModelRegistry", uri: str) -> tuple[str, int]:
    """Name and version of `models:/name/version` or `models:/name@alias`."""
    address = uri.removeprefix("models:/").strip("/")
    name, mark, alias = address.partition("@")
    if mark:
        aliases = registry.aliases(name)
        if alias not in aliases:
            known = ", ".join(sorted(aliases)) or "none"
            raise click.ClickException(f"{name} has no alias {alias}; it has {known}")
        return name, aliases[alias]
    name, _, number = address.rpartition("/")
    if not name or not number.isdecimal():
        raise click.ClickException(f"{uri}: write models:/NAME/VERSION or models:/NAME@ALIAS")
    return name, int(number)
