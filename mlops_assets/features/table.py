"""What is known of a feature table's columns: the record between inference, cleaning and storage.

Plain data with a JSON form; knows neither pandas nor how the types were found.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from mlops_assets.serving.bundle import Task
from mlops_assets.serving.schema import InputSchema

TimeFormat = str
"""A strptime format, `ISO8601`, `epoch_s`, `epoch_ms`, or `datetime` for a typed column."""

Label = str | int | float | bool
"""A class as people write it."""

ProblemKind = Literal[
    "missing column",
    "unexpected column",
    "type changed",
    "unparsable values",
    "infinite values",
    "no values",
    "missing values",
    "new categories",
    "out of range",
    "unknown label",
    "missing label",
]


class FeatureError(Exception):
    """The data does not fit the `features` section; one line per problem in `problems`."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class Dropped:
    """A column of the data that is no feature, and why."""

    column: str
    reason: str


@dataclass(frozen=True)
class TableSchema:
    """The types of a feature table, as found in the data and overruled by the YAML."""

    inputs: InputSchema
    """The feature columns in the order of the data: what a request must hold."""
    task: Task
    target: str
    classes: tuple[Label, ...]
    """Labels by encoded value, the positive class last. Empty for regression."""
    dropped: tuple[Dropped, ...]
    time_formats: dict[str, TimeFormat]
    """How the event and label time columns are written."""
    notes: tuple[str, ...]
    """What was decided without being asked, in sentences."""

    @property
    def positive(self) -> Label | None:
        """Binary classification: the label whose probability is predicted."""
        return self.classes[-1] if self.task == "binary_classification" else None

    def to_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "inputs": self.inputs.to_json(),
            "classes": list(self.classes),
            "dropped": [asdict(dropped) for dropped in self.dropped],
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "TableSchema":
        return cls(
            inputs=InputSchema.from_json(content["inputs"]),
            task=content["task"],
            target=content["target"],
            classes=tuple(content["classes"]),
            dropped=tuple(Dropped(**dropped) for dropped in content["dropped"]),
            time_formats=dict(content["time_formats"]),
            notes=tuple(content["notes"]),
        )
