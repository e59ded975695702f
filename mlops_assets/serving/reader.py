"""Reads request bodies at speed; what it cannot read, `requests` reads or refuses.

The schema becomes types that msgspec decodes and checks in one pass. Both ways give the same
columns for every body that both accept.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from mlops_assets.serving import requests
from mlops_assets.serving.schema import InputSchema
from mlops_assets.serving.values import Form

TYPES: dict[str, Any] = {
    "numeric": float | None,
    "boolean": bool | Literal[0, 1] | None,
    "categorical": str | None,
}
ENTITY = str | int | float | None


class Header(Struct, forbid_unknown_fields=True, kw_only=True):
    """Of a table: in which order its rows are to be read."""

    columns: tuple[str, ...]
    index: Any = None


class Split(Header):
    """A table, its rows still to be read."""

    data: msgspec.Raw


SPLIT = b'{"dataframe_split"'
"""How a body begins that holds one."""


class Rows(Struct, frozen=True):
    """n rows to score."""

    columns: dict[str, list[Any]]
    """`name -> n values`, in the order of the schema and of its types; None for missing."""
    entities: list[Any] | None
    """Whom the n rows are about, where the caller said so."""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


class Reader:
    """Bodies for one schema, as rows.

    Every method raises RequestError: 400 when the body does not fit the schema, 413 when it has
    more than `max_rows` rows.
    """

    def __init__(self, schema: InputSchema, *, max_rows: int, entity: str | None = None) -> None:
        self._form = Form(schema, max_rows, entity)
        self._names = schema.names
        self._entity = entity
        self._fast = _Types(schema, entity)
        self._exact: dict[str, Any] = {"max_rows": max_rows, "entity": entity}

    def json(self, body: bytes) -> Rows:
        """An object in one of the dialects of MLflow."""
        try:
            columns = self._checked(self._fast.json(body))
        except (ValueError, RecursionError):
            columns = requests.parse_json(body, self._form.schema, **self._exact)
        return self._rows(columns)

    def lines(self, body: bytes) -> Rows:
        """JSON lines: a record each."""
        try:
            columns = self._checked(self._fast.lines(body))
        except (ValueError, RecursionError):
            columns = requests.parse_lines(body, self._form.schema, **self._exact)
        return self._rows(columns)

    def csv(self, body: bytes, *, header: bool | None = None) -> Rows:
        """CSV with or without a header line; None looks whether there is one."""
        return self._rows(requests.parse_csv(body, self._form.schema, header=header, **self._exact))

    def table(self, given: dict[str, list[Any]]) -> Rows:
        """Columns whose values are still to be checked."""
        self._form.check_table(given)
        try:
            columns = self._fast.table(given)
        except ValueError:
            columns = self._form.typed(given.get)
        return self._rows(columns)

    def _checked(self, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
        self._form.check_rows(len(columns[self._names[0]]))
        return columns

    def _rows(self, columns: dict[str, list[Any]]) -> Rows:
        entities = columns.pop(self._entity, None) if self._entity is not None else None
        return Rows(columns, entities)


class _Types:
    """The schema as types of msgspec. Methods raise ValueError for what they cannot read."""

    def __init__(self, schema: InputSchema, entity: str | None) -> None:
        self._names = schema.names if entity is None else (*schema.names, entity)
        self._types = {column.name: TYPES[column.type] for column in schema.columns}
        self._booleans = [c.name for c in schema.columns if c.type == "boolean"]
        if entity is not None:
            self._types[entity] = ENTITY
        self._entity = entity
        record = self._struct("Record", lambda kind: kind)
        self._columns = self._struct("Columns", lambda kind: list[kind])  # type: ignore[valid-type]
        records = list[record]  # type: ignore[valid-type]
        either = records | self._columns | UnsetType
        body = msgspec.defstruct(
            "Body",
            [
                ("dataframe_split", Split | UnsetType, UNSET),
                ("dataframe_records", records | UnsetType, UNSET),
                ("instances", either, UNSET),
                ("inputs", either, UNSET),
            ],
            forbid_unknown_fields=True,
        )
        self._body = msgspec.json.Decoder(body)
        self._record = msgspec.json.Decoder(record)
        self._decoders = lru_cache(16)(self._decoders_of)
        self._before: tuple[tuple[str, ...], msgspec.json.Decoder[Any]] | None = None
        """The header of a table that was read, and what reads another one with it."""

    def json(self, body: bytes) -> dict[str, list[Any]]:
        if self._before is not None and body.startswith(SPLIT):
            columns = self._as_before(body, *self._before)
            if columns is not None:
                return columns
        given = [v for v in msgspec.structs.astuple(self._body.decode(body)) if v is not UNSET]
        if len(given) != 1:
            raise ValueError("one dialect is expected")
        content = given[0]
        if type(content) is list:
            return self._from_records(content)
        if type(content) is Split:
            return self._from_split(content)
        return self._from_columns(content)

    def lines(self, body: bytes) -> dict[str, list[Any]]:
        return self._from_records(self._record.decode_lines(body))

    def table(self, given: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return self._from_columns(msgspec.convert(given, self._columns))

    def _from_records(self, records: list[Any]) -> dict[str, list[Any]]:
        return self._named(self._names, [msgspec.structs.astuple(record) for record in records])

    def _from_split(self, split: Split) -> dict[str, list[Any]]:
        rows, whole = self._decoders(split.columns)
        columns = self._from_rows(split.columns, rows.decode(split.data))
        self._before = split.columns, whole
        return columns

    def _as_before(
        self, body: bytes, header: tuple[str, ...], whole: "msgspec.json.Decoder[Any]"
    ) -> dict[str, list[Any]] | None:
        """The columns of a table whose header is that of the table before, in one pass."""
        try:
            split = whole.decode(body).dataframe_split
        except ValueError:
            return None
        return self._from_rows(header, split.data) if split.columns == header else None

    def _from_rows(
        self, header: tuple[str, ...], rows: list[tuple[Any, ...]]
    ) -> dict[str, list[Any]]:
        columns = self._named(header, rows)
        if header == self._names:
            return columns
        return {name: columns[name] for name in self._names if name in columns}

    def _from_columns(self, content: Any) -> dict[str, list[Any]]:
        columns = dict(zip(self._names, msgspec.structs.astuple(content), strict=True))
        if self._entity is not None and columns[self._entity] is UNSET:
            del columns[self._entity]
        if len({len(values) for values in columns.values()}) != 1:
            raise ValueError("columns differ in length")
        return self._finished(columns)

    def _named(self, names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
        if not rows:
            raise ValueError("no rows")
        if len(rows) == 1:
            return self._finished({n: [v] for n, v in zip(names, rows[0], strict=True)})
        return self._finished(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))

    def _finished(self, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for name in self._booleans:
            columns[name] = [v if v is None else bool(v) for v in columns[name]]
        if self._entity is not None and self._entity in columns:
            values = columns[self._entity]
            if all(v is UNSET for v in values):
                del columns[self._entity]
            else:
                columns[self._entity] = [None if v is UNSET else v for v in values]
        return columns

    def _decoders_of(self, header: tuple[str, ...]) -> "tuple[msgspec.json.Decoder[Any], ...]":
        """Of the rows below a header, and of the whole body."""
        known = set(header)
        if len(known) != len(header) or {*self._names} - {self._entity} != known - {self._entity}:
            raise ValueError("header differs from the schema")
        rows: Any = list[tuple[tuple(self._types[name] for name in header)]]  # type: ignore[misc]
        table = msgspec.defstruct("Table", [("data", rows)], bases=(Header,))
        body = msgspec.defstruct("Body", [("dataframe_split", table)], forbid_unknown_fields=True)
        return msgspec.json.Decoder(rows), msgspec.json.Decoder(body)

    def _struct(self, title: str, of: Callable[[Any], Any]) -> type[Struct]:
        # A field's name can be anything, an attribute's cannot.
        attributes = {f"f{index}": name for index, name in enumerate(self._names)}
        fields: list[Any] = [
            (attribute, of(self._types[name]) | UnsetType, UNSET)
            if name == self._entity
            else (attribute, of(self._types[name]))
            for attribute, name in attributes.items()
        ]
        return msgspec.defstruct(
            title, fields, rename=attributes, forbid_unknown_fields=True, gc=False
        )
