"""Proves that a bundle predicts what its estimator does, also on rows made to find a difference."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.gateways.records import Json
from mlops_assets.modeling.folds import LABEL
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.modeling.scoring import columns, opened
from mlops_assets.modeling.threads import threads_for
from mlops_assets.serving import ensemble
from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.schema import InputSchema
from mlops_assets.training import adversarial
from mlops_assets.training.adversarial import Columns

if TYPE_CHECKING:
    import pandas as pd

    from mlops_assets.serving.scorer import Scorer

Answered = Callable[["pd.DataFrame"], Outcome]
"""What the estimator says of rows with a label."""


def prove(folder: Path, rows: "pd.DataFrame", answered: Answered) -> Json:
    """Load the bundle as an endpoint does, and compare it with the estimator.

    Args:
        folder: of the bundle.
        rows: held-out rows.
        answered: the estimator.

    Returns:
        `rows` compared, `max_difference` (of probabilities, or of values relative to each value
        above one), `label_flips`, `refused` rows that the estimator itself does not score, and the
        number of rows of each kind.

    Raises:
        BundleError: it does not load, or refuses rows that the estimator scores.
    """
    scorer = opened(folder).scorer
    schema = scorer.manifest.schema
    held_out = columns(rows, schema)
    kinds = {
        "held_out": held_out,
        **adversarial.rows(schema, ensemble.load(folder), held_out),
    }
    found: Json = {"rows": 0, "max_difference": 0.0, "label_flips": 0, "refused": 0}
    for kind, asked in kinds.items():
        count = len(asked[schema.names[0]])
        for part, expected in scored(schema, asked, answered):
            difference, flips = _compare(scorer, part, expected)
            found["rows"] += len(expected)
            found["max_difference"] = max(found["max_difference"], difference)
            found["label_flips"] += flips
            count -= len(expected)
        found[f"{kind}_rows"] = len(asked[schema.names[0]]) - count
        found["refused"] += count
    return found


def scored(
    schema: InputSchema, asked: Columns, answered: Answered
) -> list[tuple[Columns, Outcome]]:
    """The rows that the estimator scores, with what it says; halved until a refused row stands
    alone and is left out."""
    import numpy as np

    from mlops_assets.serving.runtimes import sklearn as runtime

    count = len(asked[schema.names[0]])
    if not count:
        return []
    table = runtime.frame(schema, asked).assign(**{LABEL: 0.0})
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            outcome = answered(table)
    except ValueError:
        outcome = None
    if outcome is not None and _finite(outcome):
        return [(asked, outcome)]
    if count == 1:
        return []
    halves = slice(count // 2), slice(count // 2, None)
    return [
        each
        for half in halves
        for each in scored(schema, {name: v[half] for name, v in asked.items()}, answered)
    ]


def _finite(outcome: Outcome) -> bool:
    import numpy as np

    values = outcome.predicted if outcome.probabilities is None else outcome.probabilities
    return bool(np.isfinite(values).all())


def _compare(scorer: "Scorer", asked: Columns, expected: Outcome) -> tuple[float, int]:
    """Largest difference, and how many labels differ."""
    import numpy as np

    from mlops_assets.serving.scorer import ScoringError

    try:
        with threads_for(len(expected)):
            scores = scorer.score(asked)
    except ScoringError as error:
        raise BundleError(f"the bundle refuses rows that the estimator scores: {error}") from error
    if expected.probabilities is None:
        off = np.abs(np.asarray(scores.predictions) - expected.predicted)
        return float((off / np.maximum(1.0, np.abs(expected.predicted))).max()), 0
    codes = {label: code for code, label in enumerate(scorer.manifest.classes)}
    labels = np.array([codes[label] for label in scores.predictions])
    off = np.abs(np.asarray(scores.probabilities) - expected.probabilities)
    return float(off.max()), int((labels != expected.predicted).sum())
