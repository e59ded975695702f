"""Where a deployment target's platform itself keeps requests and answers, and how they are found.

Layout of Amazon SageMaker: `<url>/<variant>/<yyyy>/<mm>/<dd>/<hh>/<name>.jsonl`, by the hour (UTC)
of the requests. Knows paths and times, not what a file holds.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.profile_store import Increment, in_order
from mlops_assets.serving.recording import window_start

_PATH = re.compile(r"/(\d{4})/(\d\d)/(\d\d)/(\d\d)/[^/]+\.jsonl$")
HOUR = 3600


@dataclass(frozen=True)
class Captures:
    """What is kept of one endpoint, of whichever version."""

    url: str
    """fsspec URL of its folder."""
    share: float
    """Of the requests, 0 to 1."""

    def increments(
        self, storage_options: dict[str, object], target: str, *, seconds: int
    ) -> list[Increment]:
        """Its files by windows of so many seconds, oldest first; none for windows shorter than the
        hour by which they are told apart.

        Raises:
            DataStoreError: the store does not answer.
        """
        if seconds < HOUR:
            return []
        store = DataStore(self.url, storage_options)
        found = []
        for file in store.listed(""):
            if match := _PATH.search(file.path):
                hour = datetime(*map(int, match.groups()), tzinfo=UTC)  # type: ignore[arg-type,misc]
                window = window_start(hour.timestamp(), seconds)
                url = f"{self.url}/{file.path.lstrip('/')}"
                found.append(Increment(window, url, file.modified, target))
        return in_order(found)
