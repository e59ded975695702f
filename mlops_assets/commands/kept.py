"""The records that runs left on the data store, by asset. Reads only."""

from typing import TYPE_CHECKING, Any

from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from mlops_assets.gateways.data_store import DataStore


def store(settings: Settings) -> "DataStore":
    from mlops_assets.gateways.data_store import DataStore

    return DataStore(settings.data_url, settings.storage_options)


def record(
    store: "DataStore", experiment: str, *path: str, run_id: str | None = None
) -> Any | None:
    """What a run, or the last one, left for an asset; None when there is nothing.

    Args:
        store: the data store.
        experiment: whose asset it is.
        path: the asset key below the experiment.
        run_id: of the run; None for the last one.

    Raises:
        DataStoreError: the store cannot be read.
        ValueError: the record was written by another version of this program.
    """
    from mlops_assets.gateways import record_json

    kind = _kinds().get(path[0])
    file = "/".join(("records", experiment, *path, f"{run_id or 'latest'}.json"))
    if kind is None or not store.exists(file):
        return None
    text = store.read_bytes(store.at(file)).decode()
    return record_json.from_json(kind, text)


def _kinds() -> dict[str, type[Any]]:
    from mlops_assets.gateways import realised, records

    return {
        "source": records.Snapshot,
        "features": records.FeatureTable,
        "training_set": records.TrainingSet,
        "tuned_hyperparameters": records.TunedHyperparameters,
        "trained_model": records.TrainedModel,
        "evaluation": records.Evaluation,
        "registered_version": records.ModelVersion,
        "reference_profile": records.ReferenceProfile,
        "endpoints": records.Endpoint,
        "serving_profile": records.ServingProfile,
        "performance": realised.Performance,
        "monitoring_report": records.MonitoringReport,
    }
