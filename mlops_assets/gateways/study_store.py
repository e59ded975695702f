"""Where Optuna studies are kept: a folder of journals, or a database. Knows nothing of what a
trial means."""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, unquote

from mlops_assets.gateways.study_locks import StudyStoreError, advisory_lock, file_lock

if TYPE_CHECKING:
    import optuna
    from sqlalchemy.engine import URL

SUFFIX = ".journal"


@dataclass(frozen=True)
class StudyStore:
    """Studies in a folder (one journal file each), or in SQLite or PostgreSQL.

    `url` is a folder, or an SQLAlchemy URL: `sqlite:///path/studies.db`,
    `postgresql://user:password@host/database`.
    """

    url: str

    @contextmanager
    def open(
        self, name: str, *, direction: Literal["maximize", "minimize"]
    ) -> Iterator["optuna.Study"]:
        """The study, created when new, for this process alone until the block ends.

        Raises:
            StudyBusyError: another process holds the study.
            StudyStoreError: the store cannot be reached or read, or the study has the other
                direction.
        """
        import optuna

        with self._lock(name), self._storage(name, writable=True) as storage, quiet_optuna():
            study = optuna.create_study(
                study_name=name, storage=storage, direction=direction, load_if_exists=True
            )
            if study.direction.name.lower() != direction:
                raise StudyStoreError(
                    f"study {name!r} in {self} was made to {study.direction.name.lower()} its "
                    f"score, not to {direction}; use another study name"
                )
            yield study

    @contextmanager
    def read(self, name: str) -> Iterator["optuna.Study"]:
        """The study as it stands, also while another process writes to it. Not for writing.

        Raises:
            StudyStoreError: there is no such study, or the store cannot be reached or read.
        """
        import optuna

        missing = StudyStoreError(f"there is no study {name!r} in {self}")
        if self._folder is not None and not _journal(self._folder, name).exists():
            raise missing
        with self._storage(name, writable=False) as storage:
            try:
                study = optuna.load_study(study_name=name, storage=storage)
            except KeyError as error:
                raise missing from error
            yield study

    def names(self) -> tuple[str, ...]:
        """The studies the store holds, sorted."""
        if self._folder is not None:
            found = self._folder.glob(f"*{SUFFIX}") if self._folder.is_dir() else ()
            return tuple(sorted(unquote(path.name.removesuffix(SUFFIX)) for path in found))
        import optuna

        with self._storage("", writable=False) as storage:
            return tuple(sorted(optuna.get_all_study_names(storage)))

    def changed(self, name: str) -> datetime:
        """When the newest trial of a study began or ended, aware; the beginning of time when it
        has none.

        Raises:
            StudyStoreError: there is no such study, or the store cannot be reached or read.
        """
        with self.read(name) as study:
            trials = study.get_trials(deepcopy=False)
        times = [t for one in trials for t in (one.datetime_start, one.datetime_complete) if t]
        # Optuna writes times without a zone, in that of the machine.
        return max(times).astimezone() if times else datetime.min.replace(tzinfo=UTC)

    def remove(self, name: str) -> None:
        """Remove a study, or leave it be when it is gone.

        Raises:
            StudyBusyError: another process holds it.
            StudyStoreError: the store cannot be reached or read.
        """
        import optuna

        with self._lock(name):
            if self._folder is not None:
                # The lock stays: another process may have opened it, and would hold another file.
                _journal(self._folder, name).unlink(missing_ok=True)
                return
            with self._storage(name, writable=True) as storage, suppress(KeyError):
                optuna.delete_study(study_name=name, storage=storage)

    def __str__(self) -> str:
        """The URL without its password."""
        if self._folder is not None:
            return str(self._folder)
        return str(self._database.render_as_string(hide_password=True))

    @property
    def _folder(self) -> Path | None:
        if self.url.startswith("file://"):
            return Path(unquote(self.url.removeprefix("file://")))
        return None if "://" in self.url else Path(self.url)

    @property
    def _database(self) -> "URL":
        import sqlalchemy as sa

        try:
            url = sa.make_url(self.url)
        except sa.exc.ArgumentError as error:
            raise StudyStoreError(
                "the study store is neither a folder nor an SQLAlchemy URL such as "
                "sqlite:///studies.db or postgresql://user@host/database"
            ) from error
        # Without a driver's name SQLAlchemy 2.1 takes psycopg 3, which is not what we install.
        if url.drivername in {"postgres", "postgresql"}:
            url = url.set(drivername="postgresql+psycopg2")
        backend = url.get_backend_name()
        if backend not in {"sqlite", "postgresql"}:
            raise StudyStoreError(
                f"study store {url.render_as_string(hide_password=True)}: {backend!r} is not "
                "supported; use a folder, sqlite:///... or postgresql://..."
            )
        if backend == "sqlite" and url.database in {None, "", ":memory:"}:
            raise StudyStoreError(
                "study store: an in-memory SQLite database keeps nothing; name a file, as in "
                "sqlite:///studies.db"
            )
        return url

    def _lock(self, name: str) -> AbstractContextManager[None]:
        """For one writer of the study."""
        if self._folder is None:
            return _database_lock(self._database, study=name)
        self._folder.mkdir(parents=True, exist_ok=True)
        return file_lock(_journal(self._folder, name).with_suffix(".lock"), study=name)

    @contextmanager
    def _storage(self, name: str, *, writable: bool) -> Iterator["optuna.storages.BaseStorage"]:
        if self._folder is not None:
            yield _journal_storage(_journal(self._folder, name), writable=writable)
            return
        with _database_storage(self._database, called=str(self)) as storage:
            yield storage


def _journal(folder: Path, name: str) -> Path:
    return folder / f"{quote(name, safe='')}{SUFFIX}"


def _journal_storage(path: Path, *, writable: bool) -> "optuna.storages.JournalStorage":
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if writable:
        _drop_torn_line(path)
    lock: Any = _NoLock(writable)
    try:
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    except (ValueError, KeyError) as error:
        raise StudyStoreError(
            f"{path} is not a readable Optuna journal ({error}); move it away to start anew"
        ) from error


def _drop_torn_line(path: Path) -> None:
    """Cut off what a killed process wrote of its last line: the next line would be added to it,
    and the journal could never be read again. The caller holds the study."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)


class _NoLock:
    """Instead of Optuna's lock file, which outlives a killed process by half a minute: who may
    write holds the study already."""

    def __init__(self, writable: bool) -> None:
        self._writable = writable

    def acquire(self) -> bool:
        if not self._writable:
            raise StudyStoreError("the study was opened for reading")
        return True

    def release(self) -> None:
        pass


def _database_lock(database: "URL", *, study: str | None) -> AbstractContextManager[None]:
    if database.get_backend_name() != "sqlite":
        return advisory_lock(database, study=study)
    path = Path(str(database.database))
    path.parent.mkdir(parents=True, exist_ok=True)
    name = "lock" if study is None else f"{quote(study, safe='')}.lock"
    return file_lock(path.with_name(f"{path.name}.{name}"), study=study)


@contextmanager
def _database_storage(database: "URL", *, called: str) -> Iterator["optuna.storages.RDBStorage"]:
    import sqlalchemy as sa
    from optuna.storages import RDBStorage

    sqlite = database.get_backend_name() == "sqlite"
    # A database in the network may drop idle connections while a long trial runs.
    options = {"connect_args": {"timeout": 60}} if sqlite else {"pool_pre_ping": True}
    try:
        # Optuna makes its tables here, and fails when two processes do so at once.
        with _database_lock(database, study=None):
            address = database.render_as_string(hide_password=False)
            storage = RDBStorage(address, engine_kwargs=options)
    except (sa.exc.SQLAlchemyError, RuntimeError) as error:
        raise StudyStoreError(f"study store {called} cannot be opened: {error}") from error
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Without Optuna's lines on standard error, one per study made and one per notice."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
