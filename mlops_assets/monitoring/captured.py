"""What Amazon SageMaker captured of requests and answers, as rows.

A file holds a JSON object per line: `captureData.endpointInput` and `.endpointOutput`, each with
`mode`, `encoding` (JSON, CSV or BASE64), `observedContentType` and `data`, and `eventMetadata` with
`customAttributes` (SageMaker's documentation, "Capture data from real-time endpoint"). The answer
names the version. Requests that were refused have no rows, and probes are no traffic.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlops_assets.serving import client
from mlops_assets.serving.contents import Contents, of_lists
from mlops_assets.serving.reader import Reader
from mlops_assets.serving.recording import Answered, combine
from mlops_assets.serving.refusals import RequestError
from mlops_assets.serving.schema import InputSchema
from mlops_assets.serving.scorer import Columns, Scores

_CHUNK = 50_000
_LARGEST = 10_000_000
"""Rows of one request: what was answered was not too large."""


@dataclass(frozen=True)
class Captured:
    """Reads the captured requests of one version; picklable."""

    version: int
    schema: InputSchema
    entity: str | None
    """A field of requests that is no input."""

    @classmethod
    def of_json(cls, version: int, told: dict[str, Any]) -> "Captured":
        return cls(version, InputSchema.from_json(told["schema"]), told["entity"])

    def rows(self, content: bytes) -> Iterator[Contents]:
        """What a file holds of this version, chunk by chunk.

        Raises:
            ValueError: a line is no captured request, or its rows are not those of the model.
        """
        reader = Reader(self.schema, max_rows=_LARGEST, entity=self.entity)
        held, size = list[Answered](), 0
        for number, line in enumerate(content.splitlines(), 1):
            if not line.strip():
                continue
            try:
                answered = self._of_event(json.loads(line), reader)
            except (ValueError, KeyError, TypeError, AttributeError, RequestError) as error:
                raise ValueError(f"line {number} is no captured request: {error!r}") from error
            if answered is None:
                continue
            held.append(answered)
            size += answered.rows
            if size >= _CHUNK:
                yield self._contents(held)
                held, size = [], 0
        if held:
            yield self._contents(held)

    def _contents(self, held: list[Answered]) -> Contents:
        return of_lists(self.schema, *combine(held, self.schema.names))

    def _of_event(self, event: dict[str, Any], reader: Reader) -> Answered | None:
        """None for what is no answer of this version."""
        said = _scores(event["captureData"]["endpointOutput"], self.version)
        if said is None or client.PROBE_HEADER in event["eventMetadata"].get(
            "customAttributes", ()
        ):
            return None
        asked = _columns(event["captureData"]["endpointInput"], reader)
        if len(next(iter(asked.values()))) != len(said.predictions):
            raise ValueError(f"{len(said.predictions)} predictions for other rows")
        return Answered(asked, said, 0.0, "", None)


def _scores(output: dict[str, Any], version: int) -> Scores | None:
    """What the version answered; None for another version, and for a refusal."""
    try:
        said = json.loads(_body(output))
    except ValueError:
        return None  # a proxy's page, or what else comes instead of an answer
    if not isinstance(said, dict) or "predictions" not in said or said["version"] != str(version):
        return None
    return Scores(said["predictions"], said.get("probabilities", []))


def _columns(given: dict[str, Any], reader: Reader) -> Columns:
    media, _, parameters = str(given["observedContentType"]).partition(";")
    body = _body(given)
    if media.strip() == "text/csv":
        header = {"present": True, "absent": False}.get(parameters.partition("header=")[2].strip())
        return reader.csv(body, header=header).columns
    return reader.json(body).columns if media.strip() == client.JSON else reader.lines(body).columns


def _body(part: dict[str, Any]) -> bytes:
    data = str(part["data"])
    return base64.b64decode(data) if part["encoding"] == "BASE64" else data.encode()
