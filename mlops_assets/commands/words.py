"""The records of a run in words: label and text, as `mlops run` prints them. Pure."""

from typing import TYPE_CHECKING, Any

from mlops_assets.commands.console import folded, shown, table, wrapped

if TYPE_CHECKING:
    from mlops_assets.gateways.records import (
        Endpoint,
        Evaluation,
        FeatureTable,
        ModelVersion,
        ServingProfile,
        Snapshot,
        TrainedModel,
        TrainingSet,
        TunedHyperparameters,
    )

Fields = list[tuple[str, str]]


def fields(asset: str, record: Any) -> Fields:
    """What to say when `asset` was made; nothing for assets that speak for themselves."""
    say = _WORDS.get(asset)
    return [] if say is None else say(record)


def _source(record: "Snapshot") -> Fields:
    size = f"{record.rows:,} rows x {len(record.columns)} columns"
    return [("data", f"{size}\n{record.location}")]


def _features(record: "FeatureTable") -> Fields:
    names = [column["name"] for column in record.schema["inputs"]]
    left_out = [f"{d['column']} ({d['reason']})" for d in record.schema["dropped"]]
    text = f"{len(names)}\n{wrapped(names)}"
    return [("features", text), *([("left out", wrapped(left_out))] if left_out else [])]


def _training_set(record: "TrainingSet") -> Fields:
    size = f"{record.train_rows:,} training and {record.test_rows:,} held-out rows"
    return [("split", f"{size}\n{folded(record.split)}")]


def _tuned(record: "TunedHyperparameters") -> Fields:
    others = [f"{record.pruned} given up early"] if record.pruned else []
    others += [f"{record.failed} failed"] if record.failed else []
    counted = f"{record.trials} trials" + (f" ({', '.join(others)})" if others else "")
    best = f"best cross-validated {record.metric} {record.score:.4f}"
    parameters = [f"{name} = {shown(value)}" for name, value in record.parameters.items()]
    chosen = wrapped(parameters) if parameters else "nothing was searched"
    return [("tuning", f"{counted}, {best}"), ("best", chosen)]


def _trained(record: "TrainedModel") -> Fields:
    threshold = "" if record.threshold is None else f", decision from {record.threshold:.4f} on"
    return [("model", f"MLflow run {record.run_id}{threshold}")]


def _evaluation(record: "Evaluation") -> Fields:
    rows = [
        (name, f"{m.value:.4f}", f"{m.low:.4f} to {m.high:.4f}")
        for name, m in record.metrics.items()
    ]
    head = ("on held-out rows", "value", "interval")
    return [("metrics", table([head, *rows]))]


def _registered(record: "ModelVersion") -> Fields:
    alias = "champion" if record.champion else "challenger"
    return [("version", f"{record.name} version {record.version}, {alias}")]


def _endpoint(record: "Endpoint") -> Fields:
    before = record.previous_version
    words = "" if before is None else f" (before: version {before})"
    return [("endpoint", f"{record.url} serves version {record.version}{words}")]


def _serving_profile(record: "ServingProfile") -> Fields:
    return [("traffic", f"{record.rows:,} rows profiled on version {record.version}")]


_WORDS: dict[str, Any] = {
    "source": _source,
    "features": _features,
    "training_set": _training_set,
    "tuned_hyperparameters": _tuned,
    "trained_model": _trained,
    "evaluation": _evaluation,
    "registered_version": _registered,
    "endpoints": _endpoint,
    "serving_profile": _serving_profile,
}
