"""A connection of uvicorn's whose scoring requests are answered where they are read.

A request that has arrived whole needs no task, no queue of events and no second turn of the event
loop, which together cost more than a prediction. Every other request goes uvicorn's way.
"""

from collections.abc import Sized
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.flow_control import FlowControl  # noqa: TID253 as below
from uvicorn.protocols.http.httptools_impl import (  # noqa: TID253 whoever serves imports this
    HttpToolsProtocol,
    RequestResponseCycle,
)

from mlops_assets.serving.web import CLOSE, Answer

if TYPE_CHECKING:
    from mlops_assets.serving.app import Application

STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}


class _Patient(FlowControl):
    """Reads no more while requests are `waiting` that were read: or they would grow by all that can
    be read while one is answered."""

    def __init__(self, transport: Any, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()


class Connection(HttpToolsProtocol):
    """For an `Application`, as it is and not wrapped; every other one is served as uvicorn does."""

    app: "Application"

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._paths: frozenset[bytes] = getattr(self.app, "at_once_paths", frozenset())
        self._held: list[bytes] | None = None
        """The parts of the body, of a request whose end may be about to be read."""
        self._answering: RequestResponseCycle | None = None
        """What a task was last started for; `cycle` is the last that arrived."""
        self._first = True
        """No request of what is being read was answered: the others of one who sends many wait
        their turn."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.flow = _Patient(transport, self.pipeline)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answering is not None:  # or it would write to nobody, and log that as its error
            self._answering.disconnected = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._first = True
        super().data_received(data)
        if self._held is not None and self.parser is not None:
            self._let_go()

    def on_headers_complete(self) -> None:
        if self._may_be_answered_at_once():
            self._held = []
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._held is None:
            super().on_body(body)
        else:
            self._held.append(body)

    def on_message_complete(self) -> None:
        if self._held is None:
            super().on_message_complete()
            return
        answer = self.app.at_once(self.url, self.headers, b"".join(self._held))
        if answer is None:
            self._let_go()
            super().on_message_complete()
        else:
            self._held, self._first = None, False
            self._write(answer)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _may_be_answered_at_once(self) -> bool:
        parser = self.parser
        return (
            self.url in self._paths
            and self._first
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and not self.transport.is_closing()
            and not self.expect_100_continue
            and parser.get_method() == b"POST"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and parser.get_http_version() == "1.1"
        )

    def _write(self, answer: Answer) -> None:
        parts = [STATUS_LINES[answer.status]]
        for name, value in (*self.server_state.default_headers, *answer.headers):
            parts += (name, b": ", value, b"\r\n")
        parts += (b"\r\n", answer.body)
        self.transport.write(b"".join(parts))
        if CLOSE in answer.headers:
            self.transport.close()
        self.on_response_complete()

    def _let_go(self) -> None:
        """Go on as uvicorn does from a request's headers."""
        parts, self._held = self._held, None
        super().on_headers_complete()
        for part in parts or ():
            super().on_body(part)
