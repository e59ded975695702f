"""What an experiment makes of a column: its YAML, and the records of the last run. Reads only."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from mlops_assets.experiment.model import Experiment

MODELLED = (
    "features.target", "features.entity", "features.event_time", "features.label_time",
    "features.group", "training.slices",
)  # fmt: skip
"""Keys of the YAML by which a column matters after the features, though it may be none."""


@dataclass(frozen=True)
class Column:
    """What an experiment makes of a column."""

    name: str
    seen: bool | None
    """Whether the last snapshot has it; None when none was taken yet."""
    feature: str
    """Its type as a feature of the last run; empty when it is none."""
    dropped: str
    """Why the last run left it out; empty when it did not."""
    roles: tuple[str, ...]
    """Keys of the YAML that name it."""
    judged_for_drift: bool

    @property
    def matters(self) -> bool:
        """Whether anything after the features depends on it, as far as is known."""
        if self.feature or any(role in MODELLED for role in self.roles):
            return True
        return self.seen is None and "features.exclude" not in self.roles


def column(settings: Settings, experiment: "Experiment", name: str) -> Column:
    """A column of the experiment's data."""
    from mlops_assets.commands import kept

    store = kept.store(settings)
    snapshot = kept.record(store, experiment.name, "source")
    last = kept.record(store, experiment.name, "features")
    feature = dropped = ""
    if last is not None:
        types = {one["name"]: one["type"] for one in last.schema["inputs"]}
        reasons = {one["column"]: one["reason"] for one in last.schema["dropped"]}
        feature, dropped = types.get(name, ""), reasons.get(name, "")
    judged = experiment.monitoring.drift.columns
    return Column(
        name=name,
        seen=None if snapshot is None else name in snapshot.columns,
        feature=feature,
        dropped=dropped,
        roles=tuple(key for key, columns in _named(experiment).items() if name in columns),
        judged_for_drift=bool(feature) if judged is None else name in judged,
    )


def columns(settings: Settings, experiment: "Experiment") -> tuple[str, ...]:
    """Those of the last snapshot, and those that the YAML names."""
    from mlops_assets.commands import kept

    snapshot = kept.record(kept.store(settings), experiment.name, "source")
    named = [name for names in _named(experiment).values() for name in names]
    return tuple(dict.fromkeys([*(snapshot.columns if snapshot else ()), *named]))


def _named(experiment: "Experiment") -> dict[str, tuple[str, ...]]:
    """The columns that the YAML names, by key."""
    spec, monitoring = experiment.features, experiment.monitoring
    log = monitoring.prediction_log
    single = ("target", "entity", "event_time", "label_time", "group")
    return {
        **{f"features.{key}": (name,) for key in single if (name := getattr(spec, key))},
        "features.exclude": spec.exclude,
        "features.columns": tuple(spec.columns),
        "training.slices": experiment.training.slices,
        "deployment.batch.keep": tuple(
            n for b in experiment.deployment.batch for n in b.keep or ()
        ),
        "monitoring.drift.columns": monitoring.drift.columns or (),
        "monitoring.expectations": tuple(monitoring.expectations),
        "monitoring.prediction_log.columns": (log.columns or ()) if log else (),
    }
