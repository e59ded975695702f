"""Profiles as whylogs reads and merges them: the platform's only import of it."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from mlops_assets.gateways.data_store import DataStore


def prepare() -> None:
    """Make whylogs work, before its first import: it reports usage unless told otherwise, and uses
    a name that numpy 2 removed."""
    if "whylogs" not in sys.modules:
        os.environ.setdefault("WHYLOGS_NO_ANALYTICS", "1")
        import numpy as np

        if not hasattr(np, "unicode_"):
            np.unicode_ = np.str_  # type: ignore[attr-defined]


def deserialize(content: bytes) -> Any:
    """The view of a profile's bytes.

    Raises:
        ValueError: the bytes are no profile.
    """
    prepare()
    from whylogs.core import DatasetProfileView

    try:
        return DatasetProfileView.deserialize(content)
    except Exception as error:  # whylogs answers garbage with whatever its parser provokes
        raise ValueError(f"{len(content)} bytes that are no whylogs profile: {error!r}") from error


def serialize(view: Any) -> bytes:
    """The view as bytes that `deserialize` reads."""
    return bytes(view.serialize())


def merge(views: Iterable[Any]) -> Any:
    """One view of all rows of at least one view.

    Raises:
        ValueError: there is nothing to merge.
    """
    merged = None
    for view in views:
        merged = view if merged is None else merged.merge(view)
    if merged is None:
        raise ValueError("there is no profile to merge")
    return merged


class Reader:
    """The profiles of a store, each read once however many ask for it.

    Attributes:
        store: where they are.
    """

    def __init__(self, store: DataStore) -> None:
        self.store = store
        self._read: dict[str, Any] = {}

    def view(self, urls: Iterable[str]) -> Any:
        """All rows of these profiles; None when there are none."""
        found = [self._one(url) for url in urls]
        return merge(found) if found else None

    def _one(self, url: str) -> Any:
        if url not in self._read:
            self._read[url] = deserialize(self.store.read_bytes(url))
        return self._read[url]


def rows(view: Any) -> int:
    """How many rows a view has seen."""
    return max((int(_count(column)) for column in view.get_columns().values()), default=0)


def _count(column: Any) -> int:
    counts = column.get_metric("counts")
    return 0 if counts is None else int(counts.n.value)
