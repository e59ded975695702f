"""`mlops run`: one experiment from its data to the live endpoint, in this process."""

import gc
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from mlops_assets.commands import console as consoles
from mlops_assets.settings import Settings

if TYPE_CHECKING:
    import dagster as dg  # noqa: TID251

    from mlops_assets.commands.console import Console
    from mlops_assets.commands.jobs import JobResult
    from mlops_assets.experiment.model import Experiment

INTERRUPTED = 130


@click.command()
@click.argument("experiment", required=False)
@click.option("--trials", type=click.IntRange(1, 100_000), help="Instead of tuning.n_trials.")
@click.option("--no-deploy", is_flag=True, help="Stop at the registered version.")
@click.option("--deploy-only", is_flag=True, help="Train nothing; deploy the champion.")
@click.option("--verbose", is_flag=True, help="Show Dagster's log, and stack traces.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def run(
    experiment: str | None,
    *,
    trials: int | None,
    no_deploy: bool,
    deploy_only: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Run EXPERIMENT, a name or a YAML file: data, tuning, model, gates, registry, endpoint.

    Without a name it is the only one of the configs folder. Run again after an interruption, or
    with more trials: finished trials are kept.
    """
    from mlops_assets import settings
    from mlops_assets.commands.choice import check_estimator, choose

    if no_deploy and deploy_only:
        raise click.UsageError("--no-deploy and --deploy-only exclude each other")
    # Most objects of this process are libraries' and stay: looking through them for garbage at the
    # default pace takes a third of the time that importing them does.
    gc.set_threshold(100_000, 20, 100)
    current = settings.load()
    try:
        chosen = choose(current, experiment)
        check_estimator(chosen)
        log = None if verbose else current.home / "logs" / f"run-{chosen.name}.log"
        with _terminable(), consoles.opened(to_stderr=as_json, log=log) as console:
            outcome = Flow(current, chosen, console, verbose=verbose).run(
                train=not deploy_only, deploy=not no_deploy, trials=trials, reason="mlops run"
            )
    except KeyboardInterrupt:
        click.echo("Interrupted before anything was started.", err=True)
        raise SystemExit(INTERRUPTED) from None
    except OSError as error:
        raise click.ClickException(str(error)) from error
    gc.freeze()  # nor is there garbage worth finding at the end
    finish(outcome, as_json=as_json)


def finish(outcome: dict[str, Any], *, as_json: bool) -> None:
    """Print what a flow came to, and end with its exit code."""
    if as_json:
        click.echo(json.dumps(outcome, indent=2))
    if outcome["error"]:
        click.echo(f"Error: {outcome['error']}", err=True)
        raise SystemExit(INTERRUPTED if outcome["interrupted"] else 1)


class Flow:
    """The steps of one `mlops run`; `run` returns what happened, for people and as JSON."""

    def __init__(
        self, settings: Settings, experiment: "Experiment", console: "Console", *, verbose: bool
    ) -> None:
        from mlops_assets.commands import kept

        self._settings = settings
        self._experiment = experiment
        self._console = console
        self._verbose = verbose
        self._store = kept.store(settings)
        self._outcome: dict[str, Any] = {
            "experiment": experiment.name,
            "ok": False,
            "interrupted": False,
            "error": "",
            "runs": {},
            "records": {},
            "checks": [],
        }

    def run(
        self,
        *,
        train: bool,
        deploy: bool,
        trials: int | None,
        reason: str,
        patience: float = 0.0,
    ) -> dict[str, Any]:
        """What came of it.

        Args:
            train: whether a version is trained.
            deploy: whether the champion is deployed.
            trials: of the search; None for as many as the YAML says.
            reason: why it is deployed.
            patience: seconds to wait for another `mlops run` of the experiment.
        """
        from mlops_assets.commands import instance as instances
        from mlops_assets.commands import jobs
        from mlops_assets.gateways.model_registry import RegistryError

        name, out = self._experiment.name, self._outcome
        self._console.line(f"{name}: {self._experiment.description}")
        try:
            self._quiet()
            self._registry().check()
            with (
                instances.claimed(self._settings, name, patience=patience),
                instances.open_instance(self._settings) as instance,
            ):
                instances.bury_the_dead(instance, name)
                loaded = jobs.definitions(self._settings, self._experiment)
                if train:
                    self._retrain(instance, loaded, trials)
                if deploy and not out["error"] and self._wants_deployment(trained=train):
                    self._deploy(instance, loaded, reason)
        except (RegistryError, instances.BusyError) as error:
            out["error"] = str(error)
        except KeyboardInterrupt:
            out["error"], out["interrupted"] = self._kept_trials(), True
        except Exception as error:
            if self._verbose:
                raise
            out["error"] = f"{jobs.described(error)}\n  (--verbose shows where)"
        out["ok"] = not out["error"]
        if out["ok"]:
            self._say_next()
        return out

    def _retrain(
        self, instance: "dg.DagsterInstance", loaded: "dg.Definitions", trials: int | None
    ) -> None:
        from mlops_assets import vocabulary as names

        name = self._experiment.name
        knob = {f"{name}__{names.TUNED_HYPERPARAMETERS}": {"config": {"n_trials": trials}}}
        self._job(
            instance, loaded, names.retrain_job(name), part="retrain", ops=knob if trials else {}
        )
        version = self._outcome["records"].get(names.REGISTERED_VERSION)
        if version and not version["champion"]:
            self._console.field("approve", self._how_to_approve(version))

    def _deploy(
        self, instance: "dg.DagsterInstance", loaded: "dg.Definitions", reason: str
    ) -> None:
        from mlops_assets import vocabulary as names

        result = self._job(
            instance,
            loaded,
            names.deploy_job(self._experiment.name),
            part="deploy",
            ops=names.deploy_config(self._experiment, reason=reason).ops,
        )
        silent = [check for check in result.checks if not check.passed]
        if silent and not self._outcome["error"]:
            self._outcome["error"] = "\n".join(
                f"{check.asset}: {check.name} failed: {check.reason}" for check in silent
            )

    def _job(
        self,
        instance: "dg.DagsterInstance",
        loaded: "dg.Definitions",
        job: str,
        *,
        part: str,
        ops: dict[str, Any],
    ) -> "JobResult":
        from mlops_assets.commands import jobs, kept
        from mlops_assets.commands.instance import run_url
        from mlops_assets.commands.progress import Progress

        name, out, run_id = self._experiment.name, self._outcome, jobs.new_run_id()

        def read(*path: str) -> Any:
            found = kept.record(self._store, name, *path, run_id=run_id)
            out["records"]["/".join(path)] = None if found is None else asdict(found)
            return found

        url = run_url(self._settings, run_id)
        out["runs"][part] = {"id": run_id, "url": url}
        result = jobs.execute(
            instance,
            loaded,
            job,
            run_id=run_id,
            ops=ops,
            listen=Progress(self._console, read),
            verbose=self._verbose,
        )
        self._console.clear()
        out["checks"] += [asdict(check) for check in result.checks]
        if result.interrupted:
            out["error"], out["interrupted"] = self._kept_trials(), True
        elif not result.success:
            lines = [*result.failures, *(result.details if self._verbose else ())]
            out["error"] = "\n".join([*lines, f"See the run in the UI (make dev): {url}"])
        return result

    def _wants_deployment(self, *, trained: bool) -> bool:
        """With manual promotion a champion may not exist yet; then there is nothing to deploy."""
        from mlops_assets.gateways.model_registry import CHAMPION

        if CHAMPION in self._registry().aliases(self._experiment.model_name):
            return True
        if not trained:
            self._outcome["error"] = (
                f"{self._experiment.name} has no champion to deploy: `mlops run "
                f"{self._experiment.name}` trains one"
            )
        return False

    def _kept_trials(self) -> str:
        """What an interruption left, read from the study."""
        from mlops_assets.commands.trials import study_standing

        name = self._experiment.name
        standing = study_standing(self._settings, self._experiment)
        kept = f"{standing.finished} finished trials are kept. " if standing else ""
        return f"Interrupted. {kept}`mlops run {name}` goes on from there."

    def _how_to_approve(self, version: dict[str, Any]) -> str:
        name, number = self._experiment.name, version["version"]
        return (
            f"version {number} waits: it takes no traffic until somebody else approves it, or a "
            "freeze is over\n"
            f'mlops promote {name} {number} --reason "..."\n'
            f"then `make dev` deploys it by itself, or: mlops run {name} --deploy-only"
        )

    def _say_next(self) -> None:
        name, console = self._experiment.name, self._console
        lines = [("open", run["url"]) for run in self._outcome["runs"].values()]
        version = self._outcome["records"].get("registered_version")
        if version:
            url = self._registry().version_url(version["name"], version["version"])
            lines.append(("open", url))
        console.line()
        if "deploy" in self._outcome["runs"]:
            console.field("next", f"mlops predict {name}")
        console.field("browse", "make dev, then")
        for _, url in lines:
            console.field("", url)

    def _registry(self) -> Any:
        from mlops_assets.gateways.model_registry import ModelRegistry

        current = self._settings
        return ModelRegistry(current.tracking_uri, current.artifacts_url, current.mlflow_url)

    def _quiet(self) -> None:
        import warnings

        if not self._verbose:
            warnings.simplefilter("ignore")


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does: workers end, and what is finished is kept."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
