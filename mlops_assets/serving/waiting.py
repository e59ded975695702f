"""Answers on an endpoint's socket until the first worker does: alive, and not ready.

For a foreground endpoint, whose bundle may have a long way to come. Standard library only.
"""

import json
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

LIVE = "/v2/health/live"
READY = ("/ping", "/v2/health/ready")
PATIENCE = 5.0
_BODY = 1_000_000
"""Bytes of a request that are read, so that its sender gets to read the answer."""


class Waiting:
    """A waiting room before the endpoint; who is let in hears when to come again."""

    def __init__(self, listener: socket.socket) -> None:
        """Begin to answer.

        Args:
            listener: stays open when this is closed, for the workers.
        """
        self.listener = listener
        self._server: ThreadingHTTPServer | None = _Server(listener)
        options = {"poll_interval": 0.02}
        Thread(target=self._server.serve_forever, kwargs=options, daemon=True).start()

    def close(self) -> None:
        """Leave the socket to others; to close it again changes nothing."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener.dup()
        # A worker may have taken the connection that was seen to be waiting.
        self.socket.setblocking(False)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.setblocking(True)
        return connection, address


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE

    def answer(self) -> None:
        path = self.path.partition("?")[0]
        content: dict[str, Any]
        if path == LIVE:
            status, content = 200, {"live": True}
        elif path in READY:
            status, content = 503, {"ready": False}
        else:
            message = "the model is not loaded yet; try again"
            status, content = 503, {"error": "not_ready", "message": message}
        length = self.headers.get("content-length", "")
        self.rfile.read(min(int(length), _BODY) if length.isdecimal() else 0)
        body = json.dumps(content).encode()
        self.send_response_only(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        if status == 503:
            self.send_header("retry-after", "1")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = answer  # noqa: N815 the names are those of the methods

    def log_message(self, *_: Any) -> None:
        """Nothing: a probe a second is no news."""
