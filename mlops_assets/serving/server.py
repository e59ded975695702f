"""An ASGI server that takes over a listening socket and leaves it without losing a connection.

Knows nothing of what it serves, and of whom it takes over from.
"""

import asyncio
import contextlib
import select
import signal
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import uvicorn

BACKLOG = 2048
KEEP_ALIVE = 75
GRACE = 2.0
"""Seconds in which callers with an open connection may ask once more."""
DRAIN_TIMEOUT = 30
"""Seconds for the answers still owed after that."""
LONGEST_EMPTYING = 1.0


def serve(
    application: Any,
    listener: socket.socket,
    *,
    on_ready: Callable[[], None],
    on_ending: Callable[[], None],
    on_left: Callable[[], None],
) -> None:
    """Answer until SIGTERM or SIGINT, and then everything that was asked before.

    Args:
        application: ASGI; it may be asked at once, as `connection` does of one that can.
        listener: other processes may listen on the same socket.
        on_ready: called once requests are answered.
        on_ending: called when the signal arrives; answers should close their connections now.
        on_left: called once no further connection is accepted.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            self.loop = asyncio.get_running_loop()
            await super().startup(sockets)
            on_ready()

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            # For good: a second SIGTERM must not end the process before the last flush.
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self.drain())
            yield

        def drain(self) -> None:
            if not self.should_exit:
                self.should_exit = True
                on_ending()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await self.stop_accepting()
            on_left()
            # Callers with an open connection get an answer that closes it, not a reset.
            end = self.loop.time() + GRACE
            while self.server_state.connections and self.loop.time() < end:
                await asyncio.sleep(0.02)
            await super().shutdown(sockets)

        async def stop_accepting(self) -> None:
            """Close this process's hold on the socket, at a moment when no connection waits in it:
            where no other process listens, those would be reset."""
            waiting = select.poll()
            waiting.register(listener, select.POLLIN)
            end = self.loop.time() + LONGEST_EMPTYING
            while waiting.poll(0) and self.loop.time() < end:
                await asyncio.sleep(0)
            for server in self.servers:
                server.close()
            # Whoever was accepted last meets their protocol in the next turns of the loop.
            await asyncio.sleep(0.05)

    Server(configured(application)).run(sockets=[listener])


def configured(application: Any) -> "uvicorn.Config":
    """How uvicorn serves it."""
    import uvicorn

    from mlops_assets.serving.connection import Connection

    return uvicorn.Config(
        application,
        loop="uvloop",
        http=Connection,
        lifespan="on",
        ws="none",
        access_log=False,
        log_config=None,
        log_level="warning",
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=DRAIN_TIMEOUT,
        server_header=False,
        proxy_headers=False,
    )
