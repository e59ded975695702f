"""Mergeable sketches of what a model was asked and what it answered, in whylogs' own format.

Endpoint and platform build profiles with the same code. It feeds whylogs' sketches column by
column and does not load whylogs, pandas or scipy; reading what was written is the platform's, with
whylogs. A profile is not safe to share between threads; it may be sent to another process.
"""

import copy
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from mlops_assets.serving import profile_format as form
from mlops_assets.serving.contents import Contents, go_on, label, of_lists
from mlops_assets.serving.schema import InputSchema
from mlops_assets.serving.scorer import Columns, Scores

if TYPE_CHECKING:
    import numpy as np

# The sizes whylogs gives its sketches; sketches of one size merge without loss.
_KLL_K = 1024
_HLL_LG_K = 12
_FREQUENT_LG_K = 10
_FREQUENT_LENGTH = 128
"""Characters by which frequent words are told apart."""


class Profile:
    """The profile of one window, to which rows are added.

    Attributes:
        rows: how many were added.
    """

    def __init__(
        self, schema: InputSchema, *, when: datetime, metadata: Mapping[str, str] | None = None
    ) -> None:
        """`when` (aware) is the start of the window."""
        self.rows = 0
        self._schema = schema
        self._when = when
        self._created = time.time()
        self._metadata = metadata or {}
        self._columns: dict[str, _Sketches] = {}

    def track(self, columns: Columns, scores: Scores | None) -> None:
        """Add n rows: features by their name, outputs as `prediction` and `probability`.

        Numeric values are tracked as float, booleans as "true" or "false", categories as str. A
        label is tracked as str, a regression's prediction as float. `probability` is that of the
        positive class (binary) or of the predicted class (several); regression has none. Without
        scores, the features alone are added.

        Raises:
            ValueError, TypeError, OverflowError: a value is not of its column's type; nothing was
                added.
        """
        self.add(of_lists(self._schema, columns, scores))

    def add(self, contents: Contents, *, between: Callable[[], None] = go_on) -> None:
        """Add what n rows hold; `between` is called before each column."""
        if contents.rows == 0:
            return
        for name, content in contents.columns.items():
            between()
            if name not in self._columns:
                self._columns[name] = _Words() if isinstance(content, Counter) else _Numbers()
            self._columns[name].add(content)
        self.rows += contents.rows

    def merge(self, other: "Profile") -> None:
        """Add the rows of another profile, of whatever columns, as whylogs merges two.

        Raises:
            ValueError: a column is of numbers in one and of words in the other; nothing was added.
        """
        for name in self._columns.keys() & other._columns.keys():
            if type(self._columns[name]) is not type(other._columns[name]):
                raise ValueError(
                    f"column {name!r} is of numbers in one profile, of words in the other"
                )
        for name, column in other._columns.items():
            if name in self._columns:
                self._columns[name].merge(column)
            else:
                self._columns[name] = copy.deepcopy(column)
        self.rows += other.rows

    def serialize(self) -> bytes:
        """The profile as whylogs writes and reads it."""
        return form.encode(
            {name: column.components() for name, column in self._columns.items()},
            when_ms=int(self._when.timestamp() * 1000),
            created_ms=int(self._created * 1000),
            metadata=self._metadata,
        )


class _Sketches(Protocol):
    """One column: values go in, whylogs' metric components come out."""

    def add(self, content: Any) -> None: ...

    def merge(self, other: Any) -> None: ...

    def components(self) -> dict[str, bytes]: ...


class _Numbers:
    """What whylogs keeps of a column of floats."""

    def __init__(self) -> None:
        import whylogs_sketching

        self._n = self._missing = self._infinite = 0
        self._mean = self._m2 = 0.0
        self._kll = whylogs_sketching.kll_doubles_sketch(k=_KLL_K)
        self._hll = whylogs_sketching.hll_sketch(_HLL_LG_K)

    def add(self, content: "np.ndarray") -> None:
        import numpy as np

        absent = np.isnan(content)
        missing = int(np.count_nonzero(absent))
        values = content[~absent] if missing else content
        self._n += len(content)
        self._missing += missing
        if len(values) == 0:
            return
        self._infinite += int(np.count_nonzero(np.isinf(values)))
        with np.errstate(invalid="ignore", over="ignore"):  # infinite values have no variance
            mean = values.sum() / len(values)
            differences = values - mean
            self._spread(len(values), float(mean), float(differences @ differences))
        self._kll.update(array=values)
        self._hll.update_np(values)

    def _spread(self, n: int, mean: float, m2: float) -> None:
        """Mean and sum of squared differences with n more values (Chan's parallel algorithm)."""
        before = self._kll.get_n()
        both = before + n
        delta = mean - self._mean
        self._m2 += m2 + delta * delta * before * n / both
        self._mean = (self._mean * before + mean * n) / both

    def merge(self, other: "_Numbers") -> None:
        self._n += other._n
        self._missing += other._missing
        self._infinite += other._infinite
        if n := other._kll.get_n():
            self._spread(n, other._mean, other._m2)
            self._kll.merge(other._kll)
            self._hll = _united(self._hll, other._hll)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kll": self._kll.serialize(), "_hll": _bytes_of(self._hll)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from whylogs_sketching import hll_sketch, kll_doubles_sketch

        self.__dict__ |= state
        self._kll = kll_doubles_sketch.deserialize(state["_kll"])
        self._hll = hll_sketch.deserialize(state["_hll"])

    def components(self) -> dict[str, bytes]:
        types = {"fractional": self._n - self._missing}
        counts = {"null": self._missing, "nan": self._missing, "inf": self._infinite}
        return {
            **_counts(self._n, counts, types),
            "cardinality/hll": form.sketch(form.HLL, _bytes_of(self._hll)),
            **_distribution(self._kll, self._mean, self._m2),
        }


class _Words:
    """What whylogs keeps of a column of strings."""

    def __init__(self) -> None:
        import whylogs_sketching

        self._n = self._missing = self._nan = 0
        self._hll = whylogs_sketching.hll_sketch(_HLL_LG_K)
        self._frequent = whylogs_sketching.frequent_strings_sketch(_FREQUENT_LG_K)

    def add(self, content: Counter[Any]) -> None:
        words = []
        for value, times in content.items():
            self._n += times
            if value is None or value != value:
                self._missing += times
                self._nan += times if value is not None else 0
            else:
                word = label(value).encode("utf-8", "replace").decode()  # lone surrogates too
                words.append(word)
                self._frequent.update(word[:_FREQUENT_LENGTH], times)
        self._hll.update_str_list(words)

    def merge(self, other: "_Words") -> None:
        self._n += other._n
        self._missing += other._missing
        self._nan += other._nan
        self._frequent.merge(other._frequent)
        self._hll = _united(self._hll, other._hll)

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "_frequent": self._frequent.serialize(),
            "_hll": _bytes_of(self._hll),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        from whylogs_sketching import frequent_strings_sketch, hll_sketch

        self.__dict__ |= state
        self._frequent = frequent_strings_sketch.deserialize(state["_frequent"])
        self._hll = hll_sketch.deserialize(state["_hll"])

    def components(self) -> dict[str, bytes]:
        import whylogs_sketching

        counts = {"null": self._missing, "nan": self._nan}
        return {
            **_counts(self._n, counts, {"string": self._n - self._missing}),
            "cardinality/hll": form.sketch(form.HLL, _bytes_of(self._hll)),
            # whylogs keeps one for words too, always empty: objects may be decimals.
            **_distribution(whylogs_sketching.kll_doubles_sketch(k=_KLL_K), 0.0, 0.0),
            "frequent_items/frequent_strings": form.sketch(
                form.FREQUENT_ITEMS, self._frequent.serialize()
            ),
        }


def _united(one: Any, other: Any) -> Any:
    """A sketch of the distinct values of both."""
    import whylogs_sketching

    union = whylogs_sketching.hll_union(_HLL_LG_K)
    union.update(one)
    union.update(other)
    return union.get_result(one.tgt_type)


def _bytes_of(hll: Any) -> bytes:
    return bytes(hll.serialize_compact())


def _counts(n: int, counts: dict[str, int], types: dict[str, int]) -> dict[str, bytes]:
    every = {f"counts/{name}": 0 for name in ("null", "nan", "inf", "true")}
    every |= {
        f"types/{name}": 0
        for name in ("integral", "fractional", "boolean", "string", "object", "tensor")
    }
    every |= {"counts/n": n, **{f"counts/{name}": value for name, value in counts.items()}}
    every |= {f"types/{name}": value for name, value in types.items()}
    return {path: form.integral(value) for path, value in every.items()}


def _distribution(kll: Any, mean: float, m2: float) -> dict[str, bytes]:
    return {
        "distribution/kll": form.sketch(form.KLL, kll.serialize()),
        "distribution/mean": form.fractional(mean),
        "distribution/m2": form.fractional(m2),
    }
