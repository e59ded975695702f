"""The input schema of a served model: what a request must look like. Standard library only."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

ColumnType = Literal["numeric", "boolean", "categorical"]


@dataclass(frozen=True)
class Column:
    """One input of the model, as seen in the training data."""

    name: str
    type: ColumnType
    integer: bool = False
    """A numeric column that held whole numbers only."""
    nullable: bool = False
    """The training data held missing values."""
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    """Distinct values of a categorical column, sorted."""


@dataclass(frozen=True)
class InputSchema:
    """The ordered inputs of a model."""

    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(column) for column in self.columns]

    @classmethod
    def from_json(cls, columns: list[dict[str, Any]]) -> "InputSchema":
        return cls(
            tuple(Column(**{**c, "categories": tuple(c.get("categories", ()))}) for c in columns)
        )
