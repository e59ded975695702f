"""A small HTTP server that takes MLflow's webhooks and leaves a mark for each. Knows no store.

It is reachable by whoever reaches its port: everything is bounded before it is believed.
"""

import re
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mlops_assets.gateways.webhooks import FRESH_SECONDS, WebhookError, verify

MOST_BYTES = 1024 * 1024
"""A version's event carries its description and tags."""
MOST_CONNECTIONS = 32
SECONDS = 10.0
REMEMBERED = 10_000
"""Deliveries that are recognized when they come again."""
WINDOW = 2 * FRESH_SECONDS


class Receiver(ThreadingHTTPServer):
    """Answers 204 to what MLflow signed, once it is marked; a repeated delivery marks nothing."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        address: tuple[str, int],
        secret: str,
        mark: Callable[[str], None],
        *,
        tell: Callable[[str], None],
        seconds: float = SECONDS,
    ) -> None:
        """
        Args:
            address: host and port; port 0 takes a free one.
            secret: that MLflow signs with.
            mark: leaves a mark by a delivery's id, durably; whatever it raises is answered with
                503, upon which MLflow tries again.
            tell: a line for people.
            seconds: for a request to arrive.
        """
        self.secret = secret
        self.tell = tell
        self.seconds = seconds
        self._mark = mark
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(address, _Handler)

    def take(self, delivery: str) -> bool:
        """Mark a delivery; False when it was marked before."""
        with self._lock:
            at = time.monotonic()
            while self._seen and at - next(iter(self._seen.values())) > WINDOW:
                self._seen.popitem(last=False)
            if delivery in self._seen:
                return False
            # Remembered only once it is durable: a delivery that failed comes again.
            self._mark(delivery)
            self._seen[delivery] = at
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        return True

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that goes away is no news."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    server_version = "mlops-webhooks"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.seconds)

    def do_POST(self) -> None:
        try:
            delivery = verify(
                dict(self.headers.items()),
                self._body(),
                secret=self.server.secret,
                now=datetime.now(UTC),
            )
        except WebhookError as error:
            self._answer(error.status, str(error))
            return
        try:
            new = self.server.take(delivery.id)
        except Exception as error:  # noqa: BLE001 whatever the storage raises, MLflow asks again
            self.server.tell(f"{delivery.event} could not be stored: {error}")
            self._answer(503, "not stored; try again")
            return
        self.server.tell(f"{delivery.event}{'' if new else ', which came before'}")
        self._answer(204, "")

    def do_GET(self) -> None:
        """For whoever watches over the process."""
        self._answer(200 if self.path == "/health" else 404, "")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Requests are not logged: anybody could fill the disk."""

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]+", length) or "Transfer-Encoding" in self.headers:
            raise WebhookError(411, "a request says how long it is, in Content-Length")
        if len(length) > len(str(MOST_BYTES)) or int(length) > MOST_BYTES:
            raise WebhookError(413, f"at most {MOST_BYTES} bytes")
        body, ends = b"", time.monotonic() + self.server.seconds
        while len(body) < int(length):
            part = self.rfile.read1(int(length) - len(body))
            if not part or time.monotonic() > ends:
                raise WebhookError(408, "the body did not arrive")
            body += part
        return body

    def _answer(self, status: int, message: str) -> None:
        content = message.encode()
        self.send_response(status)
        self.send_header("Connection", "close")
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.end_headers()
        if status != 204:
            self.wfile.write(content)
        self.close_connection = True
