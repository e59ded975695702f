"""Which column moved a prediction by how much: contributions that add up to the model's output.

Exact for trees (`serving.shapley`) and for linear models, from the `explanation.npz` of a bundle.
Contributions are on the model's own scale and before calibration: the sum is what the calibration
(or the link, where there is none) makes a probability of. Binary classification has one output,
that of the positive class.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.serving import ensemble, groves, shapley
from mlops_assets.serving.bundle import BundleError, Manifest
from mlops_assets.serving.ensemble import LinearModel, Scale, TreeEnsemble

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Prepared = tuple[Array, Callable[[Array], Array]]


class NotExplainableError(Exception):
    """The model's predictions cannot be explained; the message says why."""


@dataclass(frozen=True)
class Explanation:
    """What each column adds to each output, beyond what is expected of an unknown row.

    `base_values + contributions.sum(axis=1)` is the raw output of the model for the n rows.
    """

    scale: Scale
    names: tuple[str, ...]
    base_values: "Array"
    """(outputs,)."""
    contributions: "Array"
    """(n, columns, outputs) in the order of `names`."""

    def to_json(self) -> dict[str, Any]:
        """Per row a number by column, or where there are several classes a list in their order.

        `base_values` is a number or a list likewise.
        """
        base_values, contributions = self.base_values, self.contributions
        if len(base_values) == 1:
            base_values, contributions = base_values[0], contributions[..., 0]
        return {
            "scale": self.scale,
            "base_values": base_values.tolist(),
            "contributions": [
                dict(zip(self.names, row, strict=True)) for row in contributions.tolist()
            ],
        }


@dataclass(frozen=True)
class Explainer:
    """A model ready to be explained. Safe to call from several threads."""

    scale: Scale
    names: tuple[str, ...]
    base_values: "Array"
    _contribute: "Callable[[Array], Array]"
    """(n, columns) matrix -> (n, columns, outputs) contributions."""

    @classmethod
    def load(cls, folder: Path, manifest: Manifest) -> "Explainer | None":
        """The explainer of a verified bundle; None where it holds no `explanation.npz`.

        Raises:
            BundleError: the file is damaged, or does not fit the manifest.
        """
        outputs = len(manifest.classes) if manifest.task == "multiclass_classification" else 1
        try:
            model = ensemble.load(folder)
            return None if model is None else cls.of(model, manifest.schema.names, outputs=outputs)
        except ValueError as error:
            raise BundleError(f"{folder} cannot explain its predictions: {error}") from error

    @classmethod
    def of(
        cls, model: TreeEnsemble | LinearModel, names: tuple[str, ...], *, outputs: int
    ) -> "Explainer":
        """The explainer of a model over these columns.

        Raises:
            ValueError: the model's arrays contradict each other, these columns or outputs.
        """
        if isinstance(model, TreeEnsemble):
            return cls(model.scale, names, *_trees(model, len(names), outputs))
        return cls(model.scale, names, *_linear(model, len(names), outputs))

    def explain(self, matrix: "Array") -> Explanation:
        """What moved the n rows of a (n, columns) matrix as `InputEncoding.matrix` makes it.

        Raises:
            NotExplainableError: a contribution is not finite.
        """
        import numpy as np

        contributions = self._contribute(matrix)
        if not np.isfinite(contributions).all():
            raise NotExplainableError("these values lead to a contribution that is not finite")
        return Explanation(self.scale, self.names, self.base_values, contributions)


def _trees(model: TreeEnsemble, columns: int, outputs: int) -> "Prepared":
    groves.check(model, columns=columns, outputs=outputs)
    parts = list(groves.groves(model))
    base = model.base.copy()
    for part in parts:
        base[part.outputs] += part.expected

    def contribute(matrix: "Array") -> "Array":
        import numpy as np

        result = np.zeros((columns, len(matrix), outputs))
        for part in parts:
            rows = np.arange(len(matrix))
            result[np.ix_(part.columns, rows, part.outputs)] += shapley.contributions(part, matrix)
        return result.swapaxes(0, 1)

    return base, contribute


def _linear(model: LinearModel, columns: int, outputs: int) -> "Prepared":
    """Encoded features are taken for independent: weight * (value - mean), summed by column."""
    import numpy as np

    _check(model, columns, outputs)
    features = [np.flatnonzero(model.column == column) for column in range(columns)]

    def contribute(matrix: "Array") -> "Array":
        moved = _encoded(model, matrix) - model.mean
        by_column = [moved[:, some] @ model.weights[some] for some in features]
        return np.stack(by_column, axis=1)

    return model.intercept + model.mean @ model.weights, contribute


def _encoded(model: LinearModel, matrix: "Array") -> "Array":
    """(n, features) as `LinearModel` describes it."""
    import numpy as np

    asked = matrix[:, model.column]
    missing = np.isnan(asked)
    raw = np.where(missing, model.fill, asked)
    raw = np.where(model.reads == "equals", asked == model.code, raw)
    raw = np.where(model.reads == "missing", missing, raw)
    return (raw - model.shift) / model.scaled


def _check(model: LinearModel, columns: int, outputs: int) -> None:
    import numpy as np

    features = (len(model.column),)
    each = (model.reads, model.code, model.fill, model.shift, model.scaled, model.mean)
    if any(array.shape != features for array in each):
        raise ValueError("its features are described unequally often")
    if model.weights.shape != (*features, outputs) or model.intercept.shape != (outputs,):
        raise ValueError(f"its weights are not those of {outputs} output(s)")
    if not np.isin(model.column, np.arange(columns)).all():
        raise ValueError(f"its columns are not among the {columns} of the model")
    if not np.isin(model.reads, ("value", "equals", "missing")).all():
        raise ValueError("it reads columns in a way that this program does not know")
