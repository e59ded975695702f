"""The records between the prediction log and the quality that was realised. Values only."""

from dataclasses import dataclass
from datetime import datetime

from mlops_assets.gateways.records import Metric


@dataclass(frozen=True)
class Labels:
    """What is known by now of what was predicted, as Parquet.

    Columns: `request_id`, `row`, `entity` (text), `event_time`, `known_at` (UTC) and `label` (text,
    as the prediction log writes it; a float for regression), missing where it is not known yet.
    """

    url: str
    digest: str
    rows: int
    known: int
    """Rows with a label."""
    unreadable: int
    """Rows left out: without an identity, or with a label that is no class or has no time."""
    location: str
    """Where they came from, without secrets."""


@dataclass(frozen=True)
class LoggedWindow:
    """The rows that endpoints of one version logged in one window, of all targets and replicas."""

    start: str
    """ISO 8601, UTC."""
    version: int
    rows: int
    """Rows that were written twice count once."""
    urls: tuple[str, ...]
    digest: str
    """Of the names of the files."""


@dataclass(frozen=True)
class LoggedRows:
    """What the prediction log holds of the newest windows."""

    version: int
    """That is live."""
    windows: tuple[LoggedWindow, ...]
    """Of all versions, oldest first."""
    unreadable: tuple[str, ...]
    """Files that are no table, left out."""

    @property
    def rows(self) -> int:
        return sum(window.rows for window in self.windows)


@dataclass(frozen=True)
class QualityWindow:
    """How good the predictions of one version in one window were, as far as that is known."""

    start: str
    """ISO 8601, UTC."""
    version: int
    predictions: int
    labelled: int
    """Predictions whose label is known."""
    strange: int
    """Predictions whose label is none of the version's classes; not among `labelled`."""
    lag_median_s: float | None
    """From the prediction until its label was known; None where that time is not told."""
    lag_max_s: float | None
    realised: dict[str, Metric]
    """Measured on the labelled rows; what is undefined on them is absent."""
    estimated: dict[str, Metric]
    """Expected of all rows without any label, if labels still depend on the inputs as in training:
    by probabilities that are calibrated, or by errors as large as those of held-out rows."""
    revision: int
    """How often the realised values were computed: once more whenever labels came or changed."""
    before: dict[str, float]
    """The realised values of the revision before."""
    computed_at: str
    """ISO 8601, UTC."""
    log: str
    """Digest of the logged files."""
    labels: str
    """Digest of the table of labels, and of how it was joined."""
    joined: str
    """Digest of the labels that belong to these rows."""

    @property
    def coverage(self) -> float:
        return self.labelled / self.predictions if self.predictions else 0.0

    @property
    def begins(self) -> datetime:
        return datetime.fromisoformat(self.start)


@dataclass(frozen=True)
class Performance:
    """The realised quality of the newest windows, and what it is held against."""

    version: int
    """That is live."""
    windows: tuple[QualityWindow, ...]
    """Of all versions, oldest first."""
    held_out: dict[str, Metric]
    """Of the live version, as measured before it was registered."""
    labels: int
    """Labels that are known."""
    unknown: int
    """Labels that belong to no logged row of these windows."""
    examples: tuple[str, ...]
    """Some of these, by request or entity."""
    data_digest: str = ""
    """Of the training set of the live version; empty where nobody wrote it down."""
