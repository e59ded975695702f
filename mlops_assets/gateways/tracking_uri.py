"""Whether what a tracking URI leads to is there, found out within seconds: MLflow itself asks a
database that is not fifteen times, over most of an hour."""

import socket
from urllib.parse import urlsplit

SECONDS = 5
DATABASES = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
PORTS = {"http": 80, "https": 443, **DATABASES}
"""Where servers listen whose URI names no port."""


def shown(uri: str) -> str:
    """The URI for people: without user and password."""
    secret, at, _ = urlsplit(uri).netloc.rpartition("@")
    return uri.replace(f"{secret}{at}", "", 1) if at else uri


def unreachable(uri: str) -> str:
    """Why nothing listens there; empty where something does, and for local files."""
    address = urlsplit(uri)
    port = address.port or PORTS.get(_kind(uri))
    if not address.hostname or port is None:
        return ""
    try:
        socket.create_connection((address.hostname, port), timeout=SECONDS).close()
    except OSError as error:
        return str(error)
    return ""


def refused(uri: str) -> str:
    """Why a database server lets nobody in: a wrong password, a database that is not there, no
    answer; empty where it does, and for what is no such server."""
    if _kind(uri) not in DATABASES:
        return ""
    from sqlalchemy import NullPool, create_engine
    from sqlalchemy.exc import SQLAlchemyError

    # Microsoft's drivers know it by other names, each by its own.
    patience = {} if _kind(uri) == "mssql" else {"connect_timeout": SECONDS}
    try:
        create_engine(uri, poolclass=NullPool, connect_args=patience).connect().close()
    except SQLAlchemyError as error:
        return str(getattr(error, "orig", None) or error).strip()
    return ""


def _kind(uri: str) -> str:
    return urlsplit(uri).scheme.partition("+")[0]
