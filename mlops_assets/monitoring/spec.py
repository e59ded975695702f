"""The `monitoring` section: profile windows, the prediction log, labels, freshness, data quality,
drift, realised quality and tickets."""

from datetime import timedelta
from typing import Literal

from pydantic import Field, model_validator

from mlops_assets.experiment.spec import Spec
from mlops_assets.features.spec import AnySource
from mlops_assets.modeling.tasks import MetricName
from mlops_assets.monitoring.tickets.spec import TicketsSpec
from mlops_assets.serving.recording import Recording

Window = Literal["minute", "hour", "day", "week"]

Against = Literal["training", "previous", "day_before", "week_before", "year_before"]

EARLIER: dict[Against, timedelta] = {
    "day_before": timedelta(days=1),
    "week_before": timedelta(weeks=1),
    # Of whole weeks, so that a Monday is compared with a Monday.
    "year_before": timedelta(weeks=52),
}

WINDOW_SECONDS: dict[Window, int] = {"minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}


class DriftSpec(Spec):
    """When a column counts as drifted, and when that is an alarm."""

    effect: float = Field(default=0.15, ge=0.01, lt=1)
    """Jensen-Shannon distance from the reference below which a difference does not matter, however
    certain it is. 0.15 is a shift by about two fifths of a standard deviation."""
    false_discovery_rate: float = Field(default=0.01, gt=0, le=0.2)
    """Share of the columns called different that may be so by chance (Benjamini-Hochberg over all
    columns of a window)."""
    windows: int = Field(default=3, ge=1, le=100)
    """The newest judged windows that are looked at together."""
    at_least: int = Field(default=2, ge=1, le=100)
    """In how many of them a column must have drifted."""
    against: Against = "training"
    """What a window is compared with: what the version saw at training time, the judged window
    before, or the same hours a day, a week or 52 weeks earlier, whichever version answered."""
    min_rows: int = Field(default=200, ge=20)
    """Rows that a judged window holds at least: windows of fewer are judged together with those
    before them."""
    columns: tuple[str, ...] | None = None
    """Columns to judge; by default every feature and the prediction."""
    rows_auc: float = Field(default=0.6, gt=0.5, lt=1)
    """Where rows are logged: the area under the curve from which on a classifier tells them from
    the training's well enough to matter. Two normal columns shifted by a quarter of a standard
    deviation each give 0.6."""

    @model_validator(mode="after")
    def _check_it_can_happen(self) -> "DriftSpec":
        if self.at_least > self.windows:
            raise ValueError(
                f"at_least is {self.at_least}, more than the {self.windows} windows looked at"
            )
        return self


class DataQualitySpec(Spec):
    """When the values of a window are not what they were in training. Windows are those of
    `drift`: as long, as many, and as many of them an alarm."""

    effect: float = Field(default=0.02, ge=0, lt=1)
    """Share of the rows, 0 to 1, by which a window must be worse than training: more missing
    values, new categories or values out of range than that matter."""
    range_margin: float = Field(default=0.1, ge=0, le=100)
    """By how much of its range in training a number may lie beyond either end."""
    false_alarms: float = Field(default=0.01, gt=0, le=0.2)
    """Share of the windows without a fault that may be called faulty by chance, over all columns
    together (Bonferroni)."""
    max_rejected: float = Field(default=0.05, ge=0, lt=1)
    """Share of the requests, 0 to 1, that may be refused because they do not fit the schema."""


class ColumnExpectation(Spec):
    """What the values of a column must be, whatever they were in training."""

    missing: float | None = Field(default=None, ge=0, le=1)
    """Share of the rows, 0 to 1, that may have no value. By default as in training."""
    values: tuple[bool | int | float | str, ...] | None = Field(default=None, min_length=1)
    """All values that a column of categories may have. By default those of training, unless these
    are too many to be known."""
    minimum: float | None = None
    """No number may be below. By default that of training, less `range_margin`."""
    maximum: float | None = None
    """No number may be above. By default that of training, plus `range_margin`."""

    @model_validator(mode="after")
    def _check_it_can_hold(self) -> "ColumnExpectation":
        if None not in (self.minimum, self.maximum) and self.minimum > self.maximum:  # type: ignore[operator]
            raise ValueError(f"minimum ({self.minimum:g}) is above maximum ({self.maximum:g})")
        if self.values is not None and (self.minimum, self.maximum) != (None, None):
            raise ValueError(
                "values are of a column of categories, minimum and maximum of one of numbers"
            )
        return self


class PredictionLogSpec(Spec):
    """The rows that endpoints score, as Parquet."""

    sample: float = Field(default=1.0, gt=0, le=1)
    """Share of the requests whose rows are kept; all replicas choose the same requests."""
    columns: tuple[str, ...] | None = None
    """Features to keep beside prediction, time and entity; by default all."""


class LabelsSpec(Spec):
    """Where the true labels of what was predicted are read when they are known."""

    source: AnySource | None = None
    """A data source; by default the one of `features`."""
    by: Literal["entity", "request"] = "entity"
    """What says to which prediction a label belongs: the entity and the time at which its features
    were true, or the id of the request (`x-request-id`)."""
    request: str = Field(default="request_id", min_length=1)
    """By request: the column with its id."""
    row: str | None = None
    """By request: the column with the row's place in the request, from 0. Without it labels are
    those of the first row."""
    entity: str | None = None
    """By entity: its column; by default `features.entity`."""
    event_time: str | None = None
    """By entity: the column with the time at which the features were true; by default
    `features.event_time`."""
    label_time: str | None = None
    """Column with the time at which the label became known; by default `features.label_time` in the
    source of `features`, and none in another one."""
    target: str | None = None
    """Column with the label; by default `features.target`."""
    within_hours: float = Field(default=24.0, gt=0, le=24 * 366)
    """By entity: a label counts for predictions of its entity made at its event time or up to this
    many hours later, unless a newer event of the entity comes between."""


class QualitySpec(Spec):
    """When realised quality is lower than it was on held-out rows, and when that is an alarm."""

    metric: MetricName | None = None
    """What is judged; by default what tuning optimised."""
    margin: float = Field(default=0.0, ge=0)
    """How much worse than on the held-out rows is still good enough, in the metric's own units."""
    window: Window = "day"
    """Length of a window of predictions whose quality is one number; at least `monitoring.window`,
    and raised to it."""
    lookback: int = Field(default=31, ge=1, le=366)
    """How many of these windows labels are awaited for."""
    min_labels: int = Field(default=100, ge=20)
    """Labelled predictions from which on a window is judged."""
    windows: int = Field(default=3, ge=1, le=100)
    """The newest windows with enough labels that are looked at together."""
    at_least: int = Field(default=2, ge=1, le=100)
    """In how many of them quality must be lower."""

    @model_validator(mode="after")
    def _check_it_can_happen(self) -> "QualitySpec":
        if self.at_least > self.windows:
            raise ValueError(
                f"at_least is {self.at_least}, more than the {self.windows} windows looked at"
            )
        return self


class MonitoringSpec(Spec):
    """Profile windows, the prediction log, labels, freshness, data quality, drift, realised quality
    and tickets."""

    window: Window = "hour"
    """Length of one profile window."""
    lookback: int = Field(default=24, ge=1, le=1000)
    """How many of the newest windows with traffic are looked at."""
    max_age_windows: int = Field(default=2, ge=1)
    """`profile_is_fresh` fails when the newest profile is older than this many windows."""
    max_endpoint_age_days: int = Field(default=90, ge=1, le=3650)
    """Days after which Dagster shows an endpoint as overdue, unless it was deployed again."""
    data_quality: DataQualitySpec = Field(default_factory=DataQualitySpec)
    expectations: dict[str, ColumnExpectation] = Field(default_factory=dict)
    """By feature: what its values must be, where training is not to decide."""
    drift: DriftSpec = Field(default_factory=DriftSpec)
    prediction_log: PredictionLogSpec | None = None
    """Keep the rows that endpoints score. Off by default: they may hold personal data."""
    tickets: TicketsSpec = Field(default_factory=TicketsSpec)
    labels: LabelsSpec | None = None
    """Where labels come from. By default the source of `features`, joined by entity and event time
    where these are named."""
    quality: QualitySpec = Field(default_factory=QualitySpec)

    @model_validator(mode="after")
    def _check_labels_have_rows(self) -> "MonitoringSpec":
        if self.labels is not None and self.prediction_log is None:
            raise ValueError(
                "labels are joined with the prediction log: set prediction_log, or remove labels"
            )
        return self

    @property
    def max_age(self) -> timedelta:
        """How long ago the window of the newest profile may have ended."""
        return timedelta(seconds=self.window_seconds * self.max_age_windows)

    @property
    def overdue_after(self) -> timedelta:
        """After which what every window is to renew counts as overdue: the profile may be that old,
        and it is looked at once more."""
        return self.max_age + timedelta(seconds=self.window_seconds)

    @property
    def window_seconds(self) -> int:
        return WINDOW_SECONDS[self.window]

    @property
    def quality_window_seconds(self) -> int:
        """Of the windows whose realised quality is judged: never shorter than those of the log."""
        return max(self.window_seconds, WINDOW_SECONDS[self.quality.window])

    def recording(self, *, profiles_url: str, log_url: str) -> Recording:
        """What an endpoint keeps of its traffic under these rules.

        Args:
            profiles_url: folder that takes the profiles of its version and target.
            log_url: the same for the prediction log, if there is one.
        """
        rows = self.prediction_log
        return Recording(
            profiles_url=profiles_url,
            window_seconds=self.window_seconds,
            log_url=None if rows is None else log_url,
            log_sample=1.0 if rows is None else rows.sample,
            log_columns=None if rows is None else rows.columns,
        )
