"""The contract of a data source: one file, one class, one `kind`. Knows nothing of Dagster."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    storage_options: dict[str, object] = field(repr=False)
    """Settings passed to fsspec for remote paths (`s3://...`): endpoint, key, secret."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables a source may look up by a name in its YAML: where secrets stand instead of there.
    The caller fills it; sources never read the process environment."""


class Source(Spec):
    """One kind of data source. Subclasses declare `kind: Literal["..."]` and their own fields."""

    @abstractmethod
    def read(self, context: SourceContext) -> "pd.DataFrame":
        """The whole table, as the source holds it: untyped text stays text, order is stable.

        A new frame with at least one row, unique string column names and a RangeIndex. Cells are
        scalars; no column has pandas' categorical type.

        Raises:
            SourceError: the source is absent, unreadable, empty, or has duplicate column names.
        """

    @abstractmethod
    def location(self, context: SourceContext) -> str:
        """Where the data comes from, without secrets: logged in MLflow and shown in the UI."""

    def reads(self, context: SourceContext) -> tuple[str, ...]:
        """The files, tables or datasets it reads: equal for two sources that read the same, and
        without secrets."""
        return (self.location(context),)

    def called(self) -> tuple[str, ...]:
        """Shorter names for them, as they stand in the YAML."""
        return ()
