"""`mlops schema`: the JSON schema that gives editors completion in `configs/*.yaml`."""

from pathlib import Path

import click


@click.command()
@click.option("--write", is_flag=True, help="Write it to <configs>/schema.json.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file."
)
def schema(*, write: bool, output: Path | None) -> None:
    """Print the JSON schema of an experiment's YAML."""
    from mlops_assets import settings
    from mlops_assets.experiment import loader

    if not write and output is None:
        click.echo(loader.schema_text(), nl=False)
        return
    path = output or settings.load().configs / loader.SCHEMA_FILE
    loader.write_schema(path)
    click.echo(f"Wrote {loader.display(path)}")
