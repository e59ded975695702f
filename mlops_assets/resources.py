"""Settings become the gateways that assets ask for, and records travel as JSON."""

import dataclasses
import time
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from mlops_assets.deployment.targets.base import TargetContext
from mlops_assets.features.sources.base import SourceContext
from mlops_assets.gateways import record_json
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.gateways.study_store import StudyStore
from mlops_assets.monitoring.sinks.base import SinkContext
from mlops_assets.settings import Executor, Settings


def build(settings: Settings) -> dict[str, Any]:
    """Resources by the name assets ask for them."""
    store = DataStore(settings.data_url, settings.storage_options)
    return {
        "io_manager": RecordIOManager(store),
        "data_store": store,
        "model_registry": ModelRegistry(
            settings.tracking_uri, settings.artifacts_url, settings.mlflow_url
        ),
        "study_store": StudyStore(settings.study_url),
        "source_context": source_context(settings),
        "target_context": target_context(settings),
        "sink_context": sink_context(settings),
        "user": settings.user,
        "dagster_url": settings.dagster_url,
    }


def source_context(settings: Settings) -> SourceContext:
    return SourceContext(
        directory=settings.root,
        cache=settings.home / "cache",
        storage_options=settings.storage_options,
        environment=settings.environment,
    )


def target_context(settings: Settings) -> TargetContext:
    # An endpoint knows none of our settings; its S3 client reads the variables of AWS.
    endpoint = settings.storage_options.get("endpoint_url")
    return TargetContext(
        state=settings.home / "endpoints",
        environment={"AWS_ENDPOINT_URL": str(endpoint)} if endpoint else {},
        variables=settings.environment,
        now=lambda: datetime.now(UTC),
        sleep=time.sleep,
    )


def sink_context(settings: Settings) -> SinkContext:
    return SinkContext(
        dagster_url=settings.dagster_url,
        runbook_url=settings.runbook_url,
        environment=settings.environment,
    )


def executor(asked: Executor) -> dg.ExecutorDefinition:
    """How the steps of a run are executed. In the process of the run, records and tables still
    travel through the store, so that a pod for each step changes nothing else."""
    if asked == "kubernetes":
        from dagster_k8s import k8s_job_executor

        return k8s_job_executor
    return dg.in_process_executor


class RecordIOManager(dg.IOManager):
    """Stores the record an asset returns as JSON: per run, and as the latest.

    A downstream asset of the same run gets that run's record even while another run of the same
    experiment writes its own.
    """

    def __init__(self, store: DataStore) -> None:
        self._store = store

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        if not dataclasses.is_dataclass(obj):
            raise TypeError(f"{context.asset_key.to_user_string()} returned no record: {type(obj)}")
        content = record_json.to_json(obj).encode()
        folder = "/".join(("records", *context.asset_key.path))
        self._store.write_bytes(f"{folder}/{context.run_id}.json", content)
        self._store.write_bytes(f"{folder}/latest.json", content)

    def load_input(self, context: dg.InputContext) -> Any:
        folder = "/".join(("records", *context.asset_key.path))
        own = f"{folder}/{context.step_context.run_id}.json"
        path = own if self._store.exists(own) else f"{folder}/latest.json"
        if not self._store.exists(path):
            name = context.asset_key.to_user_string()
            raise dg.Failure(f"{name} was never materialized: materialize it first")
        kind: Any = context.dagster_type.typing_type
        return record_json.from_json(kind, self._store.read_bytes(self._store.at(path)).decode())
