"""Requests as the one matrix that a converted model is asked with: (n, columns) float64."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

INPUT, OUTPUT, ENCODING = "x", "y", "encoding"
"""Names in a converted model: its input, its output, and the metadata that holds the encoding."""


@dataclass(frozen=True)
class Categories:
    """How the values of a categorical column become numbers."""

    codes: dict[str, float]
    missing: float
    """Code of a missing value; NaN where the model is to see it as missing."""
    unknown: float
    """Code of a value that training never met."""


@dataclass(frozen=True)
class InputEncoding:
    """The columns of the matrix in the order of the schema; None for numbers and booleans, which
    stand in it as they are, NaN for missing."""

    names: tuple[str, ...]
    categories: tuple[Categories | None, ...]

    def matrix(self, columns: dict[str, list[Any]]) -> "np.ndarray[Any, Any]":
        """(n, columns) float64 of the n rows of `columns`, which follow the schema."""
        import numpy as np

        plan = self._plan
        if len(columns[self.names[0]]) == 1:  # the usual request, in half the time
            row = [
                columns[name][0] if codes is None else codes.get(columns[name][0], unknown)
                for name, codes, unknown in plan
            ]
            return np.array(row, dtype=np.float64)[None]
        encoded = [
            columns[name]
            if codes is None
            else [codes.get(value, unknown) for value in columns[name]]
            for name, codes, unknown in plan
        ]
        return np.ascontiguousarray(np.array(encoded, dtype=np.float64).T)

    @cached_property
    def _plan(self) -> tuple[tuple[str, dict[Any, float] | None, float], ...]:
        """Of each column its name, its codes with that of a missing value, and that of an unknown
        one."""
        return tuple(
            (name, None, 0.0)
            if known is None
            else (name, {None: known.missing, **known.codes}, known.unknown)
            for name, known in zip(self.names, self.categories, strict=True)
        )

    def to_json(self) -> list[dict[str, Any]]:
        """Plain JSON: NaN is written as null."""
        return [
            {"name": name}
            if known is None
            else {
                "name": name,
                "codes": known.codes,
                "missing": _null(known.missing),
                "unknown": _null(known.unknown),
            }
            for name, known in zip(self.names, self.categories, strict=True)
        ]

    @classmethod
    def from_json(cls, content: list[dict[str, Any]]) -> "InputEncoding":
        return cls(
            tuple(column["name"] for column in content),
            tuple(
                Categories(column["codes"], _nan(column["missing"]), _nan(column["unknown"]))
                if "codes" in column
                else None
                for column in content
            ),
        )


@dataclass(frozen=True)
class EncodedModel:
    """A model that is asked with the matrix, as a function of columns."""

    encoding: InputEncoding
    run: "Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]"

    def __call__(self, columns: dict[str, list[Any]]) -> "np.ndarray[Any, Any]":
        return self.run(self.encoding.matrix(columns))


def _null(value: float) -> float | None:
    return None if value != value else value


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value
