"""An OpenML server on a free port of 127.0.0.1: the JSON API and the ARFF download, as recorded.

While it runs, requests of this process to openml.org arrive here, and no other host is reached.
"""

import hashlib
import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.error import URLError

import pandas as pd

HOST = "www.openml.org"
API = "/api/v1/json/data"


@dataclass(frozen=True)
class Dataset:
    """A dataset of the server. Category columns become nominal attributes, others numeric."""

    data_id: int
    name: str
    version: int
    target: str
    frame: pd.DataFrame
    status: str = "active"

    def arff(self) -> bytes:
        lines = [f"@RELATION {self.name}"]
        for column, kind in self.frame.dtypes.items():
            nominal = isinstance(kind, pd.CategoricalDtype)
            values = ",".join(f"'{value}'" for value in kind.categories) if nominal else ""
            lines.append(f"@ATTRIBUTE {column} " + (f"{{{values}}}" if nominal else "NUMERIC"))
        body = self.frame.to_csv(index=False, header=False, na_rep="?", quotechar="'")
        return ("\n".join([*lines, "@DATA", body])).encode()

    def listing(self) -> dict[str, Any]:
        entry = {"did": self.data_id, "name": self.name, "version": self.version}
        return {"data": {"dataset": [{**entry, "status": self.status, "format": "ARFF"}]}}

    def description(self) -> dict[str, Any]:
        return {
            "data_set_description": {
                "id": str(self.data_id),
                "name": self.name,
                "version": str(self.version),
                "description": "made by a test",
                "format": "ARFF",
                "status": self.status,
                "default_target_attribute": self.target,
                "url": f"https://{HOST}/data/v1/download/{self.data_id}/{self.name}.arff",
                "md5_checksum": hashlib.md5(self.arff()).hexdigest(),
            }
        }

    def features(self) -> dict[str, Any]:
        return {
            "data_features": {
                "feature": [
                    {
                        "index": str(index),
                        "name": column,
                        "data_type": "nominal" if kind == "category" else "numeric",
                        "is_target": str(column == self.target).lower(),
                        "is_ignore": "false",
                        "is_row_identifier": "false",
                        "number_of_missing_values": str(self.frame[column].isna().sum()),
                    }
                    for index, (column, kind) in enumerate(self.frame.dtypes.items())
                ]
            }
        }

    def qualities(self) -> dict[str, Any]:
        rows = {"name": "NumberOfInstances", "value": str(float(len(self.frame)))}
        return {"data_qualities": {"quality": [rows]}}


@dataclass
class Openml:
    """What the server holds, and what it was asked for."""

    datasets: tuple[Dataset, ...]
    requests: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET."""
        self.requests.append(path)
        if found := re.fullmatch(r"/data/v1/download/(\d+)/.*", path):
            return 200, self._by_id(found[1]).arff()
        if found := re.fullmatch(
            rf"{API}/list/data_name/([^/]+)/limit/2/data_version/(\d+)(.*)", path
        ):
            status = "deactivated" if found[3] == "/status/deactivated" else "active"
            return self._json(self._named(found[1], int(found[2]), status), "listing")
        if found := re.fullmatch(rf"{API}/(features/|qualities/)?(\d+)", path):
            part = (found[1] or "description/").rstrip("/")
            return self._json(self._by_id(found[2]), part)
        return 404, b"{}"

    def _json(self, dataset: Dataset | None, part: str) -> tuple[int, bytes]:
        if dataset is None:
            # OpenML's way of saying that there is no such dataset.
            error = {"error": {"code": "111", "message": "Unknown dataset"}}
            return 412, json.dumps(error).encode()
        return 200, json.dumps(getattr(dataset, part)()).encode()

    def _by_id(self, data_id: str) -> Any:
        return next((d for d in self.datasets if d.data_id == int(data_id)), None)

    def _named(self, name: str, version: int, status: str) -> Any:
        asked = (name, version, status)
        return next((d for d in self.datasets if (d.name, d.version, d.status) == asked), None)


@contextmanager
def running(*datasets: Dataset) -> Iterator[Openml]:
    peer = Openml(datasets)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = peer.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            with redirected(f"http://127.0.0.1:{server.server_port}"):
                yield peer
        finally:
            server.shutdown()
            thread.join(timeout=10)


@contextmanager
def redirected(address: str) -> Iterator[None]:
    """Send this process's requests for openml.org to `address`, and refuse every other host.

    Through urllib's own hook: scikit-learn has no setting for the server.
    """

    class Redirect(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> Any:
            if request.host != HOST:
                raise URLError(f"the test reaches no host but {HOST}, not {request.host}")
            moved = urllib.request.Request(address + request.selector, headers=request.headers)
            return self.parent.open(moved, timeout=10)

    direct = urllib.request.ProxyHandler({})
    urllib.request.install_opener(urllib.request.build_opener(direct, Redirect))
    try:
        yield
    finally:
        urllib.request.install_opener(urllib.request.build_opener())
