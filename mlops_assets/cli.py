"""The `mlops` command: a table of contents. Each command is one module of `mlops_assets.commands`,
which imports nothing heavy before it runs, so that help and completion answer at once."""

import click

from mlops_assets.commands.check import check
from mlops_assets.commands.completion import completion
from mlops_assets.commands.history import history
from mlops_assets.commands.impact import impact
from mlops_assets.commands.init import init
from mlops_assets.commands.metrics import metrics
from mlops_assets.commands.mute import mute, unmute
from mlops_assets.commands.plan import plan
from mlops_assets.commands.predict import predict
from mlops_assets.commands.promote import promote
from mlops_assets.commands.report import report
from mlops_assets.commands.reproduce import reproduce
from mlops_assets.commands.retention import retention
from mlops_assets.commands.rollback import rollback
from mlops_assets.commands.run import run
from mlops_assets.commands.schema import schema
from mlops_assets.commands.serve import serve
from mlops_assets.commands.status import status
from mlops_assets.commands.stop import stop
from mlops_assets.commands.tickets import tickets
from mlops_assets.commands.webhooks import webhooks
from mlops_assets.settings import SettingsError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mlops-assets", prog_name="mlops")
def cli() -> None:
    """One YAML, one lineage graph, one live endpoint.

    Complete commands in your shell: mlops completion --help
    """


_COMMANDS = (
    init, check, plan, run, predict, serve, status, report, tickets, mute, unmute, history, impact,
    promote, rollback, reproduce, retention, stop, webhooks, metrics, schema, completion,
)  # fmt: skip
for _command in _COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """Entry point: errors are one message and exit code 1, wrong usage is exit code 2."""
    try:
        cli(prog_name="mlops")
    except SettingsError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(1) from None
