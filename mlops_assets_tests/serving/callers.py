"""Those who ask an endpoint in tests: in process, and over a real socket."""

import asyncio
import contextlib
import socket
import threading
import time
from dataclasses import replace

import httpx
import uvicorn

from mlops_assets.serving.app import Application
from mlops_assets.serving.metrics import Metrics
from mlops_assets.serving.scorer import Scorer
from mlops_assets.serving.server import configured
from mlops_assets.serving.service import Limits, Service

DEFAULTS = Limits()


def service_of(
    built,
    *,
    limits=DEFAULTS,
    scorer=None,
    recorder=None,
    keys=frozenset(),
    entity=None,
):
    """A ready service; `entity` is written into the manifest."""
    scorer = scorer or Scorer.open(built.folder)
    if entity is not None:
        scorer = replace(scorer, manifest=replace(scorer.manifest, entity=entity))
    service = Service(
        scorer,
        version="7",
        limits=limits,
        metrics=Metrics(scorer, "7"),
        recorder=recorder,
        keys=keys,
    )
    service.ready = True
    return service


def at_once(built):
    """The bundle's scorer as one that is fast enough for the event loop."""
    scorer = Scorer.open(built.folder)
    return replace(scorer, manifest=replace(scorer.manifest, runtime="onnx"))


class TestClient:
    """A synchronous caller of an application in this process."""

    __test__ = False

    def __init__(self, app):
        self._runner = asyncio.Runner()
        transport = httpx.ASGITransport(app=app)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://test")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._runner.run(self._client.aclose())
        self._runner.close()

    def request(self, method, path, **options):
        return self._runner.run(self._client.request(method, path, **options))

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)


@contextlib.contextmanager
def served(service, *, http=None, buffer=None):
    """The port on loopback where a real server answers for `service`, in a thread; `http` stands in
    for its class of connections. The system keeps about `buffer` bytes for it that it has not read:
    by default as many as the machine allows, which may be tens of megabytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        config = configured(Application(service))
        if http is not None:
            config.http = http
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        end = time.monotonic() + 20
        while not server.started and time.monotonic() < end:
            time.sleep(0.01)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)


class Recorder:
    """Keeps what it is handed."""

    def __init__(self):
        self.submitted = []
        self.pending_rows = self.dropped_rows = self.flush_failures = self.logged_rows = 0
        self.dropped_log_rows = self.waiting_bytes = 0
        self.last_flush = None

    def submit(self, columns, scores, *, when, request_id, entities):
        self.submitted.append((columns, scores, when, request_id, entities))
