"""Request bodies in the dialects of MLflow and SageMaker, made into columns that fit the schema.

Pure. Knows neither HTTP nor the model. Every refusal names the field, the row and what is allowed.
A JSON key that stands twice counts with its last value.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from mlops_assets.serving.refusals import RequestError, bad, kind, shown
from mlops_assets.serving.schema import InputSchema
from mlops_assets.serving.values import Form, Text, fits

DIALECTS = ("dataframe_split", "dataframe_records", "inputs", "instances")


def parse_json(
    body: bytes, schema: InputSchema, *, max_rows: int, entity: str | None = None
) -> dict[str, list[Any]]:
    """The columns of a JSON body: `name -> n values`, in the order of the schema.

    Numeric values come as float, booleans as bool, categories as str, missing ones as None. The
    column of `entity` follows when a row has it.

    Raises:
        RequestError: 400 when the body does not fit the schema, 413 when it has too many rows.
    """
    content = decode_json(body)
    if not isinstance(content, dict):
        raise bad("bad_dialect", f"the body is a JSON {kind(content)}; {_allowed_dialects()}")
    if len(content) != 1 or (dialect := next(iter(content))) not in DIALECTS:
        keys = ", ".join(map(shown, content)) or "none"
        raise bad("bad_dialect", f"the body has the keys {keys}; {_allowed_dialects()}")
    given = content[dialect]
    form = Form(schema, max_rows, entity)
    if dialect == "dataframe_split":
        return _from_split(given, form)
    if dialect != "dataframe_records" and isinstance(given, dict):
        return _from_columns(given, form, where=dialect)
    return _from_records(given, form, where=dialect)


def parse_lines(
    body: bytes, schema: InputSchema, *, max_rows: int, entity: str | None = None
) -> dict[str, list[Any]]:
    """The columns of JSON lines, one record each; empty lines do not count.

    Raises:
        RequestError: as `parse_json`.
    """
    lines = [line for line in body.split(b"\n") if line.strip()]
    form = Form(schema, max_rows, entity)
    form.check_rows(len(lines))
    records = [decode_json(line, what=f"row {row}") for row, line in enumerate(lines)]
    return _from_records(records, form, where="the body")


def parse_csv(
    body: bytes,
    schema: InputSchema,
    *,
    max_rows: int,
    entity: str | None = None,
    header: bool | None = None,
) -> dict[str, list[Any]]:
    """The columns of a CSV body; an empty cell is a missing value.

    Without a header line the cells stand in the order of the schema. `header` says whether there
    is one; None looks: a first line that names no field, and has a number or a boolean where the
    schema has one, is a row.

    Raises:
        RequestError: as `parse_json`.
    """
    form = Form(schema, max_rows, entity)
    try:
        reader = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        lines = (line for line in reader if line)
        first = next(lines, None)
        if first is None:
            raise bad("empty", "the body is empty; the first line names the columns")
        if header is None:
            header = not _is_row(first, schema)
        names, rows = (first, []) if header else (list(schema.names), [first])
        form.check_names(names)
        rows += islice(lines, max_rows + 1 - len(rows))
        # What is too much is counted, not kept.
        form.check_rows(len(rows) + sum(1 for _ in lines))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(400, "not_csv", f"the body is not CSV in UTF-8: {error}") from error
    return _from_table(names, rows, form, cell=Text)


def decode_json(body: bytes, *, what: str = "the body") -> Any:
    """What a UTF-8 JSON text says.

    Raises:
        RequestError: 400, it is none.
    """
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, "not_json", f"{what} is not JSON: {error}") from error


def _is_row(cells: list[str], schema: InputSchema) -> bool:
    if len(cells) != len(schema.columns) or set(cells) & set(schema.names):
        return False
    return any(fits(cell, column) for cell, column in zip(cells, schema.columns, strict=True))


def _from_split(given: Any, form: Form) -> dict[str, list[Any]]:
    if not isinstance(given, dict) or not {"columns", "data"} <= set(given):
        raise bad("bad_dialect", "dataframe_split is an object with the keys columns and data")
    if unknown := sorted(set(given) - {"columns", "data", "index"}):
        raise bad("bad_dialect", f"dataframe_split knows no key {shown(unknown[0])}")
    header, data = given["columns"], given["data"]
    if not isinstance(header, list) or not all(isinstance(name, str) for name in header):
        raise bad("bad_dialect", "dataframe_split.columns is a list of field names")
    if not isinstance(data, list):
        raise bad("bad_dialect", "dataframe_split.data is a list of rows")
    return _from_table(header, data, form)


def _from_table(
    header: list[str], data: list[Any], form: Form, *, cell: Callable[[Any], Any] | None = None
) -> dict[str, list[Any]]:
    position = {name: index for index, name in enumerate(header)}
    if len(position) < len(header):
        twice = next(name for index, name in enumerate(header) if position[name] != index)
        raise bad("bad_dialect", f"field {shown(twice)} stands twice in the header")
    form.check_rows(len(data))
    form.check_names(header)
    for row, values in enumerate(data):
        if not isinstance(values, list) or len(values) != len(header):
            met = f"{len(values)} values" if isinstance(values, list) else f"a {kind(values)}"
            raise bad("bad_row", f"row {row} is {met}; {len(header)} values are expected")

    def values_of(name: str) -> Iterator[Any] | None:
        if (index := position.get(name)) is None:
            return None
        values = (row[index] for row in data)
        return values if cell is None else map(cell, values)

    return form.typed(values_of)


def _from_records(given: Any, form: Form, *, where: str) -> dict[str, list[Any]]:
    if not isinstance(given, list):
        raise bad("bad_dialect", f"{where} is a {kind(given)}; a list of records is expected")
    form.check_rows(len(given))
    names = set(form.schema.names)
    named = False
    for row, record in enumerate(given):
        if not isinstance(record, dict):
            raise bad("bad_row", f"row {row} is a {kind(record)}; a record with names is expected")
        if record.keys() != names:
            form.check_names(record, row=row)
            named = True

    def values_of(name: str) -> Iterator[Any] | None:
        # Beside the fields that every record has, there can only be the entity.
        if name == form.entity and not named:
            return None
        return (record.get(name) for record in given)

    return form.typed(values_of)


def _from_columns(given: dict[str, Any], form: Form, *, where: str) -> dict[str, list[Any]]:
    for name, values in given.items():
        if not isinstance(values, list):
            form.check_names(given)
            raise bad(
                "bad_row", f"field {shown(name)} of {where} is a {kind(values)}; a list is expected"
            )
    form.check_table(given)
    return form.typed(given.get)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON; send null for a value that is not known")


def _allowed_dialects() -> str:
    return f"send one of {', '.join(DIALECTS)}"
