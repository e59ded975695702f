"""The small JSON records that travel between stages. Values only: no client, no estimator."""

from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """An immutable copy of the source, as Parquet of untyped or typed columns."""

    url: str
    digest: str
    """sha256 of the content: equal data has an equal digest."""
    rows: int
    columns: tuple[str, ...]
    location: str
    """Where the data came from, without secrets."""
    taken_at: str
    """ISO 8601, UTC."""


@dataclass(frozen=True)
class FeatureTable:
    """The snapshot, typed and cleaned. Invalid cells are missing in it and counted in `issues`."""

    url: str
    digest: str
    rows: int
    schema: Json
    """The table's schema in force for this experiment."""
    schema_url: str
    """Where that schema is written down."""
    violations: tuple[Json, ...]
    """One entry per offending column: column, problem, count, examples, and whether it blocks."""
    snapshot: Snapshot


@dataclass(frozen=True)
class TrainingSet:
    """Rows with a known label, split without leakage: the feature columns, and those that
    `modeling.folds` reserves (label, row id, split, fold, times, group)."""

    url: str
    digest: str
    train_rows: int
    test_rows: int
    schema: tuple[Json, ...]
    """Feature columns, as `InputSchema.to_json` writes them."""
    classes: tuple[Any, ...]
    """Original labels by encoded value; the positive class last. Empty for regression."""
    ordered: bool
    """Folds and test rows follow time."""
    split: str
    """How rows were divided, in words."""
    leaks: tuple[Json, ...]
    """One entry per suspicion: kind, column, evidence, and whether it blocks."""
    snapshot: Snapshot


@dataclass(frozen=True)
class TunedHyperparameters:
    """The best parameters of a study."""

    study: str
    parameters: Json
    metric: str
    score: float
    """Mean over the folds."""
    trials: int
    """Finished trials: complete, pruned and failed."""
    complete: int
    pruned: int
    failed: int


@dataclass(frozen=True)
class TrainedModel:
    """A fitted model in MLflow, with its serving bundle."""

    run_id: str
    model_uri: str
    """MLflow's URI of the logged model (`models:/m-...`)."""
    bundle_uri: str
    """MLflow's URI of the bundle folder."""
    bundle_digest: str
    threshold: float | None
    """Decision threshold on the positive class's probability; None unless binary."""
    parity: Json
    """Bundle against estimator on the test split: rows, largest difference, label flips."""
    parameters: Json
    code_version: str
    """The git commit it was trained with."""
    data_digest: str
    """Of the training set."""
    snapshot_digest: str
    """Of the source it came from."""
    adopts: int | None = None
    """The version in the registry, registered by somebody else, that this is the model of."""
    training_rows: int | None = None
    """None in records of an older program."""


@dataclass(frozen=True)
class Metric:
    """A point estimate with its percentile-bootstrap confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """A metric that the promotion rules name, on the held-out rows or on a slice of them."""

    metric: str
    column: str
    """Of the slice; empty on all rows."""
    value: str
    """Of the slice's column; empty on all rows."""
    rows: int
    candidate: float | None
    """None where the slice says nothing."""
    champion: float | None
    """None without a champion that can be compared."""
    difference: Metric | None
    """Candidate minus champion, paired by row."""
    confidence: float
    """Level of the difference's two-sided interval."""
    note: str
    """Why the slice says nothing; empty when it does."""


@dataclass(frozen=True)
class Footprint:
    """What a bundle costs."""

    latency_ms: float
    """Median of scoring one row, in process."""
    bundle_mb: float
    """Millions of bytes."""


@dataclass(frozen=True)
class Comparison:
    """The champion on the held-out rows of the new model; what it scored stands in `Measured`."""

    version: int
    """Of the champion."""
    changed_predictions: float | None
    """Share of the rows for which the new model predicts something else."""
    footprint: Footprint | None
    note: str
    """Why they cannot be compared; empty when they can."""


@dataclass(frozen=True)
class Evaluation:
    """How good the trained model is on the held-out rows, and against the champion."""

    run_id: str
    rows: int
    metrics: dict[str, Metric]
    slices: tuple[Json, ...]
    measured: tuple[Measured, ...]
    """What the promotion rules ask for, beside the champion."""
    asked: str
    """Fingerprint of these rules."""
    footprint: Footprint
    champion: Comparison | None
    """None when there is no champion to compare with."""


@dataclass(frozen=True)
class ModelVersion:
    """A version in the MLflow registry."""

    name: str
    version: int
    run_id: str
    model_uri: str
    bundle_uri: str
    bundle_digest: str
    champion: bool
    """The alias `champion` pointed at this version when the record was written."""


@dataclass(frozen=True)
class ReferenceProfile:
    """What the model saw and said at training time, as a whylogs profile on the store."""

    url: str
    rows: int
    version: int


@dataclass(frozen=True)
class ProfiledWindow:
    """What all replicas of all targets profiled in one window, merged."""

    start: str
    """ISO 8601, UTC."""
    version: int
    """That answered."""
    rows: int
    url: str
    from_log: int = 0
    """Of the rows, those counted from what was logged, as their target left no profile."""
    log_sample: float | None = None
    """Share of the requests that these logs hold; None without one, or where one does not tell."""


@dataclass(frozen=True)
class Arrival:
    """The newest of the files that the endpoint of one target flushed."""

    window: str | None
    """Start of the newest window that had begun when its file came, and can be read, ISO 8601, UTC.
    """
    written: str | None
    """When a file last arrived, of whatever window; None where the store does not tell."""


@dataclass(frozen=True)
class ServingProfile:
    """What the endpoints of one version saw and said lately, window by window."""

    version: int
    windows: tuple[ProfiledWindow, ...]
    """The newest ones that hold rows, oldest first."""
    before: tuple[ProfiledWindow, ...]
    """What these are compared with, when that is traffic of another day; of whichever version."""
    live_since: str
    """When the version took the traffic."""
    unreadable: tuple[str, ...]
    """Files that are no profile, left out."""
    ahead: tuple[str, ...]
    """Files of windows that had not begun when they came; their rows count once these begin."""
    arrivals: dict[str, Arrival] = field(default_factory=dict)
    """By target, of those that flushed anything; none in records of an older program."""
    open: str | None = None
    """Start of the window that was not over yet."""
    behind: int = 0
    """Files that came lately, of windows that had ended longer before than a profile may be old."""

    @property
    def rows(self) -> int:
        return sum(window.rows for window in self.windows)

    @property
    def last(self) -> str | None:
        """Start of the newest window."""
        return self.windows[-1].start if self.windows else None


@dataclass(frozen=True)
class MonitoringReport:
    """What monitoring said of the version that was live."""

    version: int
    at: str
    """When, ISO 8601, UTC."""
    state: Literal["good", "unknown", "warning", "bad"]
    said: str
    """In short."""
    url: str
    """Where browsers get the whole of it; empty when MLflow did not take it."""


@dataclass(frozen=True)
class Endpoint:
    """What answers requests on one target."""

    experiment: str
    target: str
    url: str
    version: int
    bundle_digest: str
    since: str
    """ISO 8601, UTC: when this version took the traffic."""
    previous_version: int | None
    state: Literal["live", "stopped", "failed"] = "live"
    detail: str = ""
    traffic: dict[str, float] = field(default_factory=dict)
    """Share of the requests by version, while two of them answer; empty when one has all."""


@dataclass(frozen=True)
class ScoredTables:
    """A folder of predictions."""

    url: str
    version: int
    rows: int
    invalid: int
    """Rows without a prediction."""
