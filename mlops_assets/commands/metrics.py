"""`mlops metrics`: what Prometheus asks of the platform, and where it finds endpoints."""

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from mlops_assets.experiment.model import Experiment
    from mlops_assets.monitoring.exporter.facts import Facts
    from mlops_assets.monitoring.exporter.resources import Platform
    from mlops_assets.settings import Settings

MOST_SERIES = 20_000


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=3200, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--most-series", default=MOST_SERIES, show_default=True, type=click.IntRange(min=1),
    help="Beyond these, whole experiments are left out, the last by name first.",
)  # fmt: skip
def metrics(*, host: str, port: int, most_series: int) -> None:
    """Tell Prometheus of the platform until Ctrl-C or SIGTERM: `/metrics` has checks, freshness,
    versions live, deployments, retrainings and tickets of every experiment, `/sd` the endpoints of
    this machine for its `http_sd_configs`.

    Reads Dagster's storage, at most every 5 seconds; needs neither its daemon nor MLflow.
    """
    import signal
    import warnings

    from mlops_assets import settings
    from mlops_assets.commands.exporter import Exporter, LookError, Watch

    warnings.simplefilter("ignore")
    project = Project(settings.load())
    try:
        project.load()  # so that the first who asks need not wait for it
    except LookError as error:
        click.echo(str(error), err=True)
    watch = Watch(project.look, most=most_series, tell=lambda line: click.echo(line, err=True))
    try:
        exporter = Exporter((host, port), watch, project.discover)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error}") from error
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with exporter:
        click.echo(f"Metrics of the platform are at http://{host}:{exporter.server_port}/metrics")
        try:
            exporter.serve_forever()
        except KeyboardInterrupt:
            click.echo("Stopped.")


class Project:
    """The experiments of the YAMLs, read again when a file changed, and what is known of them."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._stamp: Any = None
        self._experiments: tuple[Experiment, ...] = ()
        self._platform: Platform | None = None

    def look(self) -> "Facts":
        """Everything that is told.

        Raises:
            LookError: a YAML is wrong, or Dagster's storage does not answer.
        """
        from mlops_assets.commands.exporter import LookError
        from mlops_assets.commands.instance import existing_instance
        from mlops_assets.monitoring.exporter.facts import Facts

        platform = self.load()
        try:
            instance = existing_instance(self._settings)
            if instance is None:
                return Facts(tuple(each.name for each in self._experiments))
            with instance:
                return platform.look(instance, time.time())
        except Exception as error:
            # Whatever a broken database raises, whoever asks gets an answer.
            root = error.__cause__ or error
            words = str(root).strip().partition("\n")[0]
            raise LookError("storage", words or type(root).__name__) from error

    def discover(self) -> list[dict[str, Any]]:
        """The endpoints of the target `local` that should answer, on this machine, as groups of
        Prometheus's HTTP service discovery. The version is no label of theirs: it would be a step
        late after each deployment, and `mlops_model_info` tells it.

        Raises:
            LookError: there is no YAML that can be read.
        """
        from mlops_assets import resources
        from mlops_assets.deployment.targets.base import TargetError
        from mlops_assets.deployment.targets.local import Local

        self.load()
        context, groups = resources.target_context(self._settings), []
        for each in self._experiments:
            for target in each.deployment.targets:
                try:
                    seen = target.observe(each.name, context) if isinstance(target, Local) else None
                except (TargetError, ValueError):
                    seen = None  # a state nobody can read is found by `serves_the_champion`
                if seen is None or seen.state == "stopped" or not seen.url:
                    continue
                labels = {
                    "experiment": each.name,
                    "target": seen.target,
                    "__meta_mlops_version": str(seen.version),
                }
                groups.append({"targets": [urlsplit(seen.url).netloc], "labels": labels})
        return groups

    def load(self) -> "Platform":
        """What reads the storage for the experiments as their YAMLs are now.

        Raises:
            LookError: one of them is wrong.
        """
        from mlops_assets.commands.exporter import LookError
        from mlops_assets.experiment import loader
        from mlops_assets.graph import build_experiment
        from mlops_assets.monitoring.exporter.resources import Platform

        with self._lock:
            stamp = _stamp(self._settings.configs)
            if self._platform is None or stamp != self._stamp:
                try:
                    experiments = loader.load_all(self._settings.configs)
                except loader.ExperimentError as error:
                    raise LookError("experiments", error.problems[0]) from error
                built = {each.name: build_experiment(each) for each in experiments}
                made = {
                    name: [*(part.assets or ()), *(part.asset_checks or ())]
                    for name, part in built.items()
                }
                self._platform = Platform(made)
                self._experiments, self._stamp = experiments, stamp
            return self._platform


def _stamp(configs: Path) -> Any:
    """Changes when a YAML does."""
    files = sorted([*configs.glob("*.yaml"), *configs.glob("*.yml")])
    return [(str(each), each.stat().st_mtime_ns, each.stat().st_size) for each in files]
