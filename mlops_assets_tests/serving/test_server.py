"""Servers that take a listening socket over from each other, with callers who notice everything."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from mlops_assets_tests.endpoints import until

PROGRAM = """
import asyncio, os, socket, sys
from mlops_assets.serving.server import serve

ending = []

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await asyncio.sleep(float(scope["path"][1:] or 0))
    close = [(b"connection", b"close")] if ending else []
    body = str(os.getpid()).encode()
    headers = [(b"content-length", str(len(body)).encode()), *close]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

serve(
    application,
    socket.socket(fileno=int(sys.argv[1])),
    on_ready=lambda: print("ready", flush=True),
    on_ending=lambda: ending.append(True),
    on_left=lambda: print("left", flush=True),
)
"""


class Server:
    """A process that serves on an inherited socket."""

    def __init__(self, listener: socket.socket) -> None:
        descriptor = listener.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(descriptor)],
            pass_fds=[descriptor],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.says() == "ready"

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> int:
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(60)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        yield listener


@contextmanager
def callers(listener: socket.socket, *, kept: int, new: int) -> Iterator[tuple[list, list, list]]:
    """Yields who answered, what failed, and which connections were refused."""
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    answered, failed, refused = [], [], []
    ends = threading.Event()

    def call(keeps: bool) -> None:
        with httpx.Client(timeout=60, trust_env=False) as client:
            while not ends.is_set():
                try:
                    get = client.get if keeps else httpx.get
                    answered.append(int(get(url).text))
                except httpx.ConnectError:
                    refused.append(time.monotonic())
                    time.sleep(0.02)
                except httpx.HTTPError as error:
                    failed.append(repr(error))

    threads = [threading.Thread(target=call, args=(i < kept,)) for i in range(kept + new)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(answered) > 20, 60)
        yield answered, failed, refused
    finally:
        ends.set()
        for thread in threads:
            thread.join(60)


@pytest.mark.parametrize("crew", [1, 2])
def test_no_connection_is_lost_when_servers_replace_each_other_again_and_again(listener, crew):
    serving = [Server(listener) for _ in range(crew)]
    everyone = [server.process.pid for server in serving]
    with callers(listener, kept=3, new=3) as (answered, failed, refused):
        for _ in range(int(os.environ.get("SWAPS", "3"))):
            old, serving = serving, [Server(listener) for _ in range(crew)]
            everyone += [server.process.pid for server in serving]
            for server in old:
                server.end()
            for server in old:
                assert server.says() == "left"
            before = len(answered)
            until(lambda n=before: len(answered) > n + 50, 60)
            assert [server.ended() for server in old] == [0] * crew
    assert (failed, refused) == ([], [])
    assert set(answered) <= set(everyone)
    assert len(set(answered)) > len(everyone) // 2
    for server in serving:
        server.end()
        server.ended()


def test_the_last_server_to_leave_answers_whoever_is_connected(listener):
    server = Server(listener)
    with callers(listener, kept=3, new=6) as (answered, failed, refused):
        listener.close()
        server.end()
        assert server.says() == "left"
        assert server.ended() == 0
        until(lambda: len(refused) > 9, 60)
    assert failed == []
    assert len(answered) > 20


def test_a_request_that_takes_long_is_finished_and_a_second_signal_changes_nothing(listener):
    server = Server(listener)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(httpx.get(f"{url}/4", timeout=60, trust_env=False))
    )
    thread.start()
    time.sleep(0.5)
    server.end()
    assert server.says() == "left"
    server.end()
    assert server.ended() == 0
    thread.join(60)
    assert [answer.status_code for answer in answers] == [200]
