"""`mlops init`: a working YAML from a table. Reads the data once, and writes one file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pandas as pd

KINDS = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet"}
TASKS = ("binary_classification", "multiclass_classification", "regression")


@click.command()
@click.argument("data", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--target", required=True, help="Column to predict.")
@click.option("--name", help="Name of the experiment. [default: from the file]")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The YAML to write. [default: <configs>/<data>.yaml]",
)
@click.option("--task", type=click.Choice(TASKS), help="[default: guessed from the target]")
@click.option("--positive", help="Binary: the label to predict. [default: guessed]")
@click.option("--force", is_flag=True, help="Overwrite the YAML if it is there.")
def init(
    data: Path,
    *,
    target: str,
    name: str | None,
    output: Path | None,
    task: Any,
    positive: str | None,
    force: bool,
) -> None:
    """Write a working YAML for the CSV or Parquet file DATA."""
    from mlops_assets import settings
    from mlops_assets.experiment import loader, scaffold
    from mlops_assets.experiment.survey import survey
    from mlops_assets.features.sources.base import SourceError
    from mlops_assets.features.table import FeatureError

    slug = name or scaffold.slug(data.name.split(".")[0])
    path = output or settings.load().configs / f"{slug.replace('_', '-')}.yaml"
    if path.exists() and not force:
        raise click.ClickException(
            f"{loader.display(path)} is there already; --force overwrites it"
        )
    source = _source(data, path)
    schema_file = path.parent / loader.SCHEMA_FILE
    try:
        frame = _read(source, path.parent)
        found = survey(frame, source, target=target, task=task, positive=positive)
        header = scaffold.Header(
            name=slug,
            source=source,
            data=data.name,
            schema_file=schema_file.name if schema_file.exists() else None,
        )
        text = scaffold.render(header, found)
        loader.load_text(text, path)
        loader.write_text(path, text)
    except (SourceError, FeatureError, loader.ExperimentError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Wrote {loader.display(path)}: {found.task} of {target!r} from {len(frame)} rows.")
    for note in found.schema.notes:
        click.echo(f"  {note}")
    for column, why in found.excluded.items():
        click.echo(f"  left out {column}: {why}")
    click.echo(f"Next: mlops check{'' if output is None else f' {loader.display(path)}'}")


def _source(data: Path, path: Path) -> dict[str, Any]:
    """The `features.source` section; the path of the data is relative to the YAML's folder."""
    import os

    name = data.name.lower()
    for packed in (".gz", ".bz2", ".xz", ".zip"):
        name = name.removesuffix(packed)
    kind = KINDS.get(Path(name).suffix)
    if kind is None:
        raise click.ClickException(
            f"{data}: its type cannot be told by its name; allowed: {', '.join(KINDS)}"
        )
    relative = os.path.relpath(data.absolute(), path.absolute().parent)
    section = {"kind": kind, "path": Path(relative).as_posix()}
    if kind == "csv" and name == data.name.lower() and (separator := _separator(data)) != ",":
        section["separator"] = separator
    return section


def _separator(data: Path) -> str:
    """The likeliest separator of a text file: the one that stands most often in its header."""
    with data.open("rb") as file:
        header = file.readline(1_000_000)
    return max(",;\t|", key=lambda mark: header.count(mark.encode()))


def _read(source: dict[str, Any], directory: Path) -> "pd.DataFrame":
    from pydantic import TypeAdapter

    from mlops_assets import settings
    from mlops_assets.features.sources.base import SourceContext
    from mlops_assets.features.spec import AnySource

    current = settings.load()
    context = SourceContext(
        directory=directory.absolute(),
        cache=current.home / "cache",
        storage_options=current.storage_options,
    )
    reader: Any = TypeAdapter(AnySource).validate_python(source)
    frame: pd.DataFrame = reader.read(context)
    return frame
