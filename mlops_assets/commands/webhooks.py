"""`mlops webhooks`: takes MLflow's webhooks, so that the registry sensor looks sooner."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import dagster as dg  # noqa: TID251

    from mlops_assets.settings import Settings

VARIABLE = "MLOPS_WEBHOOK_SECRET"


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=3100, show_default=True, type=click.IntRange(0, 65535))
@click.option("--register", "url", help="Tell the MLflow server to send them to this URL, and end.")
def webhooks(*, host: str, port: int, url: str | None) -> None:
    """Take the webhooks of an MLflow server until Ctrl-C: the sensor `registry_changed` then looks
    within 5 seconds instead of 15.

    Both sides know the secret in MLOPS_WEBHOOK_SECRET, and so must Dagster's code server. A webhook
    that is lost costs nothing but these seconds.
    """
    from mlops_assets import settings

    current = settings.load()
    if not current.webhook_secret:
        raise click.ClickException(
            f"{VARIABLE} is not set: give it a long random text, here and where Dagster runs, for "
            'instance of python -c "import secrets; print(secrets.token_urlsafe())"'
        )
    if url is not None:
        _register(current, url)
        return
    _serve(current, host, port)


def _register(settings: "Settings", url: str) -> None:
    from mlops_assets.gateways import webhooks as gateway
    from mlops_assets.gateways.model_registry import ModelRegistry, RegistryError
    from mlops_assets.gateways.tracking_uri import shown

    registry = ModelRegistry(settings.tracking_uri, settings.artifacts_url, settings.mlflow_url)
    try:
        new = gateway.register(registry, url, settings.webhook_secret)
    except RegistryError as error:
        raise click.ClickException(str(error)) from error
    click.echo(
        f"{shown(settings.tracking_uri)} sends {', '.join(gateway.EVENTS)} to {url}"
        f"{'' if new else ' (it was registered before, and is now as said)'}"
    )


def _serve(settings: "Settings", host: str, port: int) -> None:
    import signal

    from mlops_assets.commands.instance import open_instance
    from mlops_assets.commands.receiver import Receiver

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with open_instance(settings) as instance:
        try:
            receiver = Receiver(
                (host, port), settings.webhook_secret, lambda mark: leave(instance, mark),
                tell=click.echo,
            )  # fmt: skip
        except OSError as error:
            raise click.ClickException(f"cannot listen on {host}:{port}: {error}") from error
        with receiver:
            click.echo(f"Webhooks of MLflow are taken at http://{host}:{receiver.server_port}/")
            try:
                receiver.serve_forever()
            except KeyboardInterrupt:
                click.echo("Stopped; the registry is looked at every 15 seconds.")


def leave(instance: "dg.DagsterInstance", mark: str) -> None:
    """Wake the registry sensor: the mark stands in Dagster's own storage, for every host."""
    from mlops_assets.registry import waking

    instance.daemon_cursor_storage.set_cursor_values({waking.KEY: mark})
