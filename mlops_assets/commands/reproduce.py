"""`mlops reproduce`: builds a version anew from what was recorded of it, and compares."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mlops_assets.commands.console import shown, table

if TYPE_CHECKING:
    from mlops_assets.commands.console import Console
    from mlops_assets.commands.reproduction import Agreement, Reproduction
    from mlops_assets.experiment.model import Experiment
    from mlops_assets.settings import Settings


@click.command()
@click.argument("experiment")
@click.argument("version", type=click.IntRange(min=1))
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=1e-6,
    show_default=True,
    help="Largest difference of a probability (of a value, relative to it) that counts as equal.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def reproduce(experiment: str, version: int, *, tolerance: float, as_json: bool) -> None:
    """Build VERSION of EXPERIMENT anew, and say whether it predicts the same.

    From the recorded snapshot, YAML, parameters and seed; nothing is tuned, registered, deployed or
    logged. Exit code 0 when predictions are equal, exactly or within the tolerance; else 1.
    """
    from mlops_assets import settings
    from mlops_assets.commands import console as consoles
    from mlops_assets.commands.choice import choose

    current = settings.load()
    chosen = choose(current, experiment)
    log = current.home / "logs" / f"reproduce-{chosen.name}.log"
    with consoles.opened(to_stderr=as_json, log=log) as console:
        console.line(f"{chosen.name}: building version {version} anew")
        found = _reproduced(current, chosen, version, tolerance, console)
    click.echo(json.dumps(asdict(found), indent=2) if as_json else render(found))
    if found.verdict == "differs":
        raise SystemExit(1)


def _reproduced(
    settings: "Settings",
    experiment: "Experiment",
    version: int,
    tolerance: float,
    console: "Console",
) -> "Reproduction":
    """Raises:
    ClickException: it cannot be built anew, with what is missing or changed.
    """
    import warnings

    from mlops_assets.commands import reproduction
    from mlops_assets.commands.rebuild import ReproductionError
    from mlops_assets.commands.status import existing_registry
    from mlops_assets.features.sources.base import SourceError
    from mlops_assets.gateways.data_store import DataStoreError
    from mlops_assets.gateways.model_registry import RegistryError
    from mlops_assets.serving.bundle import BundleError

    warnings.simplefilter("ignore")
    registry, trouble = existing_registry(settings)
    if registry is None:
        raise click.ClickException(trouble or f"{experiment.name}: nothing was ever registered")
    try:
        return reproduction.reproduce(
            settings, experiment, version, tolerance=tolerance, tell=console.field
        )
    except (ReproductionError, RegistryError, DataStoreError, SourceError, BundleError) as error:
        raise click.ClickException(f"{experiment.name} version {version}: {error}") from error


def render(found: "Reproduction") -> str:
    """The outcome as text."""
    verdicts = {
        "exact": "predicts exactly the same",
        "within tolerance": f"predicts the same within {found.tolerance:g}",
        "differs": "predicts otherwise",
    }
    then, now = found.threshold
    rows = [
        ("verdict", f"version {found.version} built anew {verdicts[found.verdict]}"),
        ("data", found.data),
        ("held-out", _agreement(found.test)),
        ("golden", _agreement(found.golden)),
        ("model", "the same file" if found.model_is_identical else "another file"),
    ]
    if then != now:
        rows.append(("threshold", f"{shown(now)}, registered is {shown(then)}"))
    if found.differences:
        rows += [
            ("differs", f"{one.what}: {one.recorded or 'not recorded'}, now {one.now}")
            for one in found.differences
        ]
    else:
        rows.append(("differs", "nothing of YAML, parameters, code and environment"))
    return table(rows, indent="  ")


def _agreement(found: "Agreement") -> str:
    return (
        f"{found.rows:,} rows, largest difference {found.max_difference:.3g}, "
        f"{found.label_flips} other labels"
    )
