"""The contract of a data source: one file, one class, one `kind`. Knows nothing of Dagster."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.experiment.spec import Spec

if TYPE_CHECKING:
    import pandas as pd


class SourceError(Exception):
    """The source cannot deliver a table; the message says which source, where, and why."""


@dataclass(frozen=True)
class SourceContext:
    """What a source may know of its surroundings."""

    directory: Path
    """Folder of the experiment's YAML: relative paths start here."""
    cache: Path
    """Folder for what a source downloads once and may reuse."""
    storage_options: dict[str, object]
    """Settings passed to fsspec for remote paths (`s3://...`): endpoint, key, secret."""


class Source(Spec):
    """One kind of data source. Subclasses declare `kind: Literal["..."]` and their own fields."""

    @abstractmethod
    def read(self, context: SourceContext) -> "pd.DataFrame":
        """The whole table, as the source holds it: untyped text stays text, order is stable.

        Raises:
            SourceError: the source is absent, unreadable, empty, or has duplicate column names.
        """

    @abstractmethod
    def location(self, context: SourceContext) -> str:
        """Where the data comes from, without secrets: logged in MLflow and shown in the UI."""
