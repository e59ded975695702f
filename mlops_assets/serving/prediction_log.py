"""The rows an endpoint scored, as Parquet: for joining labels later and for looking at single rows.

Columns: `request_id`, `row` (its place in the request), `entity` (text), `time` (UTC), `version`,
the features by their own names and types, `prediction` (text; a float for regression) and one
`probability_<label>` per class. A feature that bears one of these names is called `feature_<name>`.
The file's metadata says under `mlops.log`, as JSON, what the features are called (`features`) and
which share of the requests was kept (`sample`).
"""

import hashlib
import io
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from mlops_assets.serving.bundle import Manifest
from mlops_assets.serving.contents import label
from mlops_assets.serving.recording import ABOUT, Answered, combine

_COMPRESSION = "zstd(1)"


class PredictionLog:
    """Rows that gather in memory until they are cut into one file per window.

    Attributes:
        rows: how many there are.
    """

    def __init__(
        self, manifest: Manifest, *, version: str, sample: float, columns: tuple[str, ...] | None
    ) -> None:
        """
        Raises:
            ValueError: the schema does not know one of `columns`.
        """
        names = manifest.schema.names
        if unknown := sorted(set(columns or ()) - set(names)):
            raise ValueError(
                f"the prediction log asks for {unknown[0]!r}; the model's inputs are "
                f"{', '.join(names)}"
            )
        self.rows = 0
        self._manifest = manifest
        self._version = version
        self._sample = sample
        self._names = [name for name in names if columns is None or name in columns]
        self._windows: dict[datetime, list[Answered]] = {}

    def add(self, window: datetime, answered: Answered) -> None:
        """Keep the rows of a request, if it is in the sample."""
        if is_sampled(answered.request_id, self._sample):
            self._windows.setdefault(window, []).append(answered)
            self.rows += answered.rows

    def take(self) -> dict[datetime, list[Answered]]:
        """What has gathered, by window; it is gone from here."""
        taken, self._windows, self.rows = self._windows, {}, 0
        return taken

    def encode(self, requests: list[Answered]) -> bytes:
        """The rows of these requests as one Parquet file.

        Raises:
            Exception: a value is not of its column's type, in the words of the Arrow library.
        """
        from arro3.core import Array, DataType, Table
        from arro3.io import write_parquet

        types = {
            "text": DataType.string(),
            "float": DataType.float64(),
            "boolean": DataType.bool(),
            "place": DataType.int32(),
            "time": DataType.int64(),
        }
        arrays: dict[str, Any] = {
            name: Array(values, type=types[kind]) for name, kind, values in self._columns(requests)
        }
        arrays["time"] = arrays["time"].cast(DataType.timestamp("us", tz="UTC"))
        file = io.BytesIO()
        about = json.dumps({"features": self._names, "sample": self._sample})
        write_parquet(
            Table.from_pydict(arrays),
            file,
            compression=_COMPRESSION,
            key_value_metadata={ABOUT: about},
        )
        return file.getvalue()

    def _columns(self, requests: list[Answered]) -> Iterator[tuple[str, str, list[Any]]]:
        """Name, type and values of every column."""
        features, scores = combine(requests, self._names)
        yield "request_id", "text", [_text(r.request_id) for r in requests for _ in range(r.rows)]
        yield "row", "place", [place for r in requests for place in range(r.rows)]
        entities = [entity for r in requests for entity in r.entities or [None] * r.rows]
        yield "entity", "text", [_text(entity) for entity in entities]
        yield "time", "time", [round(r.when * 1e6) for r in requests for _ in range(r.rows)]
        yield "version", "text", [self._version] * len(scores.predictions)
        outputs = [f"probability_{label(one)}" for one in self._manifest.classes]
        taken = {"request_id", "row", "entity", "time", "version", "prediction", *outputs}
        for column in self._manifest.schema.columns:
            if column.name in features:
                values = features[column.name]
                name = column.name
                while name in taken:
                    name = f"feature_{name}"
                taken.add(name)
                if column.type == "numeric":
                    yield name, "float", [None if v is None else float(v) for v in values]
                elif column.type == "boolean":
                    yield name, "boolean", values
                else:
                    yield name, "text", [_text(value) for value in values]
        if self._manifest.task == "regression":
            yield "prediction", "float", [float(value) for value in scores.predictions]
            return
        yield "prediction", "text", [label(value) for value in scores.predictions]
        for index, name in enumerate(outputs):
            yield name, "float", [row[index] for row in scores.probabilities]


def is_sampled(request_id: str, share: float) -> bool:
    """Whether a request belongs to that share of all; every replica says the same."""
    if share >= 1:
        return True
    digest = hashlib.blake2b(request_id.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return str(value).encode("utf-8", "replace").decode()  # lone surrogates too
