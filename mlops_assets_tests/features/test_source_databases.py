"""SQL: on SQLite for the logic, on a real PostgreSQL for types, order, roles and secrets."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError
from sqlalchemy import create_engine, make_url

from mlops_assets.features.sources.base import Source, SourceContext, SourceError
from mlops_assets.features.sources.sql import Sql
from mlops_assets_tests.contracts.source import OutsideSourceContract
from mlops_assets_tests.peers import postgres as postgres_peer
from mlops_assets_tests.peers.postgres import Postgres

SHOP = """
CREATE TABLE orders (number INTEGER, day TEXT, amount NUMERIC, note);
INSERT INTO orders VALUES (2, 'b', 1.5, 'x'), (1, 'b', NULL, 7), (2, 'a', 3, NULL);
CREATE TABLE keyed (label TEXT, id INTEGER PRIMARY KEY);
INSERT INTO keyed VALUES ('a%', 3), ('b:x', 1), ('c', 2);
CREATE VIEW dear AS SELECT number FROM orders WHERE amount > 1;
CREATE TABLE hollow (id INTEGER);
"""


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        database.executescript(SHOP)
    return SourceContext(tmp_path, tmp_path, {})


def sql(**fields: Any) -> Sql:
    where = {} if "url_env" in fields else {"url": "sqlite:///shop.db"}
    return Sql.model_validate({"kind": "sql", **where, **fields})


def rows(frame: pd.DataFrame) -> list[list[Any]]:
    return frame.astype(object).where(frame.notna(), None).to_numpy().tolist()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"table": "keyed"}, [["b:x", 1], ["c", 2], ["a%", 3]]),
        ({"table": "main.keyed"}, [["b:x", 1], ["c", 2], ["a%", 3]]),
        (
            {"table": "orders"},
            [[1, "b", None, 7], [2, "a", 3, None], [2, "b", 1.5, "x"]],
        ),
        ({"table": "dear"}, [[2], [2]]),
        ({"query": "SELECT id FROM keyed ORDER BY id DESC"}, [[3], [2], [1]]),
        (
            {"query": "SELECT label FROM keyed WHERE label LIKE 'a%' OR label = 'b:x'"},
            [["a%"], ["b:x"]],
        ),
        (
            {"query": "SELECT number, rank() OVER (ORDER BY day DESC) AS r FROM orders"},
            [[1, 1], [2, 1], [2, 3]],
        ),
    ],
)
def test_rows_have_one_order(
    fields: dict[str, str], expected: list[Any], context: SourceContext
) -> None:
    assert rows(sql(**fields).read(context)) == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"table": "order"}, r"shop\.db: order: there is no table 'order'; there is orders"),
        ({"table": "hollow"}, "has columns but no rows"),
        ({"query": "SELECT id FROM hollow"}, "has columns but no rows"),
        ({"query": "SELECT id, label AS id FROM keyed"}, "'id' names more than one column"),
        ({"query": "SELEC 1"}, 'cannot be read: near "SELEC": syntax error'),
        ({"query": "DELETE FROM keyed"}, "readonly database"),
        ({"url": "sqlite:///none.db", "table": "x"}, r"none\.db does not exist"),
        ({"url": "sqlite://", "table": "x"}, "in memory is empty"),
        ({"url": "nosuch://host/db", "table": "x"}, "no driver for nosuch"),
        ({"url_env": "SHOP_URL", "table": "x"}, "variable SHOP_URL is not set"),
    ],
)
def test_faults_are_named(fields: dict[str, str], message: str, context: SourceContext) -> None:
    with pytest.raises(SourceError, match=message):
        sql(**fields).read(context)

    assert not (context.directory / "none.db").exists()
    assert len(sql(table="keyed").read(context)) == 3


def test_url_may_come_from_the_environment_given(context: SourceContext) -> None:
    path = context.directory / "shop.db"
    context = SourceContext(Path("elsewhere"), Path(), {}, {"SHOP_URL": f"sqlite:///{path}"})

    assert len(sql(url_env="SHOP_URL", table="keyed").read(context)) == 3


def test_unreadable_url_is_not_repeated(context: SourceContext) -> None:
    context = SourceContext(Path(), Path(), {}, {"SHOP_URL": "postgres//u:s3cret@host/db"})

    with pytest.raises(SourceError, match="SHOP_URL holds no SQLAlchemy URL") as caught:
        sql(url_env="SHOP_URL", table="x").read(context)

    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"url": "postgresql://u:s3cret@host/db", "table": "t"}, "name that in url_env"),
        ({"url": "postgresql://u:s3/c@ret@host/db", "table": "t"}, "name that in url_env"),
        ({"url": "mysql://u@host/db?password=s3cret", "table": "t"}, "name that in url_env"),
        ({"url_env": "postgresql://u:s3cret@host/db", "table": "t"}, "url_env"),
        ({"url_env": "A", "url": "sqlite:///x", "table": "t"}, "exactly one of url_env and url"),
        ({"table": "t"}, "exactly one of url_env and url"),
        ({"url_env": "A"}, "exactly one of table and query"),
        ({"url_env": "A", "table": "t", "query": "q"}, "exactly one of table and query"),
    ],
)
def test_spec_refuses(fields: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        Sql.model_validate({"kind": "sql", **fields})

    assert "s3c" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["postgresql://u@host:5432/db", "sqlite:///a@b.db", "postgresql+psycopg2://host/db"]
)
def test_urls_without_password_are_accepted(url: str) -> None:
    assert Sql(kind="sql", url=url, table="t").url == url


CUSTOMERS = """
CREATE SCHEMA crm;
CREATE TABLE crm.customers (
    id uuid PRIMARY KEY, name text NOT NULL, joined date, seen timestamptz,
    balance numeric(10, 2), visits bigint, active boolean, extra integer);
INSERT INTO crm.customers
SELECT md5(n::text)::uuid, 'name ' || n, date '2025-01-01' + n,
       timestamptz '2025-03-30 00:30+00' + n * interval '1 hour',
       CASE WHEN n % 3 = 0 THEN NULL ELSE n + 0.25 END, n, n % 2 = 0, NULL
FROM generate_series(1, 50) AS n;
-- Moves rows about on disk: order no longer follows insertion.
UPDATE crm.customers SET visits = visits + 1 WHERE visits % 2 = 0;
CREATE TABLE documents (id integer, body jsonb);
INSERT INTO documents VALUES (1, '{"a": 1}');
"""


@pytest.fixture(scope="module")
def database(postgresql: Postgres) -> str:
    url = postgresql.create("shop")
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg2"))
    # Without parameters, or the driver would take % for one.
    with engine.begin() as connection:
        connection = connection.execution_options(no_parameters=True)
        connection.exec_driver_sql("ALTER DATABASE shop SET timezone TO 'Europe/Berlin'")
        connection.exec_driver_sql(CUSTOMERS)
    engine.dispose()
    return url


@pytest.mark.peer
class TestSqlOnPostgres(OutsideSourceContract):
    kind = "sql"
    secrets = (postgres_peer.PASSWORD, postgres_peer.USER)
    missing_name = r"no table 'crm\.customer'; there is customers"

    @pytest.fixture
    def source(self) -> Source:
        return Sql(kind="sql", url_env="SHOP_URL", table="crm.customers")

    @pytest.fixture
    def missing(self) -> Source:
        return Sql(kind="sql", url_env="SHOP_URL", table="crm.customer")

    @pytest.fixture
    def context(self, database: str, tmp_path: Path) -> SourceContext:
        return SourceContext(tmp_path, tmp_path, {}, {"SHOP_URL": database})

    def test_types_and_order(self, source: Source, context: SourceContext) -> None:
        frame = source.read(context)

        columns = ["id", "name", "joined", "seen", "balance", "visits", "active", "extra"]
        assert list(frame.columns) == columns
        assert [kind.kind for kind in frame.dtypes][:-1] == list("OOMMfib")
        assert str(frame["seen"].dt.tz) == "UTC"
        assert frame["seen"].min() == pd.Timestamp("2025-03-30 01:30Z")
        assert frame["id"].is_monotonic_increasing
        assert frame["extra"].isna().all()
        assert frame["balance"].isna().sum() == 16

    def test_query_reads_and_cannot_write(self, context: SourceContext) -> None:
        count = "SELECT count(*) AS n, max(name) AS m FROM crm.customers WHERE name LIKE '%1%'"
        found = Sql(kind="sql", url_env="SHOP_URL", query=count).read(context)
        assert rows(found) == [[14, "name 51" if found["n"][0] > 50 else "name 41"]]

        for statement in ("DELETE FROM crm.customers", "DROP TABLE crm.customers"):
            with pytest.raises(SourceError, match="read-only transaction"):
                Sql(kind="sql", url_env="SHOP_URL", query=statement).read(context)

    def test_documents_are_refused(self, context: SourceContext) -> None:
        with pytest.raises(SourceError, match="column 'body' holds dict"):
            Sql(kind="sql", url_env="SHOP_URL", table="documents").read(context)

    def test_wrong_password_is_not_shown(self, database: str, tmp_path: Path) -> None:
        wrong = database.replace(postgres_peer.PASSWORD, "wr0ng-pass")
        context = SourceContext(tmp_path, tmp_path, {}, {"SHOP_URL": wrong})

        with pytest.raises(SourceError, match="password authentication failed") as caught:
            Sql(kind="sql", url_env="SHOP_URL", table="documents").read(context)

        assert "wr0ng" not in str(caught.value)


@pytest.mark.peer
@pytest.mark.usefixtures("postgresql")
def test_the_server_is_gone_afterwards() -> None:
    with postgres_peer.running() as server:
        environment = {"SHOP_URL": server.create("shop")}
    context = SourceContext(Path(), Path(), {}, environment)

    with pytest.raises(SourceError, match="refused"):
        Sql(kind="sql", url_env="SHOP_URL", table="x").read(context)
