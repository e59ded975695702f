"""Parquet: one file, or a folder of files with the same columns. Types are kept."""

import re
from typing import TYPE_CHECKING, Any, Literal

from mlops_assets.features.sources.base import Source, SourceContext, SourceError
from mlops_assets.features.sources.paths import TablePath, locate, open_filesystem, reading
from mlops_assets.features.sources.tables import deliver, refuse_duplicates

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SUFFIXES = (".parquet", ".parq", ".pq")
# What pandas calls an index without a name when it writes one: row numbers of somebody's session.
NAMELESS_INDEX = re.compile(r"__index_level_\d+__")


class Parquet(Source):
    """A Parquet file, or a folder of them."""

    kind: Literal["parquet"]
    path: TablePath
    """The file or folder: relative to the folder of this YAML, absolute, or `s3://bucket/key`. The
    files of a folder are read in the order of their names; folders called `key=value` add a
    column."""

    def location(self, context: SourceContext) -> str:
        return locate(self.path, context)

    def called(self) -> tuple[str, ...]:
        return (self.path,)

    def read(self, context: SourceContext) -> "pd.DataFrame":
        where = self.location(context)
        with reading(where):
            filesystem = open_filesystem(where, context)
            files = _files(filesystem, where)
            table = _read(files, filesystem, where)
        for field in table.schema:
            if _is_nested(field.type):
                raise SourceError(
                    f"{where}: column {field.name!r} holds {field.type}; a source delivers "
                    "numbers, text, booleans and times: leave the column out, or flatten it"
                )
        kept = [name for name in table.column_names if not NAMELESS_INDEX.fullmatch(name)]
        frame = table.select(kept).to_pandas(ignore_metadata=True, date_as_object=False)
        return deliver(frame, where)


def _files(filesystem: Any, where: str) -> list[str]:
    """The data files, by name; hidden ones (`_SUCCESS`, `.crc`) are other programs' notes."""
    if filesystem.isfile(where):
        return [filesystem._strip_protocol(where)]
    root = filesystem._strip_protocol(where)
    found = sorted(filesystem.find(root))
    if not found and not filesystem.exists(root):
        raise FileNotFoundError(where)
    files = [
        path
        for path in found
        if path.endswith(SUFFIXES)
        and not any(part.startswith(("_", ".")) for part in path[len(root) :].split("/"))
    ]
    if not files:
        raise SourceError(f"{where} holds no file that ends in {', '.join(SUFFIXES)}")
    return files


def _read(files: list[str], filesystem: Any, where: str) -> "pa.Table":
    """All files as one table. Numbers of different width meet in the wider type."""
    import pyarrow as pa
    import pyarrow.dataset as ds
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    options: dict[str, Any] = {
        "filesystem": PyFileSystem(FSSpecHandler(filesystem)),
        "format": "parquet",
        "partitioning": ds.partitioning(flavor="hive"),
        "partition_base_dir": filesystem._strip_protocol(where),
    }
    schemas = [_schema(file, options["filesystem"]) for file in files]
    refuse_duplicates(schemas[0].names, files[0])
    for file, schema in zip(files, schemas, strict=True):
        if differing := sorted(set(schema.names) ^ set(schemas[0].names)):
            raise SourceError(
                f"{file} and {files[0]} differ in the columns {', '.join(differing)}; "
                "all files of a folder need the same columns"
            )
    try:
        partitions = ds.dataset(files, **options).schema
        merged = pa.unify_schemas([partitions, *schemas], promote_options="permissive")
        return ds.dataset(files, schema=merged, **options).to_table()
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise SourceError(f"{where} cannot be read as one table: {error}") from error


def _schema(file: str, filesystem: Any) -> "pa.Schema":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(file, filesystem=filesystem)
    except pa.ArrowInvalid as error:
        raise SourceError(f"{file} is not a Parquet file: {error}") from error


def _is_nested(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind))
