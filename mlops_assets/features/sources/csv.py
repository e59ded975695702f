"""Delimited text files. Every cell stays text: which column is a number is decided later.

Strict where libraries are lenient: a ragged row or a doubled header is an error, with its line.
"""

import codecs
import csv
import io
import re
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator, model_validator

from mlops_assets.features.sources.base import Source, SourceContext, SourceError
from mlops_assets.features.sources.paths import TablePath, locate, read_bytes
from mlops_assets.features.sources.tables import deliver, refuse_duplicates

if TYPE_CHECKING:
    import _csv

    import pandas as pd

# Rows longer than a block cannot be parsed.
BLOCK_BYTES = 16 * 2**20


class Csv(Source):
    """A delimited text file with a header line."""

    kind: Literal["csv"]
    path: TablePath
    """The file: relative to the folder of this YAML, absolute, or `s3://bucket/key`."""
    separator: str = Field(default=",", pattern=r'^[^"\r\n]$')
    """The one character between two fields."""
    encoding: str = "utf-8"
    """Encoding of the text, by its Python name, for instance `utf-8` or `cp1252`."""
    decimal: Literal[".", ","] = "."
    """What separates the fraction of a number."""
    thousands: Literal[".", ",", " ", "'"] | None = None
    """What groups the digits of large numbers, if anything does."""
    missing: tuple[str, ...] = ()
    """Cells that mean: not known, for instance `NA`. Empty cells always do."""

    @field_validator("encoding")
    @classmethod
    def _check_encoding(cls, value: str) -> str:
        try:
            return codecs.lookup(value).name
        except LookupError as error:
            raise ValueError(
                "not an encoding Python knows, for instance utf-8 or cp1252"
            ) from error

    @field_validator("separator")
    @classmethod
    def _check_separator(cls, value: str) -> str:
        if not value.isascii():
            raise ValueError("a separator is one ASCII character")
        return value

    @model_validator(mode="after")
    def _check_marks(self) -> "Csv":
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands cannot both be {self.decimal!r}")
        return self

    def location(self, context: SourceContext) -> str:
        return locate(self.path, context)

    def called(self) -> tuple[str, ...]:
        return (self.path,)

    def read(self, context: SourceContext) -> "pd.DataFrame":
        where = self.location(context)
        data = self._utf8(read_bytes(where, context), where)
        header = self._header(data, where)
        frame = deliver(self._parse(data, header, where), where)
        if self.decimal == "." and self.thousands is None:
            return frame
        return frame.apply(lambda column: self._plain_numbers(column, where))

    def _utf8(self, data: bytes, where: str) -> bytes:
        if not data.strip():
            raise SourceError(f"{where} is empty")
        if self.encoding == "utf-8":
            return data.removeprefix(codecs.BOM_UTF8)
        try:
            return data.decode(self.encoding).encode()
        except UnicodeError as error:
            raise self._undecodable(data, error, where) from error

    def _undecodable(self, data: bytes, error: UnicodeError, where: str) -> SourceError:
        position = getattr(error, "start", 0)
        line = data.count(b"\n", 0, position) + 1
        return SourceError(
            f"{where} line {line}: byte {data[position : position + 1].hex()} is not "
            f"{self.encoding}; set encoding to what the file was written in, for instance cp1252"
        )

    def _rows(self, data: bytes, *, strict: bool = False) -> "_csv.Reader":
        text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline="")
        return csv.reader(text, delimiter=self.separator, strict=strict)

    def _header(self, data: bytes, where: str) -> list[str]:
        try:
            header: list[str] = next(row for row in self._rows(data) if row)
        except UnicodeDecodeError as error:
            raise self._explain(data, [], where, str(error)) from error
        refuse_duplicates((name for name in header if name.strip()), where)
        if len(header) == 1 and (found := re.search(r"[,;|\t]", header[0])):
            raise SourceError(
                f"{where} has one column, {header[0]!r}; separator is {self.separator!r}, "
                f"should it be {found.group()!r}?"
            )
        return header

    def _parse(self, data: bytes, header: list[str], where: str) -> "pd.DataFrame":
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        if data.count(b'"') % 2 and (problem := self._open_quote(data)):
            raise SourceError(f"{where} {problem}")
        try:
            table = arrow_csv.read_csv(
                io.BytesIO(data),
                read_options=arrow_csv.ReadOptions(block_size=BLOCK_BYTES),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=self.separator, newlines_in_values=b'"' in data
                ),
                convert_options=arrow_csv.ConvertOptions(
                    column_types={name: pa.string() for name in header},
                    null_values=["", *self.missing],
                    strings_can_be_null=True,
                ),
            )
        except pa.ArrowInvalid as error:
            raise self._explain(data, header, where, str(error)) from error
        if table.column_names != header:
            # Columns this module does not know by name would have been typed by guessing.
            raise SourceError(f"{where}: quotes within the header's names are ambiguous; {header}")
        frame: pd.DataFrame = table.to_pandas()
        return frame

    def _open_quote(self, data: bytes) -> str | None:
        """Where a quoted field never ends, if one does: it would swallow the rest of the file."""
        reader = self._rows(data, strict=True)
        line = 1
        try:
            for _ in reader:
                line = reader.line_num + 1
        except csv.Error as error:
            if "end of data" in str(error):
                return f"line {line}: a quoted field is never closed"
        except UnicodeDecodeError:
            return None
        return None

    def _explain(self, data: bytes, header: list[str], where: str, error: str) -> SourceError:
        """What is wrong with a file that was refused, with the line: looked for only then."""
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as undecodable:
            return self._undecodable(data, undecodable, where)
        reader = self._rows(data)
        line = 1
        for row in reader:
            if row and len(row) != len(header):
                return SourceError(
                    f"{where} line {line}: {len(row)} fields, but the header has {len(header)}; "
                    f"quote fields that contain {self.separator!r}, or correct separator"
                )
            line = reader.line_num + 1
        return SourceError(f"{where} cannot be parsed: {error}")

    def _plain_numbers(self, column: "pd.Series", where: str) -> "pd.Series":
        """The column with its numbers written as Python writes them; other text untouched."""
        import numpy as np
        import pandas as pd

        mark, group = re.escape(self.decimal), re.escape(self.thousands or "")
        whole = rf"(?:\d{{1,3}}(?:{group}\d{{3}})+|\d+)" if group else r"\d+"
        number = re.compile(rf"\s*[+-]?(?:{whole}(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?\s*")
        other = "," if self.decimal == "." else "."
        ambiguous = re.compile(rf"\s*[+-]?\d+(?:{re.escape(other)}\d+)+\s*")

        def plain(text: str) -> str:
            if number.fullmatch(text):
                return text.replace(self.thousands or "", "").replace(self.decimal, ".")
            if self.thousands is None and ambiguous.fullmatch(text):
                raise SourceError(
                    f"{where}: column {column.name!r} holds {text!r}, but decimal is "
                    f"{self.decimal!r}; if {other!r} groups digits, set thousands: {other!r}"
                )
            return text

        codes, texts = pd.factorize(column)
        # A missing cell has code -1: the last of the values.
        values = np.array([*map(plain, texts), None], dtype=object)
        return pd.Series(values[codes], name=column.name)
