"""A table or a query of any database SQLAlchemy speaks to. Only ever reads.

Passwords come from an environment variable the YAML names; they never stand in an experiment.
"""

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from mlops_assets.features.sources.base import Source, SourceContext, SourceError
from mlops_assets.features.sources.tables import deliver, refuse_duplicates

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import URL, Connection, CursorResult

# The same reading of user:password@ as SQLAlchemy's, which is not a browser's.
PASSWORD = re.compile(r"^[\w+]+://[^:/]*:[^@]*@")
PASSWORD_OPTION = re.compile(r"[?&;](?:\w*passw(?:or)?d|pwd|token|odbc_connect)=", re.IGNORECASE)
NAMED_TABLE = re.compile(
    r'\b(?:from|join)\s+((?:\w+|"[^"]+")(?:\.(?:\w+|"[^"]+"))*)', re.IGNORECASE
)
"""What a statement reads, found by the words before it: also the name of a common table."""
CONNECT_SECONDS = 10


class Sql(Source):
    """A table, view or query of a database."""

    # A refused URL may hold a password: pydantic's message must not repeat it.
    model_config = ConfigDict(hide_input_in_errors=True)

    kind: Literal["sql"]
    url_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Environment variable that holds the SQLAlchemy URL, password included."""
    url: str | None = Field(default=None, pattern=r"^[\w+]+://")
    """SQLAlchemy URL without a password; `sqlite:///file.db` is relative to this YAML's folder."""
    table: str | None = Field(default=None, min_length=1)
    """Table or view, `name` or `schema.name`: all rows, in the order of the primary key."""
    query: str | None = Field(default=None, min_length=1)
    """SELECT statement. Without an ORDER BY the rows are sorted by all columns."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is not None and (PASSWORD.match(value) or PASSWORD_OPTION.search(value)):
            raise ValueError(
                "a password does not belong in an experiment; put the whole URL into an "
                "environment variable and name that in url_env"
            )
        return value

    @model_validator(mode="after")
    def _check_choices(self) -> "Sql":
        if (self.url is None) == (self.url_env is None):
            raise ValueError("give exactly one of url_env and url")
        if (self.table is None) == (self.query is None):
            raise ValueError("give exactly one of table and query")
        return self

    def location(self, context: SourceContext) -> str:
        return f"{self._database(context)}: {self.table or ' '.join((self.query or '').split())}"

    def reads(self, context: SourceContext) -> tuple[str, ...]:
        return tuple(f"{self._database(context)}: {table}" for table in self.called())

    def called(self) -> tuple[str, ...]:
        if self.table is not None:
            return (self.table,)
        found = (quoted.replace('"', "") for quoted in NAMED_TABLE.findall(self.query or ""))
        return tuple(dict.fromkeys(found))

    def _database(self, context: SourceContext) -> str:
        """Where it is, without a password."""
        from sqlalchemy import URL

        if self.url_env is not None and not context.environment.get(self.url_env):
            return f"${self.url_env}"
        full = self._url(context)
        # Built anew: `set` takes None for "as it was", and options may hold passwords too.
        public = URL.create(full.drivername, host=full.host, port=full.port, database=full.database)
        return str(public)

    def read(self, context: SourceContext) -> "pd.DataFrame":
        from sqlalchemy import create_engine
        from sqlalchemy.exc import SQLAlchemyError
        from sqlalchemy.pool import NullPool

        where, url = self.location(context), self._url(context)
        try:
            engine = create_engine(
                _readable(url, where), poolclass=NullPool, connect_args=_connect_args(url)
            )
        except (SQLAlchemyError, ImportError) as error:
            raise SourceError(f"{where}: no driver for {url.drivername}: {error}") from error
        try:
            with engine.connect() as connection:
                _prepare(connection)
                frame = self._fetch(connection, where)
        except SQLAlchemyError as error:
            reason = getattr(error, "orig", None) or error
            raise SourceError(f"{where} cannot be read: {str(reason).strip()}") from error
        finally:
            engine.dispose()
        return deliver(frame, where)

    def _url(self, context: SourceContext) -> "URL":
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        text = self.url
        if self.url_env is not None:
            text = context.environment.get(self.url_env)
            if not text:
                raise SourceError(
                    f"sql: the environment variable {self.url_env} is not set; it must hold the "
                    "SQLAlchemy URL of the database"
                )
        try:
            url = make_url(str(text))
        except (ArgumentError, ValueError):
            # The cause is dropped on purpose: it repeats the URL, password included.
            named = f"the environment variable {self.url_env}" if self.url_env else "url"
            raise SourceError(
                f"sql: {named} holds no SQLAlchemy URL (dialect://user:password@host/database)"
            ) from None
        if url.drivername in ("postgresql", "postgres"):
            # SQLAlchemy 2.1 takes the bare name for psycopg 3; this package ships psycopg2.
            return url.set(drivername="postgresql+psycopg2")
        if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
            return url.set(database=str((context.directory / str(url.database)).resolve()))
        return url

    def _fetch(self, connection: "Connection", where: str) -> "pd.DataFrame":
        if self.table is not None:
            return _frame(_select_all(connection, self.table, where), where)
        query = str(self.query)
        # Without parameters the driver leaves % in the statement alone.
        result = connection.execution_options(no_parameters=True).exec_driver_sql(query)
        if not result.returns_rows:
            raise SourceError(f"{where}: the query returns no rows; a SELECT is needed")
        frame = _frame(result, where)
        return frame if _is_ordered(query) else _sorted(frame)


def _readable(url: "URL", where: str) -> "URL":
    """The URL, read-only where it is a file: SQLite would create an absent one."""
    if url.get_backend_name() != "sqlite":
        return url
    if url.database in (None, "", ":memory:"):
        raise SourceError(f"{where}: a database in memory is empty; name a file")
    if not Path(str(url.database)).is_file():
        raise SourceError(f"{where}: {url.database} does not exist")
    path = Path(str(url.database)).as_uri()
    return url.set(database=path, query={**url.query, "mode": "ro", "uri": "true"})


def _connect_args(url: "URL") -> dict[str, Any]:
    return {"connect_timeout": CONNECT_SECONDS} if url.get_backend_name() == "postgresql" else {}


def _prepare(connection: "Connection") -> None:
    """On PostgreSQL: nothing is written, and times do not depend on the server's zone."""
    if connection.dialect.name == "postgresql":
        connection.execution_options(postgresql_readonly=True)
        connection.exec_driver_sql("SET TIME ZONE 'UTC'")


def _select_all(connection: "Connection", name: str, where: str) -> "CursorResult[Any]":
    from sqlalchemy import MetaData, Table, inspect, select
    from sqlalchemy.exc import NoSuchTableError

    schema, _, bare = name.rpartition(".")
    try:
        table = Table(
            bare, MetaData(), schema=schema or None, autoload_with=connection, resolve_fks=False
        )
    except NoSuchTableError as error:
        inspector = inspect(connection)
        known = [
            *inspector.get_table_names(schema or None),
            *inspector.get_view_names(schema or None),
        ]
        near = difflib.get_close_matches(bare, known, n=5, cutoff=0.4) or sorted(known)[:5]
        raise SourceError(
            f"{where}: there is no table {name!r}; there is {', '.join(near) or 'none at all'}"
        ) from error
    return connection.execute(select(table).order_by(*(table.primary_key.columns or table.columns)))


def _frame(result: "CursorResult[Any]", where: str) -> "pd.DataFrame":
    import pandas as pd

    names = list(result.keys())
    refuse_duplicates(names, where)
    return pd.DataFrame.from_records(list(map(tuple, result)), columns=names, coerce_float=True)


def _is_ordered(query: str) -> bool:
    """Whether the statement itself, not a part of it in parentheses, orders its rows."""
    outer, before = query, ""
    while outer != before:
        before, outer = outer, re.sub(r"\([^()]*\)", " ", outer)
    return re.search(r"\border\s+by\b", outer, re.IGNORECASE) is not None


def _sorted(frame: "pd.DataFrame") -> "pd.DataFrame":
    def key(column: "pd.Series") -> "pd.Series":
        # SQLite keeps numbers and text in one column; they have no order among themselves.
        return column.map(str, na_action="ignore") if column.dtype == object else column

    return frame.sort_values(list(frame.columns), key=key, kind="stable")
