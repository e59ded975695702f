"""Rows of one version in MLflow's tables, written again for other ones. By MLflow's own calls
hundreds of versions take minutes."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4


class Copies:
    """Of a version that MLflow's own calls made.

    Args:
        database: the file.
        version: the model, and the number.
        ids: of the version's runs and models, which copies have others of.
    """

    def __init__(self, database: str, version: tuple[str, int], ids: Sequence[str]) -> None:
        self._database, self._ids = database, ids
        connection = sqlite3.connect(database)
        self._rows = list(rows_of(connection, version, ids))
        connection.close()

    def add(self, number: int, values: Mapping[str, str]) -> Callable[[str], str]:
        """The same rows as those of another version; says its ids instead of the first one's.

        Args:
            values: that stand in the rows, and what the copy has instead.
        """
        ids = {each: f"{each[:-32]}{uuid4().hex}" for each in self._ids}

        def renamed(text: str) -> str:
            for old, new in ids.items():
                text = text.replace(old, new)
            return text

        connection = sqlite3.connect(self._database)
        with connection:
            for table, row in self._rows:
                copy = {
                    column: values.get(value, renamed(value)) if isinstance(value, str) else value
                    for column, value in row.items()
                }
                if "version" in copy:
                    copy["version"] = number
                marks = ", ".join("?" for _ in copy)
                statement = f"insert into {table} ({', '.join(copy)}) values ({marks})"
                connection.execute(statement, tuple(copy.values()))
        connection.close()
        return renamed


def rows_of(
    connection: sqlite3.Connection, version: tuple[str, int], ids: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row of every table that is of this version, or has one of these ids in it."""
    tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
    for (table,) in tables:
        asked = connection.execute(f"select * from {table}")
        columns = [each[0] for each in asked.description]
        for values in asked:
            row = dict(zip(columns, values, strict=True))
            texts = [each for each in values if isinstance(each, str)]
            named = any(each in text for each in ids for text in texts)
            if named or (row.get("name"), row.get("version")) == version:
                yield table, row
