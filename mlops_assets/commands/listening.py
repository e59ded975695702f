"""A small HTTP server that holds no more connections than it can bear. Knows no path."""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MOST_CONNECTIONS = 32
SECONDS = 10.0
"""For a request to arrive."""


class Listener(ThreadingHTTPServer):
    """Closes at once what comes beyond `MOST_CONNECTIONS`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[BaseHTTPRequestHandler],
        *,
        seconds: float = SECONDS,
    ) -> None:
        """
        Args:
            address: host and port; port 0 takes a free one.
            handler: of one request.
            seconds: for a request to arrive.
        """
        self.seconds = seconds
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(address, handler)

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


class Handler(BaseHTTPRequestHandler):
    """One request, answered once."""

    server: Listener
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.seconds)

    def do_GET(self) -> None:
        self.get()

    def do_POST(self) -> None:
        self.post()

    def get(self) -> None:
        self.answer(405, b"nothing can be asked for")

    def post(self) -> None:
        self.answer(405, b"nothing is taken")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Requests are not logged: anybody could fill the disk."""

    def answer(self, status: int, content: bytes, media: str = "text/plain; charset=utf-8") -> None:
        """Send it, and close the connection."""
        self.send_response(status)
        self.send_header("Connection", "close")
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", media)
        self.end_headers()
        if status != 204:
            self.wfile.write(content)
        self.close_connection = True
