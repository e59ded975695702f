"""`mlops completion`: the script that lets a shell complete commands, options and files."""

import click
from click.shell_completion import get_completion_class

VARIABLE = "_MLOPS_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash:  eval "$(mlops completion bash)"     in ~/.bashrc
    zsh:   eval "$(mlops completion zsh)"      in ~/.zshrc
    fish:  mlops completion fish | source      in ~/.config/fish/config.fish
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.ClickException(f"this version of click cannot complete in {shell}")
    click.echo(found(context.find_root().command, {}, "mlops", VARIABLE).source())
