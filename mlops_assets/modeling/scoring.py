"""Rows of a training set through a serving bundle, as an endpoint would score them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.gateways.records import Json
from mlops_assets.modeling.folds import LABEL
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.modeling.threads import threads_for
from mlops_assets.serving.schema import InputSchema

if TYPE_CHECKING:
    import pandas as pd

    from mlops_assets.serving.scorer import Scorer


def columns(rows: "pd.DataFrame", schema: InputSchema) -> dict[str, list[Any]]:
    """Rows as the JSON columns a request would hold: null for missing, booleans as booleans."""
    found = {}
    for column in schema.columns:
        values = rows[column.name].astype(object).where(rows[column.name].notna(), None).tolist()
        if column.type == "boolean":
            values = [None if value is None else bool(value) for value in values]
        elif column.type == "numeric" and column.integer:
            values = [int(v) if v is not None and v == int(v) else v for v in values]
        found[column.name] = values
    return found


def records(rows: "pd.DataFrame", schema: InputSchema) -> list[Json]:
    """Rows as the JSON records a request would hold."""
    by_column = columns(rows, schema)
    return [dict(zip(by_column, row, strict=True)) for row in zip(*by_column.values(), strict=True)]


@dataclass(frozen=True)
class Opened:
    """A bundle loaded as an endpoint loads it."""

    scorer: "Scorer"

    def outcome(self, rows: "pd.DataFrame") -> Outcome:
        """What the bundle says of labelled rows, with labels encoded as in its classes."""
        import numpy as np

        requests = columns(rows, self.scorer.manifest.schema)
        with threads_for(len(rows)):
            scores = self.scorer.score(requests)
        truth = rows[LABEL].to_numpy(dtype=np.float64)
        if self.scorer.manifest.task == "regression":
            return Outcome(truth, np.asarray(scores.predictions, dtype=np.float64), None)
        codes = {label: code for code, label in enumerate(self.scorer.manifest.classes)}
        predicted = np.array([codes[label] for label in scores.predictions], dtype=np.float64)
        return Outcome(truth, predicted, np.asarray(scores.probabilities))


def opened(folder: Path) -> Opened:
    """Verify, load and self-test a bundle.

    Raises:
        BundleError: it is not intact, or does not answer as it did at training time.
    """
    from mlops_assets.serving.scorer import Scorer

    scorer = Scorer.open(folder)
    scorer.self_test()
    return Opened(scorer)


@contextmanager
def fetched(registry: ModelRegistry, uri: str) -> Iterator[Opened]:
    """The bundle behind an MLflow URI, opened from a temporary copy."""
    with TemporaryDirectory() as folder:
        yield opened(registry.download(uri, Path(folder)))
