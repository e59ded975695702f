"""Profiles of large tables: chunk by chunk in flat memory, and by several processes, merged.

Columns are counted as Arrow arrays, which have the same values as the lists of a request and cost a
fraction of them. What comes out is the profile an endpoint makes of the same rows.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from mlops_assets.gateways.table_files import TableFile, TableFiles
from mlops_assets.serving.contents import Contents
from mlops_assets.serving.profile import Profile
from mlops_assets.serving.schema import ColumnType, InputSchema

if TYPE_CHECKING:
    import pandas as pd

Part = TypeVar("Part")

CHUNK_CELLS = 2_000_000
"""Values that are counted at once: 16 MB of numbers."""
PARALLEL_ROWS = 2_000_000
"""Rows from which another process is worth the second or two it takes to start."""


@dataclass(frozen=True)
class Begun:
    """What a profile is of, before it has rows."""

    when: datetime
    """Start of its window, aware."""
    metadata: dict[str, str]

    def profile(self) -> Profile:
        return Profile(InputSchema(()), when=self.when, metadata=self.metadata)


@dataclass(frozen=True)
class Rows:
    """Some of the rows of a Parquet file, or all of another one."""

    file: TableFile
    groups: tuple[int, ...] | None
    """Row groups; None for the whole file."""


def profiled(
    parts: Iterable[Part],
    read: Callable[[Part], Iterable[Contents]],
    begun: Begun,
    *,
    workers: int,
) -> tuple[Profile, dict[int, str]]:
    """One profile of all parts; and by number those that cannot be read, with the reason: nothing
    of these is in it.

    Args:
        parts: of which each is read by one process, and few are held at a time.
        read: the contents of a part, chunk by chunk; raises ValueError where it cannot be read.
        begun: what the profile is of.
        workers: processes; with 1 it is this one.
    """
    whole, unreadable = begun.profile(), dict[int, str]()
    for number, one in enumerate(_each(parts, partial(_of_part, read=read, begun=begun), workers)):
        if isinstance(one, str):
            unreadable[number] = one
            continue
        try:
            whole.merge(one)
        except ValueError as error:  # a column is of another type than in the parts before
            unreadable[number] = str(error)
    return whole, unreadable


def counted(table: Any, schema: InputSchema) -> Contents:
    """What the columns of the schema hold in an Arrow table or batch of n rows.

    Raises:
        ValueError, TypeError: a value is not of its column's type.
    """
    columns = {one.name: content(table.column(one.name), one.type) for one in schema.columns}
    return Contents(table.num_rows, columns)


def content(values: Any, kind: ColumnType) -> Any:
    """What an Arrow array of n values holds, as `Contents` has it.

    Raises:
        ValueError, TypeError: a value is not of the type.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if kind == "numeric":
        numbers = values.cast(pa.float64(), safe=False)
        return numbers.to_numpy() if isinstance(numbers, pa.ChunkedArray) else _array(numbers)
    if kind == "boolean":
        values = values.cast(pa.bool_())
    pairs = pc.value_counts(values)
    return Counter(dict(zip(pairs.field(0).to_pylist(), pairs.field(1).to_pylist(), strict=True)))


def of_frame(frame: "pd.DataFrame", schema: InputSchema) -> Contents:
    """What the columns of the schema hold in a frame of n rows.

    Raises:
        ValueError, TypeError: a value is not of its column's type.
    """
    import pyarrow as pa

    return counted(pa.Table.from_pandas(frame[[*schema.names]], preserve_index=False), schema)


def chunks_of(frame: "pd.DataFrame") -> Iterator["pd.DataFrame"]:
    """A frame in pieces that are counted at once."""
    size = _chunk_rows(len(frame.columns))
    return (frame.iloc[start : start + size] for start in range(0, len(frame), size))


def parts_of(files: TableFiles, file: TableFile) -> list[Rows]:
    """A table in pieces that processes may share.

    Raises:
        DataStoreError: it cannot be read as a table.
    """
    groups = files.row_groups(file)
    return [Rows(file, None)] if groups is None else [Rows(file, (each,)) for each in range(groups)]


def rows_of(part: Rows, *, files: TableFiles, schema: InputSchema) -> Iterator[Contents]:
    """What the columns of the schema hold in some rows of a table, chunk by chunk.

    Raises:
        ValueError: they cannot be read, or a value is not of its column's type.
    """
    types = {column.name: column.type for column in schema.columns}
    size = _chunk_rows(len(types))
    for batch in files.batches(part.file, types, rows=size, groups=part.groups):
        yield counted(batch, schema)


def processes(rows: int = PARALLEL_ROWS) -> int:
    """How many processes so many rows are worth."""
    import joblib

    return int(joblib.cpu_count()) if rows >= PARALLEL_ROWS else 1


def _chunk_rows(columns: int) -> int:
    return max(1, CHUNK_CELLS // max(1, columns))


def _array(numbers: Any) -> Any:
    return numbers.to_numpy(zero_copy_only=False)


def _each(
    parts: Iterable[Part], make: Callable[[Part], Profile | str], workers: int
) -> Iterable[Profile | str]:
    """In the order of the parts."""
    if workers == 1:
        return map(make, parts)
    import joblib

    tasks = (joblib.delayed(make)(part) for part in parts)
    done: Iterable[Profile | str] = joblib.Parallel(n_jobs=workers, return_as="generator")(tasks)
    return done


def _of_part(
    part: Part, *, read: Callable[[Part], Iterable[Contents]], begun: Begun
) -> Profile | str:
    """Or why it cannot be read."""
    profile = begun.profile()
    try:
        for contents in read(part):
            profile.add(contents)
    except ValueError as error:  # of which pyarrow's errors are kinds
        return str(error) or repr(error)
    return profile
