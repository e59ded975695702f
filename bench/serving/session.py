"""A contender from its start to its end in one round, and the figures it leaves.

Nothing is timed before the answers were found to be right; whatever goes wrong is a reason.
"""

import http.client
import json
import socket
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import load
import ours
from contenders import ENVIRONMENT, Seat
from processes import Server

TOLERANCE = 1e-6
START_PATIENCE = 120.0
ANSWER_PATIENCE = 30.0
VERIFIED = 20
CONCURRENCY = 8
FIXED_RATE = 1_000
PORTS = 3
"""Consecutive ones: MLServer opens three."""


class ContenderError(Exception):
    """This contender cannot be measured; the message says why."""


class ProfileError(ContenderError):
    """The profiles do not count the rows that were sent."""


@dataclass(frozen=True)
class Seconds:
    """How long each part of a round takes."""

    warm: float = 1.5
    alone: float = 2.0
    together: float = 4.0
    batched: float = 3.0
    fixed: float = 3.0

    def times(self, factor):
        return Seconds(*(factor * one for one in vars(self).values()))


class Session:
    """A contender that runs and has answered right."""

    def __init__(self, contender, seat, server, requests):
        """`requests` by number of rows, as bytes."""
        self.contender = contender
        self.server = server
        self.rows = 0
        """Sent and answered so far."""
        self._seat = seat
        self._batches = seat.trained.batches
        self._requests = requests

    def first_answer(self):
        """Wait for it; the seconds are the caller's to count."""
        end = time.monotonic() + START_PATIENCE
        met = "no connection"
        while time.monotonic() < end:
            if self.server.ended():
                raise ContenderError(f"it ended: {self.server.last_words()}")
            try:
                status, body = ask(self._seat.port, self._requests[1][0])
            except (OSError, http.client.HTTPException) as error:
                met = repr(error)
            else:
                if status == 200:
                    self.rows += 1
                    self._check(1, 0, body)
                    return
                met = f"status {status}: {body[:300]!r}"
            time.sleep(0.01)
        raise ContenderError(f"no answer within {START_PATIENCE:g} s: {met}")

    def verify(self):
        """Ask some batches of each size."""
        for size, requests in self._requests.items():
            for index in range(0, len(requests), max(1, len(requests) // VERIFIED)):
                status, body = ask(self._seat.port, requests[index])
                if status != 200:
                    raise ContenderError(f"{size} rows: status {status}: {body[:300]!r}")
                self.rows += size
                self._check(size, index, body)

    def closed(self, size, **options):
        return self._run(load.closed, size, options)

    def weighed(self, size, **options):
        """As `closed`, with the microseconds of processor time the server spent on each request."""
        before = self.server.cpu_seconds()
        result = self.closed(size, **options)
        spent = self.server.cpu_seconds() - before
        return result, 1e6 * spent / len(result.latencies)

    def at_rate(self, size, **options):
        return self._run(load.at_rate, size, options)

    def _run(self, kind, size, options):
        try:
            result = kind(self._seat.port, self._requests[size], **options)
        except (load.LoadError, OSError) as error:
            raise ContenderError(f"{size} rows: {error}; {self.server.last_words()}") from error
        self.rows += size * len(result.latencies)
        if result.errors:
            raise ContenderError(f"{len(result.errors)} requests failed: {result.errors[0]}")
        for index, body in result.kept:
            self._check(size, index, body)
        return result

    def _check(self, size, index, body):
        expected = self._batches[size][index].expected
        try:
            answered = [float(value) for value in self.contender.answer(json.loads(body))]
        except (ValueError, TypeError, LookupError) as error:
            raise ContenderError(f"not understood ({error!r}): {body[:300]!r}") from error
        near = [abs(a - b) <= TOLERANCE for a, b in zip(answered, expected, strict=False)]
        if len(answered) != len(expected) or not all(near):
            raise ContenderError(f"wrong: {answered[:3]} instead of {expected[:3]}")


@contextmanager
def running(contender, python, trained, core):
    """A session with a fresh server, and the seconds to its first answer; ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        seat = Seat(python, Path(folder), free_port(), trained)
        environment = {**ENVIRONMENT, **contender.environment(seat)}
        requests = {
            size: [contender.request(batch) for batch in batches]
            for size, batches in trained.batches.items()
        }
        command = contender.command(seat)
        started = time.perf_counter()
        server = Server(command, environment=environment, folder=seat.folder, core=core)
        try:
            session = Session(contender, seat, server, requests)
            session.first_answer()
            yield session, time.perf_counter() - started
        finally:
            server.end()
        if contender.records is not None:
            compare_profiles(seat, session.rows if contender.records else 0)


def measure(contender, python, trained, *, core, seconds):
    """The figures of one round.

    Raises:
        ContenderError: there are none, and why.
    """
    with running(contender, python, trained, core) as (session, start):
        session.verify()
        session.closed(1, concurrency=CONCURRENCY, seconds=seconds.warm)
        alone = session.closed(1, concurrency=1, seconds=seconds.alone)
        together, cpu = session.weighed(1, concurrency=CONCURRENCY, seconds=seconds.together)
        batched, cpu_100 = session.weighed(100, concurrency=CONCURRENCY, seconds=seconds.batched)
        figures = {
            "start": start,
            "rate": together.rate,
            "rate_100": batched.rate,
            "p50_alone": alone.quantile(0.5),
            "p99_alone": alone.quantile(0.99),
            "p50": together.quantile(0.5),
            "p99": together.quantile(0.99),
            "cpu": cpu,
            "cpu_100": cpu_100,
            "generator": together.cpu_seconds / together.seconds,
            "ceiling": len(together.latencies) / together.cpu_seconds,
        }
        if together.rate > 1.2 * FIXED_RATE:
            fixed = session.at_rate(1, rate=FIXED_RATE, seconds=seconds.fixed)
            figures |= {"p50_fixed": fixed.quantile(0.5), "p99_fixed": fixed.quantile(0.99)}
        memory = session.server.memory()
        return figures | {"memory": memory.serving, "whole": memory.whole}


def compare_profiles(seat, expected):
    """Stop when the profiles that were left do not hold exactly that many rows."""
    found = ours.profiled_rows(seat)
    if found != expected:
        raise ProfileError(f"{expected} rows are to be in the profiles, {found} are")


def ask(port, request):
    """One request on a connection of its own: status and body."""
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_PATIENCE) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.read()


def free_port():
    """The first of some consecutive ports that nobody listens on."""
    for _ in range(100):
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = first.getsockname()[1]
            try:
                for number in range(port + 1, port + PORTS):
                    socket.create_server(("127.0.0.1", number)).close()
            except OSError:
                continue
            return port
    raise ContenderError("no free ports")
