"""The load generator: prebuilt requests over keep-alive connections on loopback, and their times.

Closed loop: each connection asks again once it is answered. Open loop: requests fall due at a fixed
rate whether the server keeps up or not, and the time of each counts from when it was due. Every
run is bounded in requests and in seconds.
"""

import asyncio
import collections
import gc
import itertools
import re
import time
from dataclasses import dataclass, field

import uvloop

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
PATIENCE = 60.0
KEEP_EVERY = 37
KEEP_MOST = 100
OPEN_CONNECTIONS = 32


class LoadError(Exception):
    """The server closed a connection, answered in a way not understood, or not at all."""


@dataclass
class Result:
    """What a run saw."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of the generator itself: what it costs bounds what it can measure."""
    latencies: list = field(default_factory=list)
    """Seconds, of the requests answered with 200."""
    errors: list = field(default_factory=list)
    """Answers with another status."""
    kept: list = field(default_factory=list)
    """Some answers to check: (index of the request, body)."""

    @property
    def rate(self):
        return len(self.latencies) / self.seconds

    def quantile(self, share):
        """Milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Connection(asyncio.Protocol):
    """One request at a time; `on_answer` gets this connection, the status and the body."""

    def __init__(self, on_answer, on_lost):
        self._on_answer = on_answer
        self._on_lost = on_lost
        self._received = b""
        self.index = 0
        self.began = 0.0

    def connection_made(self, transport):
        self._transport = transport

    def ask(self, index, request, began):
        self.index, self.began = index, began
        self._transport.write(request)

    def data_received(self, data):
        data = self._received + data if self._received else data
        head = data.find(b"\r\n\r\n")
        if head < 0:
            self._received = data
            return
        length = LENGTH.search(data, 0, head)
        if length is None:
            self._on_lost(LoadError(f"an answer without a length: {data[:300]!r}"))
            return
        if len(data) < head + 4 + int(length[1]):
            self._received = data
            return
        self._received = b""
        self._on_answer(self, data[9:12], data[head + 4 :])

    def connection_lost(self, error):
        self._on_lost(LoadError(f"the server closed a connection: {error}"))

    def close(self):
        self._on_lost = lambda error: None
        self._transport.close()


class Run:
    """One run against one server: what both loops have in common."""

    def __init__(self, port, requests, *, limit, seconds):
        self.result = Result()
        self._port = port
        self._requests = requests
        self._limit = limit
        self._seconds = seconds
        self._count = 0
        self._open = 0
        self._done = asyncio.get_running_loop().create_future()

    async def connect(self, connections, on_answer):
        loop, made = asyncio.get_running_loop(), []
        for _ in range(connections):
            connection = Connection(on_answer, self._lost)
            await loop.create_connection(lambda found=connection: found, "127.0.0.1", self._port)
            made.append(connection)
        return made

    def take(self, connection, status, body):
        """Note an answer."""
        self._open -= 1
        if status != b"200":
            self.result.errors.append((status, body[:300]))
            return
        self.result.latencies.append(time.perf_counter() - connection.began)
        if connection.index % KEEP_EVERY == 0 and len(self.result.kept) < KEEP_MOST:
            self.result.kept.append((connection.index % len(self._requests), body))

    def send(self, connection, began):
        """Ask the next request."""
        index = self._count
        self._count += 1
        self._open += 1
        connection.ask(index, self._requests[index % len(self._requests)], began)

    def _lost(self, error):
        if not self._done.done():
            self._done.set_exception(error)

    def finished(self):
        return self._count >= self._limit or time.perf_counter() >= self._end

    async def closed(self, concurrency):
        def on_answer(connection, status, body):
            self.take(connection, status, body)
            if not self.finished():
                self.send(connection, time.perf_counter())
            elif not self._open:
                self._done.set_result(None)

        connections = await self.connect(concurrency, on_answer)
        self._end = time.perf_counter() + self._seconds
        for connection in connections:
            self.send(connection, time.perf_counter())
        await self._finish(connections)

    async def at_rate(self, rate):
        waiting = collections.deque()
        sent = False

        def on_answer(connection, status, body):
            self.take(connection, status, body)
            if waiting:
                self.send(connection, waiting.popleft())
            else:
                idle.append(connection)
                if sent and not self._open and not self._done.done():
                    self._done.set_result(None)

        connections = await self.connect(OPEN_CONNECTIONS, on_answer)
        idle = list(connections)
        started = time.perf_counter()
        self._end = started + self._seconds
        for number in itertools.count():
            due = started + number / rate
            if due >= self._end or number >= self._limit or self._done.done():
                break
            # The loop's own timers are a millisecond coarse; this core has nothing else to do.
            while time.perf_counter() < due:
                await asyncio.sleep(0)
            if idle:
                self.send(idle.pop(), due)
            else:
                waiting.append(due)
        sent = True
        if not self._open and not self._done.done():
            self._done.set_result(None)
        await self._finish(connections)

    async def _finish(self, connections):
        try:
            async with asyncio.timeout(self._seconds + PATIENCE):
                await self._done
        except TimeoutError as error:
            raise LoadError(f"{self._open} requests were not answered") from error
        finally:
            for connection in connections:
                connection.close()


def closed(port, requests, *, concurrency, seconds, limit=1_000_000):
    """Ask as fast as `concurrency` connections are answered.

    Raises:
        LoadError: the run could not be brought to its end.
    """
    return _timed(port, requests, limit, seconds, lambda run: run.closed(concurrency))


def at_rate(port, requests, *, rate, seconds, limit=1_000_000):
    """Ask `rate` times a second, at most 32 at once.

    Raises:
        LoadError: the run could not be brought to its end.
    """
    return _timed(port, requests, limit, seconds, lambda run: run.at_rate(rate))


def _timed(port, requests, limit, seconds, go):
    async def main():
        run = Run(port, requests, limit=limit, seconds=seconds)
        began, cpu = time.perf_counter(), time.process_time()
        await go(run)
        run.result.seconds = time.perf_counter() - began
        run.result.cpu_seconds = time.process_time() - cpu
        return run.result

    gc.collect()
    gc.disable()
    try:
        return uvloop.run(main())
    finally:
        gc.enable()
