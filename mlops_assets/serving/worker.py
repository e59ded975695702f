"""One process that serves one bundle on a socket it inherits. Started by the supervisor.

Says on a pipe when it is ready, or why not; leaves nothing unanswered and unprofiled on SIGTERM;
ends when the process that holds the other end of its life line does.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.serving.bundle import BundleError

if TYPE_CHECKING:
    from mlops_assets.serving.app import Service
    from mlops_assets.serving.profiler import Profiler

log = logging.getLogger("worker")

DRAIN_TIMEOUT = 30
KEEP_ALIVE = 75
BACKLOG = 2048


def main(arguments: list[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(name)s[%(process)d] %(levelname)s %(message)s"
    )
    threading.Thread(target=_end_with, args=(asked.life_fd,), daemon=True).start()

    def say(**message: Any) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(asked.ready_fd, (json.dumps(message) + "\n").encode())

    started = time.perf_counter()
    try:
        service, profiler = _prepare(asked)
    except BundleError as error:
        say(state="failed", detail=str(error))
        log.error("bundle refused: %s", error)  # noqa: TRY400 the reason is complete
        return 3

    def on_ready() -> None:
        service.ready = True
        profiler.start()
        log.info("version %s ready after %.2f s", asked.version, time.perf_counter() - started)
        say(state="ready")

    _serve(service, asked, on_ready=on_ready, on_drain=lambda: say(state="draining"))
    profiler.close()
    log.info("version %s ended", asked.version)
    return 0


def _prepare(asked: argparse.Namespace) -> tuple["Service", "Profiler"]:
    from mlops_assets.serving.app import Limits, Service
    from mlops_assets.serving.metrics import Metrics
    from mlops_assets.serving.profiler import Profiler
    from mlops_assets.serving.scorer import Scorer

    scorer = Scorer.open(asked.bundle)
    if scorer.digest != asked.digest:
        raise BundleError(
            f"{asked.bundle} has digest {scorer.digest}, {asked.digest} was to be served"
        )
    scorer.self_test()
    metrics = Metrics(scorer, asked.version)
    profiler = Profiler(
        scorer.manifest.schema,
        url=asked.profiles_url,
        window_seconds=asked.window_seconds,
        spool=asked.spool,
        metadata={"model": scorer.manifest.model, "version": asked.version},
        flush_seconds=asked.flush_seconds,
        on_rows=metrics.observe,
    )
    metrics.watch(profiler)
    limits = Limits(
        max_rows=asked.max_rows,
        max_body_bytes=asked.max_body_bytes,
        max_in_flight=asked.max_in_flight,
    )
    return Service(
        scorer, version=asked.version, limits=limits, metrics=metrics, recorder=profiler
    ), profiler


def _serve(
    service: "Service",
    asked: argparse.Namespace,
    *,
    on_ready: Callable[[], None],
    on_drain: Callable[[], None],
) -> None:
    import uvicorn

    from mlops_assets.serving.app import build

    listener = socket.socket(fileno=asked.fd)
    listener.setblocking(False)

    class Server(uvicorn.Server):
        """Hands the socket over to its successor without losing a connection."""

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
                service.draining = True
                if self.started:
                    self.loop.call_soon_threadsafe(self.stop_accepting)

        def stop_accepting(self) -> None:
            # What waits in the socket's queue is left to whoever else listens on it. The socket
            # is closed only after the connections already accepted have met their protocol.
            self.loop.remove_reader(listener.fileno())
            self.loop.call_later(0.05, self.stop_listening)
            on_drain()

        def stop_listening(self) -> None:
            for server in self.servers:
                server.close()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Callers with an open connection get an answer that closes it, not a reset.
            end = self.loop.time() + asked.grace
            while self.server_state.connections and self.loop.time() < end:
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.06)
            await super().shutdown(sockets)

    config = uvicorn.Config(
        build(service),
        loop="asyncio",  # uvloop does not let go of a listening socket without closing it
        lifespan="on",
        ws="none",
        access_log=False,
        log_config=None,
        log_level="warning",
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=DRAIN_TIMEOUT,
        server_header=False,
    )
    Server(config).run(sockets=[listener])


def _end_with(descriptor: int) -> None:
    """Ask this process to end once nobody holds the other end of the pipe."""
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlops_assets.serving.worker", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="listening socket")
    parser.add_argument("--ready-fd", type=int, required=True, help="pipe for JSON lines")
    parser.add_argument("--life-fd", type=int, required=True, help="pipe whose end is ours")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--digest", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--profiles-url", required=True)
    parser.add_argument("--window-seconds", type=int, required=True)
    parser.add_argument("--spool", type=Path, required=True)
    parser.add_argument("--max-rows", type=int, required=True)
    parser.add_argument("--max-body-bytes", type=int, required=True)
    parser.add_argument("--max-in-flight", type=int, required=True)
    parser.add_argument("--flush-seconds", type=float, default=10.0)
    parser.add_argument("--grace", type=float, default=2.0, help="seconds for open connections")
    return parser


if __name__ == "__main__":
    sys.exit(main())
