"""Texts that outlive every process: the cursors of Dagster's instance, in its database."""

from collections.abc import Mapping
from typing import Protocol


class Storage(Protocol):
    """Texts by key."""

    def get_cursor_values(self, keys: set[str]) -> Mapping[str, str]: ...

    def set_cursor_values(self, pairs: Mapping[str, str]) -> None:
        """Not more than one at once: of new and known keys together SQLite drops the new."""
