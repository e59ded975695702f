"""Datasets of openml.org, fetched once through scikit-learn and kept in the cache."""

from http.client import HTTPException
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from mlops_assets.features.sources.base import Source, SourceContext, SourceError
from mlops_assets.features.sources.tables import deliver

if TYPE_CHECKING:
    import pandas as pd


class Openml(Source):
    """A dense dataset of openml.org, by number or by name and version."""

    kind: Literal["openml"]
    data_id: int | None = Field(default=None, ge=1)
    """Number of the dataset, as in its address openml.org/d/<number>."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.()-]+$")
    """Name of the dataset; needs `version`."""
    version: int | None = Field(default=None, ge=1)
    """Version of the named dataset: versions of one name can be quite different data."""

    @model_validator(mode="after")
    def _check_choice(self) -> "Openml":
        if (self.data_id is None) == (self.name is None):
            raise ValueError("give either data_id, or name and version")
        if (self.name is None) != (self.version is None):
            raise ValueError("name and version go together; data_id needs neither")
        return self

    def location(self, context: SourceContext) -> str:
        if self.data_id is not None:
            return f"https://www.openml.org/d/{self.data_id}"
        return f"https://www.openml.org/search?type=data&name={self.name}&version={self.version}"

    def called(self) -> tuple[str, ...]:
        return (str(self.data_id or self.name),)

    def read(self, context: SourceContext) -> "pd.DataFrame":
        from sklearn.datasets import fetch_openml

        where = self.location(context)
        named = {"name": self.name, "version": self.version}
        asked = named if self.data_id is None else {"data_id": self.data_id}
        try:
            # Without a target, every column is data: scikit-learn would refuse a target with
            # missing values, which training sorts out by itself.
            bunch = fetch_openml(
                **asked, as_frame=True, target_column=None, data_home=str(context.cache)
            )
        except (OSError, HTTPException, ValueError) as error:
            raise SourceError(f"{where} cannot be fetched: {error}") from error
        return deliver(bunch.frame, where)
