"""One writer per study: a file lock on this machine, an advisory lock in PostgreSQL. Both end with
the process that holds them, however it ends."""

import fcntl
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


class StudyStoreError(Exception):
    """The store cannot be used; the message says which, why, and what to do."""


class StudyBusyError(StudyStoreError):
    """Another process is writing to the study."""


@contextmanager
def file_lock(path: Path, *, study: str | None) -> Iterator[None]:
    """Hold `path`, which keeps the name of its holder, until the block ends. Without a study,
    which is for the moments in which a database gets its tables, wait for it.

    Raises:
        StudyBusyError: somebody else holds it.
    """
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if study is not None else 0))
        except BlockingIOError as error:
            file.seek(0)
            raise _busy(study, file.read().strip() or "another process") from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


@contextmanager
def advisory_lock(database: "URL", *, study: str | None) -> Iterator[None]:
    """Hold the study in PostgreSQL, by a connection kept open until the block ends. Without a
    study, as in `file_lock`.

    Raises:
        StudyBusyError: somebody else holds it.
        StudyStoreError: the database does not answer.
    """
    import sqlalchemy as sa

    digest = hashlib.sha256(
        f"mlops_assets {'schema' if study is None else f'study {study}'}".encode()
    ).digest()
    key = int.from_bytes(digest[:8], "big", signed=True)
    engine = sa.create_engine(database, poolclass=sa.pool.NullPool)
    try:
        connected = engine.connect()
    except sa.exc.OperationalError as error:
        called = database.render_as_string(hide_password=True)
        raise StudyStoreError(f"study store {called} does not answer: {error.orig}") from error
    with connected.execution_options(isolation_level="AUTOCOMMIT") as connection:
        if study is None:
            connection.execute(sa.select(sa.func.pg_advisory_lock(key)))
        elif not connection.scalar(sa.select(sa.func.pg_try_advisory_lock(key))):
            raise _busy(study, "another process")
        yield


def _busy(study: str | None, holder: str) -> StudyBusyError:
    return StudyBusyError(
        f"study {study!r} is being written by {holder}; wait until it ends, or end it"
    )
