"""Ticks the registry sensor as Dagster's daemon does: a real instance, a real MLflow store."""

from typing import Any

import dagster as dg
from dagster._core.utils import make_new_run_id

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.registry import sensors
from mlops_assets_tests.builders import make_experiment

CHURN = make_experiment()
CREDIT = make_experiment(name="credit", registry={"model_name": "credit_scores"})
BUNDLE = {"mlops.bundle_uri": "runs:/r/bundle"}
"""Tags of a version that this platform made."""


def endpoint_key(experiment: Experiment) -> dg.AssetKey:
    return names.endpoint_key(experiment.name, "local")


def definitions(registry: ModelRegistry, *, webhooks: bool = False) -> dg.Definitions:
    """The sensor, with stand-ins for the assets whose jobs it starts."""
    experiments = (CHURN, CREDIT)
    assets, jobs = [], []
    for experiment in experiments:
        made = [
            _stand_in(names.asset_key(experiment.name, part), {"adopt": int})
            for part in sensors.FROM_THE_MODEL_ON
        ]
        endpoint = _stand_in(endpoint_key(experiment), {"version": int})
        assets += [*made, endpoint]
        jobs += [
            dg.define_asset_job(names.deploy_job(experiment.name), [endpoint]),
            dg.define_asset_job(names.retrain_job(experiment.name), made),
        ]
    return dg.Definitions.merge(
        dg.Definitions(assets=assets, jobs=jobs, resources=_resources(registry)),
        sensors.build(experiments, jobs, webhooks=webhooks),
    )


def _resources(registry: ModelRegistry) -> dict[str, Any]:
    return {"model_registry": registry, "dagster_url": "http://127.0.0.1:3000"}


def _stand_in(key: dg.AssetKey, config: dict[str, Any]) -> dg.AssetsDefinition:
    schema = {name: dg.Field(kind, is_required=False) for name, kind in config.items()}

    @dg.asset(key=key, config_schema=schema)
    def stand_in(_: dg.AssetExecutionContext) -> None: ...

    return stand_in


class Daemon:
    """One daemon; another one may go on with its cursor."""

    def __init__(
        self, registry: ModelRegistry, instance: dg.DagsterInstance, *, webhooks: bool = False
    ) -> None:
        self.definitions = definitions(registry, webhooks=webhooks)
        self.registry = registry
        self.instance = instance
        self.cursor: str | None = None

    def tick(self) -> Any:
        (sensor,) = self.definitions.sensors or ()
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            definitions=self.definitions,
            resources=_resources(self.registry),
        )
        data = sensor.evaluate_tick(context)  # type: ignore[union-attr]
        if data.cursor is not None:
            self.cursor = data.cursor
        return data

    def asked(self) -> list[tuple[str, int]]:
        """Job and version of the runs that one tick asks for."""
        return [(r.job_name, version_in(r)) for r in self.tick().run_requests]

    def launch(self, request: dg.RunRequest, status: dg.DagsterRunStatus) -> str:
        """A run as the request wants it, that has come so far; its id."""
        run = dg.DagsterRun(
            job_name=str(request.job_name),
            run_id=make_new_run_id(),
            tags=dict(request.tags),
            status=status,
        )
        self.instance.add_run(run)
        return run.run_id

    def live(self, version: int, **metadata: Any) -> None:
        """What the endpoint asset of churn reports after a deployment."""
        said = {"version": version, "state": "live", **metadata}
        self.report(endpoint_key(CHURN), said)

    def report(self, key: dg.AssetKey, metadata: dict[str, Any]) -> None:
        self.instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=metadata))


def version_in(request: dg.RunRequest) -> int:
    """The version a run is told of; its config and its tag agree."""
    ((op, settings),) = request.run_config["ops"].items()
    ((knob, version),) = settings["config"].items()
    name = request.tags[names.EXPERIMENT_TAG]
    assert (op, knob) in (
        (f"{name}__endpoints__local", "version"),
        (f"{name}__trained_model", "adopt"),
    )
    assert request.tags[names.VERSION_TAG] == str(version)
    return int(version)
