"""A bundle, ready to score: probabilities become labels here, and golden requests are replayed.

Knows neither HTTP nor how a runtime executes the model.
"""

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.serving import bundle
from mlops_assets.serving.bundle import BundleError, Manifest
from mlops_assets.serving.encoding import EncodedModel, InputEncoding
from mlops_assets.serving.explain import Explainer, Explanation, NotExplainableError

if TYPE_CHECKING:
    import numpy as np

Columns = dict[str, list[Any]]

RUNTIMES = ("onnx", "sklearn")
OUTPUTS = ("prediction", "probability")
"""Names of the outputs in profiles; no input may bear them."""
TOLERANCE = 1e-6


class ScoringError(ValueError):
    """The model cannot score these values, though they fit the schema."""


@dataclass(frozen=True)
class Scores:
    """What the model says of n rows."""

    predictions: list[Any]
    """n labels as the data writes them, or n floats for regression."""
    probabilities: list[list[float]]
    """n rows in the order of `manifest.classes`; empty for regression."""
    asked: "np.ndarray[Any, Any] | None" = field(default=None, repr=False, compare=False)
    """(n, columns) the matrix that the model was asked with, where it is asked with one."""
    said: "np.ndarray[Any, Any] | None" = field(default=None, repr=False, compare=False)
    """What it said, as an array."""


@dataclass(frozen=True)
class Scorer:
    """A loaded model that turns columns into scores. Safe to call from several threads."""

    manifest: Manifest
    folder: Path
    digest: str
    _predict: Callable[[Columns], "np.ndarray"]
    _explainer: Explainer | None

    @classmethod
    def open(cls, folder: Path) -> "Scorer":
        """Verify and load the bundle in `folder`.

        Raises:
            BundleError: the bundle is not intact, or its model is not one this program executes.
        """
        manifest = bundle.verify(folder)
        if manifest.runtime not in RUNTIMES:
            raise BundleError(
                f"{folder} asks for runtime {manifest.runtime!r}; this program has "
                f"{', '.join(RUNTIMES)}: update mlops_assets on the endpoint"
            )
        if taken := sorted(set(OUTPUTS) & set(manifest.schema.names)):
            raise BundleError(f"input {taken[0]!r} bears the name of an output; rename the column")
        runtime = importlib.import_module(f"mlops_assets.serving.runtimes.{manifest.runtime}")
        try:
            predict = runtime.load(folder, manifest)
        except ModuleNotFoundError as error:
            raise BundleError(
                f"{folder} asks for runtime {manifest.runtime!r}, which needs {error.name}: this "
                "endpoint does not have it"
            ) from error
        explainer = Explainer.load(folder, manifest)
        return cls(manifest, folder, bundle.digest(folder), predict, explainer)

    @property
    def encoding(self) -> InputEncoding | None:
        """How requests become the matrix that the model is asked with, where it is."""
        return self._predict.encoding if isinstance(self._predict, EncodedModel) else None

    def score(self, columns: Columns) -> Scores:
        """Predictions for the n rows of `columns`, which follow the schema.

        Raises:
            ScoringError: the values are out of the model's reach.
        """
        asked, predict = None, self._predict
        try:
            if isinstance(predict, EncodedModel):
                asked = predict.encoding.matrix(columns)
                values = predict.run(asked)
            else:
                values = predict(columns)
        except (ValueError, ArithmeticError) as error:
            raise ScoringError(f"the model cannot score these values: {error}") from error
        regression = self.manifest.task == "regression"
        rows: list[Any] = values.tolist()
        if not _finite(values, rows):
            what = "prediction" if regression else "probability"
            raise ScoringError(f"these values lead to a {what} that is not finite")
        if regression:
            return Scores(rows, [], asked, values)
        return Scores(self._labels(values, rows), rows, asked, values)

    def explain(self, columns: Columns) -> Explanation:
        """What moved the predictions for the n rows of `columns`, which follow the schema.

        Raises:
            NotExplainableError: the bundle says nothing of it, or the values are out of its reach.
        """
        if self._explainer is None or not isinstance(self._predict, EncodedModel):
            raise NotExplainableError(
                "this model has no explanation; there is one for runtime 'onnx' with decision "
                "trees, forests, gradient boosting and linear models"
            )
        return self._explainer.explain(self._predict.encoding.matrix(columns))

    def self_test(self) -> None:
        """Replay the golden requests.

        Raises:
            BundleError: there are none, or an answer is not the one given at training time.
        """
        golden = bundle.read_golden(self.folder)
        if not golden.records:
            raise BundleError(f"{self.folder}: the bundle holds no golden request")
        names = self.manifest.schema.names
        try:
            columns = {name: [record[name] for record in golden.records] for name in names}
            scores = self.score(columns)
        except KeyError as error:
            raise BundleError(f"{self.folder}: a golden request lacks {error}") from error
        except ScoringError as error:
            raise BundleError(f"{self.folder}: golden requests fail: {error}") from error
        if self.manifest.task == "regression":
            expected = [[float(value)] for value in golden.predictions]
            answered = [[float(value)] for value in scores.predictions]
        else:
            expected = [list(row) for row in golden.probabilities]
            answered = scores.probabilities
            if scores.predictions != list(golden.predictions):
                raise BundleError(f"{self.folder}: golden requests are answered with other labels")
        self._compare(expected, answered)

    def _labels(self, values: "np.ndarray", rows: list[list[float]]) -> list[Any]:
        classes, threshold = self.manifest.classes, self.manifest.threshold
        if self.manifest.task == "binary_classification" and threshold is not None:
            return [classes[-1 if row[-1] >= threshold else 0] for row in rows]
        return [classes[code] for code in values.argmax(axis=1).tolist()]

    def _compare(self, expected: list[list[float]], answered: list[list[float]]) -> None:
        if [len(row) for row in expected] != [len(row) for row in answered]:
            raise BundleError(f"{self.folder}: golden requests and answers differ in number")
        for index, (before, now) in enumerate(zip(expected, answered, strict=True)):
            # Relative for the large values a regression may have, absolute for probabilities.
            off = [abs(a - b) / max(1.0, abs(a)) for a, b in zip(before, now, strict=True)]
            if max(off) > TOLERANCE:
                raise BundleError(
                    f"{self.folder}: golden request {index} is answered {now}, expected {before}: "
                    "the library versions here differ from those at training time"
                )


def _finite(values: "np.ndarray", rows: list[Any]) -> bool:
    """Whether all values are, which `rows` holds once more as a list."""
    import numpy as np

    if len(rows) == 1:  # the usual request, in a fraction of the time
        return all(map(math.isfinite, rows[0] if values.ndim > 1 else rows))
    # The sum of finite values is finite, unless it overflows.
    return math.isfinite(values.sum()) or bool(np.isfinite(values).all())
