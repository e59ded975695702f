"""Values as a request holds them, made into the types of the schema, or refused by name.

Pure and exact, for the price of a call per value: `reader` does the same at speed, and asks here
when it meets a value it does not know.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mlops_assets.serving.refusals import RequestError, bad, shown
from mlops_assets.serving.schema import Column, InputSchema

TRUE_WORDS = frozenset({"true", "1", "1.0"})
FALSE_WORDS = frozenset({"false", "0", "0.0"})


@dataclass(frozen=True)
class Form:
    """What the rows of a request look like."""

    schema: InputSchema
    max_rows: int
    entity: str | None = None
    """A field that says whom a row is about; it may be left out, and is no input of the model."""

    def check_rows(self, rows: int) -> None:
        """Refuse an empty batch with 400, and one of too many rows with 413."""
        if rows == 0:
            raise bad("empty", "the batch is empty; send at least one row")
        if rows > self.max_rows:
            raise RequestError(
                413,
                "too_many_rows",
                f"the batch has {rows} rows; at most {self.max_rows} are allowed",
            )

    def check_names(self, given: Iterable[str], *, row: int | None = None) -> None:
        """Refuse a field that the model does not know, or the lack of one that it needs."""
        at = "" if row is None else f"row {row}: "
        present = set(given)
        names = self.schema.names
        if unknown := sorted(present - {*names, self.entity}):
            also = f", and {self.entity} may be sent" if self.entity else ""
            raise bad(
                "unknown_field",
                f"{at}unknown field {shown(unknown[0])}; the model's inputs are "
                f"{', '.join(names)}{also}",
            )
        if missing := [name for name in names if name not in present]:
            raise bad(
                "missing_field",
                f"{at}field {missing[0]!r} is missing; send null when it is not known",
            )

    def check_table(self, given: dict[str, list[Any]]) -> None:
        """Refuse columns that are not those of the schema, or not all of one length."""
        self.check_names(given)
        first = self.schema.names[0]
        rows = len(given[first])
        for name, values in given.items():
            if len(values) != rows:
                raise bad(
                    "bad_row",
                    f"field {shown(name)} has {len(values)} values, field {shown(first)} has "
                    f"{rows}; all fields need as many",
                )
        self.check_rows(rows)

    def typed(self, values_of: Callable[[str], Iterable[Any] | None]) -> dict[str, list[Any]]:
        """Columns in the order of the schema, then the entity's if it was sent.

        `values_of(name)` gives the n values of a field as they came; None for the entity when no
        row names it.
        """
        columns: dict[str, list[Any]] = {}
        for column in self.schema.columns:
            convert = _CONVERT[column.type]
            columns[column.name] = [
                None if value is None else convert(value, column, row)
                for row, value in enumerate(values_of(column.name) or ())
            ]
        if self.entity is not None and (values := values_of(self.entity)) is not None:
            columns[self.entity] = [
                _entity(value, self.entity, row) for row, value in enumerate(values)
            ]
        return columns


@dataclass(frozen=True, slots=True)
class Text:
    """A CSV cell: its type is the column's to say. Empty means missing."""

    text: str


def fits(cell: str, column: Column) -> bool:
    """Whether a CSV cell is a value of a numeric or boolean column, and not a missing one."""
    if column.type == "categorical":
        return False
    try:
        return _CONVERT[column.type](Text(cell), column, 0) is not None
    except RequestError:
        return False


def _number(value: Any, column: Column, row: int) -> float | None:
    if type(value) is float or type(value) is int:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    elif isinstance(value, Text):
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
    if isinstance(value, Text):
        word = value.text.strip().lower()
        if not word:
            return None
        if word in TRUE_WORDS or word in FALSE_WORDS:
            return word in TRUE_WORDS
    elif isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise _wrong(value, column, row, "true, false, 1, 0 or null")


def _category(value: Any, column: Column, row: int) -> str | None:
    if isinstance(value, Text):
        value = value.text or None
        if value is None:
            return None
    if not isinstance(value, str):
        raise _wrong(value, column, row, "a string or null")
    if not _is_unicode(value):
        raise _wrong(value, column, row, "a string of valid Unicode")
    return value


_CONVERT: dict[str, Callable[[Any, Column, int], Any]] = {
    "numeric": _number,
    "boolean": _boolean,
    "categorical": _category,
}


def _entity(value: Any, name: str, row: int) -> str | int | float | None:
    if isinstance(value, Text):
        return value.text or None
    known = value is None or (isinstance(value, str) and _is_unicode(value))
    if known or type(value) is int or (type(value) is float and math.isfinite(value)):
        return value  # type: ignore[no-any-return]
    raise bad(
        "wrong_type",
        f"row {row}: field {name!r} says whom the row is about and got {shown(value)}; "
        "allowed: a string, a number or null",
    )


def _is_unicode(text: str) -> bool:
    """JSON can spell half a surrogate pair, which no encoding can write."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _wrong(value: Any, column: Column, row: int, allowed: str) -> RequestError:
    met = value.text if isinstance(value, Text) else value
    return bad(
        "wrong_type",
        f"row {row}: field {column.name!r} is {column.type} and got {shown(met)}; "
        f"allowed: {allowed}",
    )
