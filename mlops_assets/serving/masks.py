"""Trees as bit masks, which score rows without a branch; NumPy alone.

After QuickScorer (Lucchese et al., SIGIR 2015): a bit stands for a leaf. The thresholds of a column
cut its values into intervals, and a table says for each interval and tree which leaves the tests of
the column leave over. All columns together leave one: unlike there, an interval also rules out the
leaves behind tests that hold, so that nothing depends on the order of the leaves.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

FEW = 16
"""Rows for which one search through the bounds of all columns is quicker than one per column."""
CHUNK = 2_000_000
"""Bytes of masks at once: what a processor's cache can hold."""


class Masks:
    """Trees ready to score rows; `serving.mask_tables` makes them. Safe to call from several
    threads."""

    def __init__(
        self,
        *,
        columns: "Array",
        bounds: "list[Array]",
        table: "Array",
        weights: "Array",
        targets: int,
    ) -> None:
        """
        Args:
            columns: (tested,) the columns of the matrix that are tested.
            bounds: of each of them its thresholds in order, the last one inf. A value lies in the
                interval of the first bound that is not below it.
            table: (intervals + tested, targets * steps) unsigned: the leaves left over, for the
                intervals of one column after the other, then for a missing value of each column.
                The trees of all targets are equally many.
            weights: (targets * steps, leaves) float64: what a leaf adds.
            targets: outputs of the sum.
        """
        import numpy as np

        self._columns = columns
        self._bounds = bounds
        self._table = table
        self._weights = weights.reshape(-1)
        # The float 1.0, which stands for the first leaf, has the exponent 1023.
        self._offsets = np.arange(len(weights)) * weights.shape[1] - 1023
        self._mantissa = np.array(52)
        self._and = np.bitwise_and.reduce  # over the first axis
        self.targets = targets
        lengths = [len(each) for each in bounds]
        tested = np.arange(len(columns))
        self._starts = np.cumsum([0, *lengths[:-1]])[:, None]
        self._numbers = tested[:, None]
        # How many columns a matrix has that is tested as it is.
        self._every = len(columns) if np.array_equal(columns, tested) else 0
        self._missing = sum(lengths) + self._numbers
        self._asked_alone = tested.astype(np.complex128)
        self._asked = self._asked_alone[:, None]
        # Complex numbers are ordered by their real parts first; NaN comes last.
        self._joined = np.empty(len(table), dtype=np.complex128)
        self._joined.real = np.concatenate([np.repeat(tested, lengths), tested])
        self._joined.imag = np.concatenate([*bounds, np.full(len(columns), np.nan)])
        self._rows = max(1, CHUNK // (len(columns) * table.shape[1] * table.itemsize))

    def __call__(self, matrix: "Array") -> "Array":
        """(n, targets) float64 of the (n, columns) rows: the sums, tree after tree."""
        import numpy as np

        rows = self._rows
        if len(matrix) <= rows:
            return self._sums(matrix)
        parts = [self._sums(matrix[at : at + rows]) for at in range(0, len(matrix), rows)]
        return np.concatenate(parts)

    def _sums(self, matrix: "Array") -> "Array":
        import numpy as np

        few = len(matrix) <= FEW
        values = matrix.T if self._every == matrix.shape[1] else matrix.T[self._columns]
        places = self._searched(values) if few else self._searched_by_column(values)
        leaf = self._leaf(self._and(self._table.take(places, axis=0)))
        added = self._weights.take(leaf).reshape(len(matrix), self.targets, -1)
        sums: Array
        if few:
            sums = added.cumsum(axis=2)[:, :, -1]
        else:
            # Over the first axis in order; over the last one NumPy would sum in pairs.
            sums = np.ascontiguousarray(np.moveaxis(added, 2, 0)).sum(axis=0)
        return sums

    def alone(self, row: "Array") -> float:
        """The sum of one row, of shape (columns,), where there is one target. It is the usual
        request: the same as above in half the time, by arrays of one dimension."""
        asked = self._asked_alone.copy()
        asked.imag = row if self._every == len(row) else row[self._columns]
        places = self._joined.searchsorted(asked)
        leaf = self._leaf(self._and(self._table.take(places, axis=0)))
        total: float = self._weights.take(leaf).cumsum().item(-1)
        return total

    def _leaf(self, left: "Array") -> "Array":
        """The place among the weights of the one bit that is set in each: the exponent of its float
        says which it is."""
        leaf: Array = left.astype(float).view(int)
        leaf >>= self._mantissa
        leaf += self._offsets
        return leaf

    def _searched(self, values: "Array") -> "Array":
        """(tested, n) rows of the table for the (tested, n) values."""
        asked = self._asked.repeat(values.shape[1], axis=1)
        asked.imag = values
        return self._joined.searchsorted(asked)

    def _searched_by_column(self, values: "Array") -> "Array":
        """The same."""
        import numpy as np

        places = np.empty(values.shape, dtype=np.intp)
        for number, bounds in enumerate(self._bounds):
            places[number] = bounds.searchsorted(values[number])
        places += self._starts
        return np.where(np.isnan(values), self._missing, places)
