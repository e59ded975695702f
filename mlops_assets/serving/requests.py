"""Request bodies in the dialects of MLflow and SageMaker, made into columns that fit the schema.

Pure. Knows neither HTTP nor the model. Every refusal names the field, the row and what is allowed.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mlops_assets.serving.schema import Column, InputSchema

DIALECTS = ("dataframe_split", "dataframe_records", "inputs", "instances")
TRUE_WORDS = frozenset({"true", "1", "1.0"})
FALSE_WORDS = frozenset({"false", "0", "0.0"})


class RequestError(Exception):
    """A request that is answered with `status`; `reason` is a word for metrics."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class _Text:
    """A CSV cell: its type is the column's to say. Empty means missing."""

    text: str


def parse_json(body: bytes, schema: InputSchema, *, max_rows: int) -> dict[str, list[Any]]:
    """The columns of a JSON body: `name -> n values`, in the order of the schema.

    Numeric values come as float, booleans as bool, categories as str, missing ones as None.

    Raises:
        RequestError: 400 when the body does not fit the schema, 413 when it has too many rows.
    """
    try:
        content = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, "not_json", f"the body is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise _bad("bad_dialect", f"the body is a JSON {_kind(content)}; {_allowed_dialects()}")
    if len(content) != 1 or (dialect := next(iter(content))) not in DIALECTS:
        keys = ", ".join(map(_shown, content)) or "none"
        raise _bad("bad_dialect", f"the body has the keys {keys}; {_allowed_dialects()}")
    given = content[dialect]
    if dialect == "dataframe_split":
        return _from_split(given, schema, max_rows)
    if dialect != "dataframe_records" and isinstance(given, dict):
        return _from_columns(given, schema, max_rows, where=dialect)
    return _from_records(given, schema, max_rows, where=dialect)


def parse_csv(body: bytes, schema: InputSchema, *, max_rows: int) -> dict[str, list[Any]]:
    """The columns of a CSV body with a header line; an empty cell is a missing value.

    Raises:
        RequestError: as `parse_json`.
    """
    try:
        lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(400, "not_csv", f"the body is not CSV in UTF-8: {error}") from error
    lines = [line for line in lines if line]
    if not lines:
        raise _bad("empty", "the body is empty; the first line names the columns")
    return _from_table(
        lines[0],
        [[_Text(cell) for cell in line] for line in lines[1:]],
        schema,
        max_rows,
    )


def _from_split(given: Any, schema: InputSchema, max_rows: int) -> dict[str, list[Any]]:
    if not isinstance(given, dict) or not {"columns", "data"} <= set(given):
        raise _bad("bad_dialect", "dataframe_split is an object with the keys columns and data")
    if unknown := sorted(set(given) - {"columns", "data", "index"}):
        raise _bad("bad_dialect", f"dataframe_split knows no key {_shown(unknown[0])}")
    header, data = given["columns"], given["data"]
    if not isinstance(header, list) or not all(isinstance(name, str) for name in header):
        raise _bad("bad_dialect", "dataframe_split.columns is a list of field names")
    if not isinstance(data, list):
        raise _bad("bad_dialect", "dataframe_split.data is a list of rows")
    return _from_table(header, data, schema, max_rows)


def _from_table(
    header: list[str], data: list[Any], schema: InputSchema, max_rows: int
) -> dict[str, list[Any]]:
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise _bad("bad_dialect", f"field {_shown(twice[0])} stands twice in the header")
    _check_rows(len(data), max_rows)
    _check_names(header, schema)
    for row, values in enumerate(data):
        if not isinstance(values, list) or len(values) != len(header):
            met = f"{len(values)} values" if isinstance(values, list) else f"a {_kind(values)}"
            raise _bad("bad_row", f"row {row} is {met}; {len(header)} values are expected")
    position = {name: index for index, name in enumerate(header)}
    return _typed(schema, lambda name: (values[position[name]] for values in data))


def _from_records(
    given: Any, schema: InputSchema, max_rows: int, *, where: str
) -> dict[str, list[Any]]:
    if not isinstance(given, list):
        raise _bad("bad_dialect", f"{where} is a {_kind(given)}; a list of records is expected")
    _check_rows(len(given), max_rows)
    names = set(schema.names)
    for row, record in enumerate(given):
        if not isinstance(record, dict):
            raise _bad(
                "bad_row", f"row {row} is a {_kind(record)}; a record with names is expected"
            )
        if record.keys() != names:
            _check_names(record, schema, row=row)
    return _typed(schema, lambda name: (record[name] for record in given))


def _from_columns(
    given: dict[str, Any], schema: InputSchema, max_rows: int, *, where: str
) -> dict[str, list[Any]]:
    _check_names(given, schema)
    for name, values in given.items():
        if not isinstance(values, list):
            raise _bad(
                "bad_row",
                f"field {_shown(name)} of {where} is a {_kind(values)}; a list is expected",
            )
    lengths = {name: len(values) for name, values in given.items()}
    first = schema.names[0]
    for name, length in lengths.items():
        if length != lengths[first]:
            raise _bad(
                "bad_row",
                f"field {_shown(name)} has {length} values, field {_shown(first)} has "
                f"{lengths[first]}; all fields need as many",
            )
    _check_rows(lengths[first], max_rows)
    return _typed(schema, lambda name: given[name])


def _check_rows(rows: int, max_rows: int) -> None:
    if rows == 0:
        raise _bad("empty", "the batch is empty; send at least one row")
    if rows > max_rows:
        raise RequestError(
            413, "too_many_rows", f"the batch has {rows} rows; at most {max_rows} are allowed"
        )


def _check_names(given: Iterable[str], schema: InputSchema, *, row: int | None = None) -> None:
    at = "" if row is None else f"row {row}: "
    present = set(given)
    if unknown := sorted(present - set(schema.names)):
        raise _bad(
            "unknown_field",
            f"{at}unknown field {_shown(unknown[0])}; the model's inputs are "
            f"{', '.join(schema.names)}",
        )
    if missing := [name for name in schema.names if name not in present]:
        raise _bad(
            "missing_field", f"{at}field {missing[0]!r} is missing; send null when it is not known"
        )


def _typed(schema: InputSchema, values_of: Callable[[str], Iterable[Any]]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for column in schema.columns:
        convert = _CONVERT[column.type]
        columns[column.name] = [
            None if value is None else convert(value, column, row)
            for row, value in enumerate(values_of(column.name))
        ]
    return columns


def _number(value: Any, column: Column, row: int) -> float | None:
    if type(value) is float or type(value) is int:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    elif isinstance(value, _Text):
        if not value.text.strip():
            return None
        try:
            # Python alone reads "1_000" as a number.
            number = float(value.text.replace("_", "?"))
        except ValueError:
            raise _wrong(value.text, column, row, "a number") from None
    else:
        raise _wrong(value, column, row, "a number or null")
    if not math.isfinite(number):
        raise _wrong(value, column, row, "a finite number, or null when it is not known")
    return number


def _boolean(value: Any, column: Column, row: int) -> bool | None:
    if isinstance(value, _Text):
        word = value.text.strip().lower()
        if not word:
            return None
        if word in TRUE_WORDS or word in FALSE_WORDS:
            return word in TRUE_WORDS
    elif isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise _wrong(value, column, row, "true, false, 1, 0 or null")


def _category(value: Any, column: Column, row: int) -> str | None:
    if isinstance(value, _Text):
        value = value.text or None
        if value is None:
            return None
    if not isinstance(value, str):
        raise _wrong(value, column, row, "a string or null")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _wrong(value, column, row, "a string of valid Unicode") from None
    return value


_CONVERT: dict[str, Callable[[Any, Column, int], Any]] = {
    "numeric": _number,
    "boolean": _boolean,
    "categorical": _category,
}


def _wrong(value: Any, column: Column, row: int, allowed: str) -> RequestError:
    shown = value.text if isinstance(value, _Text) else value
    return _bad(
        "wrong_type",
        f"row {row}: field {column.name!r} is {column.type} and got {_shown(shown)}; "
        f"allowed: {allowed}",
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON; send null for a value that is not known")


def _bad(reason: str, message: str) -> RequestError:
    return RequestError(400, reason, message)


def _allowed_dialects() -> str:
    return f"send one of {', '.join(DIALECTS)}"


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")
