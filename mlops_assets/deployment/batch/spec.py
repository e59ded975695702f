"""The `deployment.batch` section: tables that are scored whole, by the version endpoints serve."""

from typing import Literal, Self

from pydantic import Field, model_validator

from mlops_assets.experiment.spec import Spec


class BatchSpec(Spec):
    """A folder of tables in, a folder of predictions out: file by file, chunk by chunk."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    """Name of the asset `<experiment>/batch/<name>`."""
    input: str
    """A `.parquet` or `.csv` file, or a folder of them: a path, relative to this file, or
    `s3://`."""
    output: str
    """Folder for the predictions: one Parquet file for each file of the input, named like it."""
    keep: tuple[str, ...] | None = None
    """Columns of the input that stand beside the predictions; by default all of them. Those of a
    CSV file stay text."""
    chunk_rows: int = Field(default=50_000, ge=1, le=10_000_000)
    """Rows that are held in memory at a time."""
    on_invalid: Literal["fail", "mark"] = "fail"
    """What a row does that an endpoint would refuse: end the file's scoring, or get no prediction
    and the reason in the column `error`."""

    @model_validator(mode="after")
    def _check_output(self) -> Self:
        if f"{self.output.rstrip('/')}/".startswith(f"{self.input.rstrip('/')}/"):
            raise ValueError(
                f"output {self.output} is in input {self.input}, whose files it would be next time"
            )
        return self
