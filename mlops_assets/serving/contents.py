"""What rows hold, column by column: what profiles and metrics count. Knows no sketches.

Rows come as the lists of a request, or as the matrix that the model was asked with, which has the
same values as numbers: to count those costs a fraction, and spares the lists.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.serving.encoding import Categories, InputEncoding
from mlops_assets.serving.recording import Answered, combine
from mlops_assets.serving.schema import InputSchema
from mlops_assets.serving.scorer import Columns, Scores

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Words = dict[float | None, str | None]
"""Categories by their codes; that of NaN is None."""

FEW = 8
"""Rows whose lists are freed sooner than looked through."""

PREDICTION = "prediction"
PROBABILITY = "probability"


@dataclass(frozen=True)
class Contents:
    """n rows, without their order."""

    rows: int
    columns: dict[str, Any]
    """Numbers as an array of (n,) floats, NaN for missing. Others as a Counter of how often each
    value occurs, None or NaN for missing. After the features `prediction`, a label as profiles name
    it or a float, and where there are classes `probability`: of the positive class (binary) or of
    the predicted one."""


def of_lists(schema: InputSchema, columns: Columns, scores: Scores | None) -> Contents:
    """Of the lists of n rows; without scores, the features alone.

    Raises:
        ValueError, TypeError, OverflowError: a value is not of its column's type.
    """
    found: dict[str, Any] = {}
    for column in schema.columns:
        values = columns[column.name]
        found[column.name] = _numbers(values) if column.type == "numeric" else Counter(values)
    if scores is not None:
        found |= answered(scores, None)
    return Contents(len(columns[schema.names[0]]), found)


def label(value: Any) -> str:
    """A class label, or a boolean, as profiles name it."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def go_on() -> None:
    """What there is to do between two columns where nobody waits."""


class Counting:
    """The contents of answered requests, by way of the matrix where the model has one."""

    def __init__(self, schema: InputSchema, encoding: InputEncoding | None) -> None:
        import numpy as np

        self._schema = schema
        categories = encoding.categories if encoding is not None else ()
        self._words = [None if known is None else _words(known) for known in categories]
        # NaN equals nothing: of the other columns no value is unknown.
        self._unknown = np.array([known.unknown if known else np.nan for known in categories])
        self._encoded = encoding is not None and all(
            known is None or known.unknown == known.unknown for known in categories
        )

    def needs_lists(self, scores: Scores) -> bool:
        """Whether a request's lists are to be kept: the matrix does not tell what its rows hold, as
        there is none, or a category is one that training never met; or there is little to spare."""
        import numpy as np

        asked = scores.asked
        if asked is None or len(asked) < FEW or not self._encoded:
            return True
        return bool(np.count_nonzero(asked == self._unknown))

    def of(self, batches: list[Answered], *, between: Callable[[], None] = go_on) -> Contents:
        """Of all rows; `between` is called before each column.

        Raises:
            ValueError, TypeError, OverflowError: a value is not of its column's type.
        """
        import numpy as np

        if not self._encoded or any(batch.scores.asked is None for batch in batches):
            return of_lists(self._schema, *combine(batches, self._schema.names))
        asked = np.concatenate([batch.scores.asked for batch in batches]).T
        predictions = [value for batch in batches for value in batch.scores.predictions]
        said = np.concatenate([batch.scores.said for batch in batches])
        found: dict[str, Any] = {}
        for column, values, words in zip(self._schema.columns, asked, self._words, strict=True):
            between()
            if column.type == "numeric":
                found[column.name] = np.ascontiguousarray(values)
            elif words is None:
                found[column.name] = _flags(values)
            else:
                found[column.name] = _counted(values, words) or self._listed(batches, column.name)
        return Contents(len(predictions), found | answered(Scores(predictions, []), said))

    def _listed(self, batches: list[Answered], name: str) -> Counter[Any]:
        """Of a column with unknown categories: requests without any left no lists."""
        number = self._schema.names.index(name)
        known = self._words[number] or {}
        found: Counter[Any] = Counter()
        for batch in batches:
            if batch.columns is not None:
                found.update(batch.columns[name])
            elif batch.scores.asked is not None:
                found.update(_counted(batch.scores.asked[:, number], known) or {})
        return found


def _words(known: Categories) -> Words:
    """With None for a missing value where it has a code of its own."""
    words: Words = {code: word for word, code in known.codes.items()}
    if known.missing != known.unknown:
        words[_key(known.missing)] = None
    return words


def _key(code: float) -> float | None:
    """NaN is not equal to itself, and finds nothing."""
    return None if code != code else code


def _counted(codes: "Array", words: Words) -> Counter[Any] | None:
    """How often each category occurs; None where one is unknown."""
    import numpy as np

    distinct, times = np.unique(codes, return_counts=True)
    found: Counter[Any] = Counter()
    for code, count in zip(map(_key, distinct.tolist()), times.tolist(), strict=True):
        if code not in words:
            return None
        found[words[code]] = count
    return found


def _flags(values: "Array") -> Counter[Any]:
    import numpy as np

    true, missing = np.count_nonzero(values == 1), np.count_nonzero(np.isnan(values))
    found = {True: true, False: len(values) - true - missing, None: missing}
    return Counter({flag: int(times) for flag, times in found.items() if times})


def answered(scores: Scores, said: "Array | None") -> dict[str, Any]:
    """What n answers hold, by `PREDICTION` and `PROBABILITY`.

    Args:
        scores: of which the predictions alone count where `said` tells the rest.
        said: what the model says as an array, (n,) predictions or (n, classes) probabilities.
    """
    if said is None:
        said = _numbers(scores.probabilities or scores.predictions)
    if said.ndim == 1:
        return {PREDICTION: said}
    shown = said[:, -1] if said.shape[1] == 2 else said.max(axis=1)
    return {PREDICTION: Counter(map(label, scores.predictions)), PROBABILITY: shown}


def _numbers(values: list[Any]) -> "Array":
    """Floats, with NaN for what is missing."""
    import numpy as np

    return np.array(values, dtype=np.float64)
