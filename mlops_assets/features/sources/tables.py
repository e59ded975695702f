"""The last step of every source: a table is checked and put into the shape the contract promises.

Knows pandas and the contract, no particular source.
"""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mlops_assets.features.sources.base import SourceError

if TYPE_CHECKING:
    import pandas as pd


def refuse_duplicates(names: Iterable[str], where: str) -> None:
    """Refuse column names that occur twice, before a library renames or drops one of them.

    Raises:
        SourceError: naming the columns.
    """
    counts = Counter(names)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise SourceError(
            f"{where}: {', '.join(repr(name) for name in twice)} names more than one column; "
            "give each column its own name"
        )


def deliver(frame: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """`frame` as the contract promises it: unique names, RangeIndex, one row or more, scalar cells.

    Categories become their values, decimals floats, dates timestamps, UUIDs text.

    Raises:
        SourceError: no rows, no columns, duplicate or nameless columns, or cells that are no
            scalars.
    """
    import pandas as pd

    names = [str(name) for name in frame.columns]
    if not names:
        raise SourceError(f"{where} has no columns")
    if nameless := [position for position, name in enumerate(names, 1) if not name.strip()]:
        raise SourceError(
            f"{where}: column {', '.join(map(str, nameless))} of {len(names)} has no name; "
            "name it in the source"
        )
    refuse_duplicates(names, where)
    if frame.empty:
        raise SourceError(f"{where} has columns but no rows")
    columns = {
        name: _plain(frame.iloc[:, position], name, where) for position, name in enumerate(names)
    }
    return pd.DataFrame(columns).reset_index(drop=True)


def _plain(column: "pd.Series", name: str, where: str) -> "pd.Series":
    """The column with plain scalars in it."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.astype(column.cat.categories.dtype if not column.hasnans else object)
    if column.dtype != object:
        return column
    inferred = pd.api.types.infer_dtype(column, skipna=True)
    if inferred == "string":
        return column
    if inferred == "decimal":
        return column.astype(float)
    if inferred == "date":
        return pd.to_datetime(column)
    kinds = {type(value).__name__ for value in column.dropna()}
    if kinds == {"UUID"}:
        return column.map(str, na_action="ignore")
    if strange := sorted(
        kinds & {"list", "tuple", "dict", "set", "ndarray", "bytes", "memoryview"}
    ):
        raise SourceError(
            f"{where}: column {name!r} holds {' and '.join(strange)}; a source delivers numbers, "
            "text, booleans and times: leave the column out, or flatten it"
        )
    return column
