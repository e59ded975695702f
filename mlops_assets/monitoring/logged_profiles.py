"""A window's profile from the rows that were logged, where its endpoint left none.

What is counted is what the log holds: some of the columns, or of the requests, as it was asked to.
The profile says so by its metadata: `mlops.built_from` and `mlops.log_sample`.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.profile_store import inputs_path
from mlops_assets.modeling import profiling
from mlops_assets.monitoring.captured import Captured
from mlops_assets.monitoring.files import Found
from mlops_assets.serving.contents import PREDICTION, PROBABILITY, Contents
from mlops_assets.serving.profile import Profile
from mlops_assets.serving.recording import ABOUT

PARALLEL_FILES = 200
"""Files from which another process is worth the second or two it takes to start."""
_CHUNK = 200_000


@dataclass(frozen=True)
class _Log:
    """Files of one kind."""

    urls: tuple[str, ...]
    read: Callable[[bytes], Iterable[Contents]]
    """The rows of a file. Picklable; raises ValueError for what is no such file."""
    share: Callable[[bytes], float | None]
    """Of the requests that a file holds, None where it does not tell; raises ValueError too."""


@dataclass
class Counted:
    """What the logs of one window hold."""

    profile: Profile
    shares: set[float | None] = field(default_factory=set)
    """Of the requests, that the files hold; None of one that does not tell."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Files that are no log, and why; nothing of these is in the profile."""

    @property
    def sample(self) -> float | None:
        """Of the file that holds least; None where one does not tell."""
        return (
            None if None in self.shares else min(map(float, filter(None, self.shares)), default=1)
        )


def count(
    store: DataStore,
    experiment: str,
    version: int,
    when: datetime,
    found: Found,
    *,
    many: int = PARALLEL_FILES,
) -> Counted:
    """The rows of one window that were logged; files of equal content count once.

    Args:
        store: where the files are.
        experiment: whose.
        version: that answered.
        when: start of the window, aware.
        found: its files.
        many: of one kind are shared between processes.

    Raises:
        DataStoreError: the store does not answer.
    """
    counted = Counted(profiling.Begun(when, {}).profile())
    seen = set[bytes]()
    for log in _logs(store, experiment, version, found):
        read: list[str] = []
        workers = profiling.processes() if len(log.urls) >= many else 1
        made, refused = profiling.profiled(
            _distinct(store, log, counted, seen, read),
            log.read,
            profiling.Begun(when, {}),
            workers=workers,
        )
        try:
            counted.profile.merge(made)
        except ValueError as error:  # nothing of it: its files are of other types than those before
            refused |= {number: str(error) for number in range(len(read)) if number not in refused}
        counted.unreadable |= {read[number]: reason for number, reason in refused.items()}
    told = {
        "mlops.built_from": "prediction log",
        "mlops.log_sample": "unknown" if counted.sample is None else f"{counted.sample:g}",
    }
    whole = profiling.Begun(when, told).profile()
    whole.merge(counted.profile)
    counted.profile = whole
    return counted


def _logs(store: DataStore, experiment: str, version: int, found: Found) -> Iterator[_Log]:
    if found.logs:
        yield _Log(tuple(sorted(file.url for file in found.logs)), rows, share)
    if found.captures:
        told = store.read_json(store.at(inputs_path(experiment, version)))
        captured = Captured.of_json(version, told)
        urls = tuple(sorted(file.url for file in found.captures))
        yield _Log(urls, captured.rows, lambda _: found.captured)


def _distinct(
    store: DataStore, log: _Log, counted: Counted, seen: set[bytes], read: list[str]
) -> Iterator[bytes]:
    """Files whose content was not met before; `read` is told of each."""
    for url in log.urls:
        content = store.read_bytes(url)
        digest = hashlib.sha256(content).digest()
        if digest in seen:
            continue
        seen.add(digest)
        try:
            counted.shares.add(log.share(content))
        except ValueError as error:
            counted.unreadable[url] = str(error)
            continue
        read.append(url)
        yield content


def share(content: bytes) -> float | None:
    """Of the requests, that a file of the prediction log holds; None where it does not tell.

    Raises:
        ValueError: it is no Parquet.
    """
    told = _about(_opened(content)).get("sample")
    return None if told is None else float(told)


def rows(content: bytes) -> Iterator[Contents]:
    """What a file of the prediction log holds, chunk by chunk, as its endpoint profiled it.

    Raises:
        ValueError: it is no such file.
    """
    file = _opened(content)
    names = list(file.schema_arrow.names)
    for needed in ("version", PREDICTION):
        if needed not in names:
            raise ValueError(f"no prediction log: it has no column {needed!r}")
    features = names[names.index("version") + 1 : names.index(PREDICTION)]
    called = _about(file).get("features", features)
    outputs = names[names.index(PREDICTION) + 1 :]
    for batch in file.iter_batches(_CHUNK, columns=[*features, PREDICTION, *outputs]):
        found = {
            name: _content(batch.column(column))
            for name, column in zip(called, features, strict=True)
        }
        found[PREDICTION] = _content(batch.column(PREDICTION))
        if outputs:
            found[PROBABILITY] = _shown([_content(batch.column(name)) for name in outputs])
        yield Contents(batch.num_rows, found)


def _opened(content: bytes) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(io.BytesIO(content))


def _about(file: Any) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((file.metadata.metadata or {}).get(ABOUT.encode(), b"{}"))
    return told


def _content(values: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_boolean(values.type):
        return profiling.content(values, "boolean")
    numeric = pa.types.is_floating(values.type) or pa.types.is_integer(values.type)
    return profiling.content(values, "numeric" if numeric else "categorical")


def _shown(probabilities: list[Any]) -> Any:
    """Of the positive class where there are two, else of the predicted one."""
    import numpy as np

    return probabilities[-1] if len(probabilities) == 2 else np.max(probabilities, axis=0)
