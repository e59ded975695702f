"""Whatever is sent is answered: no 5xx, no hang, no memory without bound."""

import contextlib
import itertools
import json
import re
import resource
import socket
import time

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_assets.serving.app import Application
from mlops_assets.serving.service import Limits
from mlops_assets_tests.serving.callers import TestClient, at_once, served, service_of
from mlops_assets_tests.serving.test_v2 import PATH, tensors

LIMITS = Limits(max_rows=50, max_body_bytes=1_000_000, body_seconds=0.5)
SETTINGS = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=150)


@pytest.fixture(scope="module")
def client(binary):
    with TestClient(
        Application(service_of(binary, scorer=at_once(binary), limits=LIMITS))
    ) as client:
        yield client


@pytest.fixture(scope="module")
def port(binary):
    with served(service_of(binary, scorer=at_once(binary), limits=LIMITS)) as port:
        yield port


@pytest.fixture(scope="module")
def good(binary):
    """Path, content type and body of a request that is answered, in each dialect."""
    records = binary.records(2)
    names = list(records[0])
    rows = [list(record.values()) for record in records]
    csv = "\n".join(",".join("" if v is None else str(v) for v in row) for row in [names, *rows])
    objects = [
        {"dataframe_split": {"columns": names, "data": rows}},
        {"dataframe_records": records},
        {"inputs": {name: [record[name] for record in records] for name in names}},
    ]
    lines = "\n".join(map(json.dumps, records))
    found = [("/invocations", "application/json", json.dumps(content)) for content in objects]
    found += [("/invocations", "text/csv", csv), ("/invocations", "application/jsonlines", lines)]
    found += [(PATH, "application/json", json.dumps({"inputs": tensors(binary, 2)}))]
    return [(path, media, body.encode()) for path, media, body in found]


def test_the_bodies_that_are_mutated_are_good(client, good):
    for path, media, body in good:
        response = client.post(path, content=body, headers={"content-type": media})
        assert response.status_code == 200


SPLICES = st.binary(max_size=8) | st.sampled_from(
    [b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"[" * 2000, b'{"a":' * 2000, b"\xff\xfe",
     b"\\ud800", b"\xed\xa0\x80", b"\x00", b"\xef\xbb\xbf", b'"', b",", b"\r", b"null", b"-"]
)  # fmt: skip


@SETTINGS
@given(
    st.integers(0, 5),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 20), SPLICES), min_size=1, max_size=3),
)
def test_mutated_bodies_are_answered_or_refused(client, good, which, changes):
    path, media, body = good[which]
    for where, cut, put in changes:
        at = int(where * len(body))
        body = body[:at] + put + body[at + cut :]
    response = client.post(path, content=body, headers={"content-type": media})
    assert response.status_code in (200, 400), response.text
    assert ("message" in response.json()) == (response.status_code == 400)


@SETTINGS
@given(
    st.sampled_from(["/invocations", PATH]),
    st.sampled_from(["application/json", "text/csv", "application/jsonlines", "", "a/b; c", ";"]),
    st.binary(max_size=80),
)
def test_random_bytes_are_answered_or_refused(client, path, media, body):
    response = client.post(path, content=body, headers={"content-type": media})
    assert response.status_code in (200, 400, 415)


@SETTINGS
@given(st.sampled_from(["utf-16", "utf-32", "utf-7", "utf-8-sig", "cp037"]), st.integers(0, 5))
def test_other_encodings_are_refused_or_make_no_difference(client, good, encoding, which):
    path, media, body = good[which]
    response = client.post(
        path, content=body.decode().encode(encoding), headers={"content-type": media}
    )
    assert response.status_code in (200, 400)


@SETTINGS
@given(
    st.dictionaries(
        st.sampled_from(
            ["content-type", "content-encoding", "x-request-id", "authorization", "x-api-key",
             "x-mlops-probe", "expect", "accept"]
        ),
        st.binary(max_size=30).map(lambda value: value.replace(b"\n", b"").replace(b"\r", b"")),
    ),
    st.text(alphabet="/vmodels2infer?=&%_.é", max_size=30),
)  # fmt: skip
def test_odd_headers_and_paths_are_no_failure(client, headers, path):
    # With its host: a path may begin with two slashes.
    response = client.post(f"http://test/{path}", content=b"{}", headers=headers)
    assert response.status_code < 500
    assert response.headers["x-request-id"].isascii()


def exchange(port, data, *, timeout=10.0):
    """What the server says to `data`, until it closes or `timeout` has passed."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(data)
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65_536):
                received += part
    return received


def statuses(received):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


def request(body, *headers, method="POST", path="/invocations"):
    lines = [f"{method} {path} HTTP/1.1", "host: test", "content-type: application/json", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


BODY = b'{"instances": []}'
LAST = request(b"", "connection: close", method="GET", path="/ping")
SMUGGLED = b"GET /v2/health/live HTTP/1.1\r\nhost: smuggled\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        request(BODY, "content-length: 17", "content-length: 18"),
        request(BODY, "content-length: 17, 18"),
        request(BODY, "content-length: -1"),
        request(BODY, "content-length: +17"),
        request(BODY, "content-length: 0x11"),
        request(BODY, "content-length: 99999999999999999999999"),
        request(b"0\r\n\r\n" + SMUGGLED, "content-length: 5", "transfer-encoding: chunked"),
        request(b"0\r\n\r\n" + SMUGGLED, "transfer-encoding: chunked", "content-length: 5"),
        request(b"0\r\n\r\n" + SMUGGLED, "transfer-encoding: chunked, identity"),
        request(b"0\r\n\r\n" + SMUGGLED, "transfer-encoding: xchunked"),
        request(b"0\r\n\r\n" + SMUGGLED, "transfer-encoding : chunked"),
        request(b"zz\r\n" + BODY + b"\r\n0\r\n\r\n", "transfer-encoding: chunked"),
        request(b"-5\r\n" + BODY + b"\r\n0\r\n\r\n", "transfer-encoding: chunked"),
        request(b"ffffffffffffffffff\r\n" + BODY, "transfer-encoding: chunked"),
        request(b"11\r\n" + BODY + b"xx0\r\n\r\n", "transfer-encoding: chunked"),
        b"GET /ping HTTP/1.1\r\nhost: a\r\nbroken header\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nhost: a\r\nx-a: 1\r\n b: folded\r\n\r\n",
        b"GET /ping HTTP/1.1\nhost: a\n\n" + b"\x00" * 20,
        b"GET /ping HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_a_message_of_two_meanings_is_refused_and_the_connection_ends(port, data):
    found = statuses(exchange(port, data, timeout=5))
    # Nothing is answered after the refusal: what follows could be somebody else's request.
    assert len(found) == 1
    assert 400 <= found[0] < 500


def test_pipelined_requests_are_answered_in_order(port, binary):
    body = json.dumps({"instances": binary.records(1)}).encode()
    length = f"content-length: {len(body)}"
    data = b"".join(request(body, length, f"x-request-id: r{index}") for index in range(30))
    received = exchange(port, data + LAST)
    assert statuses(received) == [200] * 31
    ids = [line[14:] for line in received.split(b"\r\n") if line.startswith(b"x-request-id: r")]
    assert ids == [b"r%d" % index for index in range(30)]


def test_a_refused_body_is_not_taken_for_the_next_request(port):
    body = SMUGGLED * 3
    data = request(body, f"content-length: {len(body)}", method="PUT")
    assert statuses(exchange(port, data + LAST)) == [405, 200]


def test_a_slow_body_is_given_up(port):
    started = time.monotonic()
    received = exchange(port, request(b"{", "content-length: 17"))
    assert statuses(received) == [408]
    assert b"body_too_slow" in received
    assert time.monotonic() - started < 8


def test_slow_bodies_do_not_keep_others_waiting(port):
    slow = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(10)]
    try:
        for connection in slow:
            connection.sendall(request(b"{", "content-length: 17"))
        assert statuses(exchange(port, request(BODY, "content-length: 17") + LAST)) == [400, 200]
        assert [connection.recv(12) for connection in slow] == [b"HTTP/1.1 408"] * 10
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.parametrize("chunked", [True, False])
def test_a_huge_body_is_refused_while_it_comes(port, chunked):
    megabyte = b"x" * 1_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sent = 0

    def parts():
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield megabyte

    headers = {} if chunked else {"content-length": "100000000"}
    url = f"http://127.0.0.1:{port}/invocations"
    with contextlib.suppress(httpx.WriteError, httpx.ReadError):
        assert httpx.post(url, content=parts(), headers=headers).status_code == 413
    assert sent < 50
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 60_000, "kilobytes more than before"
    assert statuses(exchange(port, LAST)) == [200]


def test_a_caller_that_goes_away_leaves_nothing_behind(binary):
    service = service_of(binary, limits=LIMITS)
    with served(service) as port:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(request(b'{"inst', "content-length: 100"))
        assert statuses(exchange(port, LAST)) == [200]
        end = time.monotonic() + 5
        while service.in_flight and time.monotonic() < end:
            time.sleep(0.02)
        assert service.in_flight == 0


def test_bodies_made_to_cost_are_refused_soon(client):
    costly = [
        b'{"instances": [' + b"{}," * 300_000 + b"{}]}",
        b'{"instances": [' + b"[]," * 300_000 + b"[]]}",
        b'{"dataframe_split": {"columns": [' + b'"a",' * 200_000 + b'"a"], "data": [[]]}}',
        b'{"instances": [{' + b",".join(b'"%d":1' % i for i in range(90_000)) + b"}]}",
        b'{"instances": [{"tenure": ' + b"9" * 900_000 + b"}]}",
        b'{"instances": ' + b"[" * 900_000,
        b'{"inputs": {"tenure": [' + b"1," * 400_000 + b"1]}}",
    ]
    as_csv = [b"," * 900_000, b"a\n" * 450_000, b'"' + b"a" * 900_000, b"\n" * 900_000]
    bodies = itertools.chain(
        ((body, "application/json") for body in costly), ((body, "text/csv") for body in as_csv)
    )
    for body, media in bodies:
        started = time.process_time()
        response = client.post("/invocations", content=body, headers={"content-type": media})
        assert response.status_code in (400, 413), body[:40]
        assert len(response.content) < 1000
        assert time.process_time() - started < 5, body[:40]
