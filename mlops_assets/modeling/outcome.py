"""What a model said of labelled rows. Knows no metric."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]
    Matrix = NDArray[np.float64]
else:
    Vector = Matrix = Any


@dataclass(frozen=True)
class Outcome:
    """What was true and what was predicted, row by row."""

    truth: Vector
    """(n,) encoded labels, the positive class 1 in a binary task; values in a regression."""
    predicted: Vector
    """(n,) encoded labels after the decision threshold; values in a regression."""
    probabilities: Matrix | None
    """(n, classes); None in a regression."""

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: Any) -> "Outcome":
        probabilities = None if self.probabilities is None else self.probabilities[rows]
        return Outcome(self.truth[rows], self.predicted[rows], probabilities)
