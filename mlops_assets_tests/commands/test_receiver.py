"""The receiver of webhooks on a real socket: what is forged, repeated, oversized or slow."""

import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import dagster as dg
import httpx
import pytest

from mlops_assets.commands.listening import MOST_CONNECTIONS
from mlops_assets.commands.receiver import MOST_BYTES, Receiver
from mlops_assets.commands.webhooks import leave
from mlops_assets.gateways.webhooks import signature
from mlops_assets.registry import waking

SECRET = "a secret of some length"
BODY = json.dumps({"entity": "model_version", "action": "created", "data": {}}).encode()


class Storage:
    """Where marks are left; it may be away."""

    def __init__(self, *, away: bool = False) -> None:
        self.marks: list[str] = []
        self.away = away

    def leave(self, mark: str) -> None:
        if self.away:
            raise ConnectionError("the database does not answer")
        self.marks.append(mark)


class Running:
    """A receiver in a thread."""

    def __init__(self, storage: Storage, seconds: float = 10.0) -> None:
        self.storage = storage
        self.said: list[str] = []
        self.server = Receiver(
            ("127.0.0.1", 0), SECRET, storage.leave, tell=self.said.append, seconds=seconds
        )
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def post(self, body: bytes = BODY, **changed: str) -> int:
        return httpx.post(self.url, content=body, headers=signed(body) | changed).status_code

    def raw(self, text: bytes) -> bytes:
        """What it answers to bytes, until it closes."""
        with socket.create_connection(("127.0.0.1", self.server.server_port), timeout=5) as sent:
            sent.sendall(text)
            return b"".join(iter(lambda: sent.recv(4096), b""))

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    delivery, stamp = str(uuid.uuid4()), str(int(datetime.now(UTC).timestamp()))
    return {
        "X-MLflow-Signature": signature(secret, delivery, stamp, body),
        "X-MLflow-Delivery-Id": delivery,
        "X-MLflow-Timestamp": stamp,
    }


@pytest.fixture
def running() -> Iterator[Running]:
    with closing(Running(Storage())) as found:
        yield found


def test_each_delivery_leaves_a_mark_of_its_own(running: Running) -> None:
    assert [running.post(), running.post()] == [204, 204]
    assert len(set(running.storage.marks)) == 2
    assert running.said == ["model_version.created"] * 2


def test_a_forged_one_changes_nothing(running: Running) -> None:
    forged = signed(BODY, "another secret, as long")
    assert running.post(**forged) == 401
    assert running.post(**{"X-MLflow-Signature": "v1,"}) == 401
    assert httpx.post(running.url, content=BODY).status_code == 401
    assert running.storage.marks == []


def test_a_repeated_one_changes_nothing_and_is_answered_alike(running: Running) -> None:
    sent = signed(BODY)
    assert [running.post(**sent) for _ in range(3)] == [204] * 3
    assert running.storage.marks == [sent["X-MLflow-Delivery-Id"]]
    assert running.said[1:] == ["model_version.created, which came before"] * 2


def test_one_that_could_not_be_stored_is_asked_for_again(running: Running) -> None:
    sent, running.storage.away = signed(BODY), True
    assert running.post(**sent) == 503
    assert "the database does not answer" in running.said[0]
    running.storage.away = False
    assert running.post(**sent) == 204
    assert running.storage.marks == [sent["X-MLflow-Delivery-Id"]]


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (f"POST / HTTP/1.1\r\nContent-Length: {MOST_BYTES + 1}\r\n\r\n", 413),
        (f"POST / HTTP/1.1\r\nContent-Length: {'9' * 5000}\r\n\r\n", 413),
        ("POST / HTTP/1.1\r\n\r\n", 411),
        ("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 411),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 411),
        (f"POST / HTTP/1.1\r\nX: {'x' * 70_000}\r\n\r\n", 431),
        ("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 401),
        ("DELETE / HTTP/1.1\r\n\r\n", 501),
        ("GET / HTTP/1.1\r\n\r\n", 404),
        ("GET /health HTTP/1.1\r\n\r\n", 200),
    ],
)
def test_what_is_no_delivery(running: Running, request_text: str, status: int) -> None:
    answered = running.raw(request_text.encode())
    assert answered.split(b"\r\n", 1)[0].split()[1] == str(status).encode()
    assert running.storage.marks == []


def test_malformed_and_signed_is_400(running: Running) -> None:
    assert running.post(b"no event") == 400


@pytest.mark.parametrize("sent", [b"", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n12"])
def test_a_slow_caller_is_given_up(sent: bytes) -> None:
    with closing(Running(Storage(), seconds=0.2)) as running:
        began = time.monotonic()
        assert running.raw(sent) == b""
        assert time.monotonic() - began < 3


def test_a_caller_that_trickles_is_given_up() -> None:
    with closing(Running(Storage(), seconds=0.3)) as running:
        address = ("127.0.0.1", running.server.server_port)
        with socket.create_connection(address, timeout=5) as caller:
            caller.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n")
            for _ in range(20):
                time.sleep(0.05)
                try:
                    caller.sendall(b"x")
                except OSError:
                    break
            else:
                pytest.fail("it went on reading")


def test_callers_that_hold_every_connection_do_not_hold_it_for_ever(running: Running) -> None:
    address = ("127.0.0.1", running.server.server_port)
    held = [socket.create_connection(address, timeout=5) for _ in range(MOST_CONNECTIONS)]
    with closing(socket.create_connection(address, timeout=5)) as one_more:
        assert one_more.recv(1) == b"", "closed at once"
    for connection in held:
        connection.close()
    for _ in range(100):
        try:
            assert running.post() == 204
            break
        except httpx.TransportError:
            continue
    assert len(running.storage.marks) == 1


def test_a_mark_stands_in_dagsters_own_storage() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for mark in ("first", "second"):
            leave(instance, mark)
            stored = instance.daemon_cursor_storage.get_cursor_values({waking.KEY})
            assert stored == {waking.KEY: mark}
