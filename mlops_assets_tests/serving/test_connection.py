"""Requests answered where they are read are answered as uvicorn's own connections do."""

import contextlib
import json
import re
import socket
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mlops_assets.serving.service import Limits
from mlops_assets_tests.serving.callers import Recorder, at_once, served, service_of
from mlops_assets_tests.serving.test_v2 import PATH, tensors

BUFFER = 4096
KEYS = frozenset({"secret"})
LIMITS = Limits(max_rows=5, max_body_bytes=100_000)
SETTINGS = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=150)
VARYING = re.compile(rb"(date: |x-request-id: |\"(?:request_)?id\":\")[^\"\r]*")


@pytest.fixture(scope="module")
def service(binary):
    return service_of(binary, scorer=at_once(binary), limits=LIMITS, keys=KEYS)


@pytest.fixture(scope="module")
def ours(service):
    with served(service) as port:
        yield port


@pytest.fixture(scope="module")
def plain(service):
    with served(service, http=HttpToolsProtocol) as port:
        yield port


@pytest.fixture(scope="module")
def bodies(binary):
    """By path, bodies that are answered, refused, explained and too large."""
    one, six = ({"instances": binary.records(rows)} for rows in (1, 6))
    wrong = {"instances": [{**binary.records(1)[0], "nothing": 1}]}
    v2 = {"inputs": tensors(binary, 2)}
    explained = {**v2, "parameters": {"explain": True}}
    found = {
        "/invocations": [*map(json.dumps, (one, six, wrong)), "", "{", " " * 40_000, "x" * 200_000],
        PATH: [json.dumps(v2), json.dumps(explained), json.dumps(one)],
    }
    return {path: [body.encode() for body in each] for path, each in found.items()}


def request(body, *, path, method="POST", version="1.1", headers=(), chunked=False):
    lines = [f"{method} {path} HTTP/{version}", "host: test", *headers]
    if chunked:
        lines.append("transfer-encoding: chunked")
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    else:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


GOODBYE = b"GET /v2/health/live HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
"""The last request, after whose answer the server closes."""


def told(port, parts, *, last=GOODBYE):
    """Everything the server says to parts that arrive one by one, without what always differs."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):  # it may have closed after an earlier one
            for part in (*parts, last):
                connection.sendall(part)
                time.sleep(0.003)
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65_536):
                received += part
    return VARYING.sub(rb"\1", received)


HEADERS = st.lists(
    st.sampled_from(
        [
            "Content-Type: application/json", "content-type: text/csv", "content-type: a/b",
            "content-encoding: gzip", "X-Request-ID: mine", "connection: close",
            "Connection: keep-alive", "expect: 100-continue", "x-mlops-probe: 1",
            "connection: upgrade", "x-api-key: wrong",
        ]
    ),
    max_size=3, unique=True,
)  # fmt: skip


@SETTINGS
@given(st.data())
def test_whatever_is_asked_is_answered_as_by_uvicorn(ours, plain, bodies, data):
    asked = b""
    for _ in range(data.draw(st.integers(1, 3), label="requests")):
        path = data.draw(st.sampled_from(sorted(bodies)))
        asked += request(
            data.draw(st.sampled_from(bodies[path])),
            path=path + data.draw(st.sampled_from(["", "", "", "?", "?explain=true", "/", "#a"])),
            method=data.draw(st.sampled_from(["POST", "POST", "POST", "GET", "PUT"])),
            version=data.draw(st.sampled_from(["1.1", "1.1", "1.1", "1.0"])),
            headers=("authorization: Bearer secret", *data.draw(HEADERS)),
            chunked=data.draw(st.booleans()),
        )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(asked)), max_size=3), label="cuts"))
    parts = [asked[a:b] for a, b in zip([0, *cuts], [*cuts, len(asked)], strict=True)]
    assert told(ours, parts) == told(plain, parts)


def test_an_upgrade_is_answered_as_by_uvicorn(ours, plain, bodies):
    """What follows it is no HTTP to the parser: nobody says goodbye."""
    headers = ["authorization: Bearer secret", "connection: close, upgrade", "upgrade: h2c"]
    asked = request(bodies["/invocations"][0], path="/invocations", headers=headers)
    assert told(ours, [asked], last=b"") == told(plain, [asked], last=b"") != b""


def test_a_request_that_arrives_whole_takes_no_task(ours, service, bodies, monkeypatch):
    answered = []
    real = type(service).at_once

    def spied(self, *given):
        answered.append(real(self, *given))
        return answered[-1]

    async def never(*_):
        raise AssertionError("it is answered at once")

    monkeypatch.setattr(type(service), "at_once", spied)
    monkeypatch.setattr(type(service), "answer", never)
    body = bodies["/invocations"][0]
    whole = request(body, path="/invocations", headers=["x-api-key: secret"])
    said = told(ours, [whole])
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(answered) == 1
    assert VARYING.sub(rb"\1", answered[0]) in said


def test_callers_who_do_not_listen_are_not_answered_without_end(binary, bodies):
    """What is not read stays unsent, and what is not sent is not asked for."""
    recorder = Recorder()
    service = service_of(binary, scorer=at_once(binary), recorder=recorder)
    one = request(bodies["/invocations"][0], path="/invocations")
    with served(service, buffer=BUFFER) as port, not_listening(port, one) as (connection, sent):
        before = settled(recorder.submitted)
        assert sent - before * len(one) < 1_000_000
        reader = threading.Thread(target=drain, args=(connection,), daemon=True)
        reader.start()
        end = time.monotonic() + 20
        while len(recorder.submitted) == before and time.monotonic() < end:
            time.sleep(0.02)
        assert len(recorder.submitted) > before


def test_requests_wait_with_their_sender_while_a_slow_model_answers(executed_by_sklearn, bodies):
    recorder = Recorder()
    service = service_of(executed_by_sklearn, recorder=recorder)
    one = request(bodies["/invocations"][0], path="/invocations")
    many = memoryview(one * 1000)
    sent = 0
    with served(service, buffer=65_536) as port, connected(port, 65_536) as connection:
        connection.settimeout(0.05)
        threading.Thread(target=drain, args=(connection,), daemon=True).start()
        end = time.monotonic() + 60
        while len(recorder.submitted) < 50 and time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                sent += connection.send(many[sent % len(many) :])
        answered = len(recorder.submitted)
        assert answered >= 50
        assert sent - answered * len(one) < 1_000_000


def test_a_caller_who_goes_away_with_answers_unread_is_no_error(binary, bodies, caplog):
    service = service_of(binary, scorer=at_once(binary))
    one = request(bodies["/invocations"][0], path="/invocations")
    with served(service, buffer=BUFFER) as port:
        with not_listening(port, one):
            pass
        assert told(port, [one]).startswith(b"HTTP/1.1 200 OK\r\n")
    assert not caplog.messages


@contextlib.contextmanager
def connected(port, buffer):
    """A connection whose sides keep about `buffer` bytes each that are not sent or not read yet."""
    with socket.socket() as connection:
        for side in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            connection.setsockopt(socket.SOL_SOCKET, side, buffer)
        connection.connect(("127.0.0.1", port))
        yield connection


@contextlib.contextmanager
def not_listening(port, one):
    """A connection over which `one` request was sent until no more was taken, and how many bytes
    that were; no answer was read."""
    many = memoryview(one * 1000)
    sent = 0
    with connected(port, BUFFER) as connection:
        connection.settimeout(1.0)
        with contextlib.suppress(TimeoutError):
            while sent < 100_000_000:
                sent += connection.send(many[sent % len(many) :])
        assert sent < 100_000_000
        yield connection, sent


def settled(submitted):
    """How many there are once no more come for a second."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        before = len(submitted)
        time.sleep(1)
        if len(submitted) == before:
            return before
    raise AssertionError("it goes on answering a caller who does not listen")


def drain(connection):
    try:
        while connection.recv(65_536):
            pass
    except OSError:
        pass
