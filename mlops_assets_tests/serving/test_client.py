"""The client asks again only where that is safe, and its errors say what is known."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.serving.client import Client, EndpointError

RIGHT = {
    "predictions": ["No"],
    "probabilities": [[0.75, 0.25]],
    "classes": ["No", "Yes"],
    "model": "churn",
    "version": "3",
    "request_id": "abc",
}

Reply = tuple[int, Any, dict[str, str]]


@contextmanager
def server(*replies: Reply) -> Iterator[tuple[str, list[Any]]]:
    """Gives the replies one after the other, the last one for ever."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, content, headers = replies[min(len(asked), len(replies) - 1)]
            asked.append((self.path, dict(self.headers.items()), body))
            text = content if isinstance(content, str) else json.dumps(content)
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Nothing on the terminal."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}", asked
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def test_an_answer_is_typed_and_complete() -> None:
    with server((200, RIGHT, {})) as (url, asked), Client(url, "a-key") as client:
        answer = client.predict([{"tenure": 3}], explain=True, probe=True)
    assert (answer.predictions, answer.probabilities) == (["No"], [[0.75, 0.25]])
    assert (answer.model, answer.version, answer.request_id) == ("churn", "3", "abc")
    assert answer.explanations is None
    ((path, headers, body),) = asked
    assert path == "/invocations?explain=true"
    assert headers["authorization"] == "Bearer a-key"
    assert headers["x-mlops-probe"] == "1"
    assert json.loads(body) == {"dataframe_records": [{"tenure": 3}]}


@pytest.mark.parametrize("status", [502, 503, 504])
def test_what_passes_is_asked_again_after_growing_waits(status: int) -> None:
    slept: list[float] = []
    busy = (status, "busy", {})
    with (
        server(busy, busy, busy, (200, RIGHT, {})) as (url, asked),
        Client(url, sleep=slept.append, jitter=lambda: 1.0) as client,
    ):
        assert client.predict([{}]).version == "3"
    assert len(asked) == 4
    assert slept == [0.1, 0.2, 0.4]


def test_the_endpoint_says_how_long_to_wait() -> None:
    slept: list[float] = []
    with (
        server((503, {}, {"retry-after": "7"}), (200, RIGHT, {})) as (url, _),
        Client(url, sleep=slept.append, jitter=lambda: 0.0) as client,
    ):
        client.predict([{}])
    assert slept == [7.0]


@pytest.mark.parametrize("status", [400, 401, 404, 413, 429, 500])
def test_a_refusal_is_told_at_once_with_everything_known_of_it(status: int) -> None:
    refusal = {"error": "bad_value", "message": "tenure is 'x'; allowed: numbers"}
    with (
        server((status, refusal, {"x-request-id": "r-1"})) as (url, asked),
        Client(url) as client,
        pytest.raises(EndpointError) as caught,
    ):
        client.predict([{"tenure": "x"}])
    assert len(asked) == 1
    error = caught.value
    assert (error.url, error.status, error.reason) == (url, status, "bad_value")
    assert (error.message, error.request_id) == (refusal["message"], "r-1")
    assert str(error) == f"{url} answers {status} bad_value: {refusal['message']} (request r-1)"


def test_attempts_end() -> None:
    slept: list[float] = []
    with (
        server((503, "busy", {})) as (url, asked),
        Client(url, retries=2, sleep=slept.append) as client,
        pytest.raises(EndpointError, match="answers 503: busy"),
    ):
        client.predict([{}])
    assert (len(asked), len(slept)) == (3, 2)


def test_nobody_there_is_tried_again_and_then_told() -> None:
    slept: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with Client(url, retries=2, sleep=slept.append) as client:
        with pytest.raises(EndpointError, match="does not answer") as caught:
            client.predict([{}])
        assert not client.ready()
    assert (caught.value.status, caught.value.reason, len(slept)) == (None, "unreachable", 2)


def test_a_request_that_may_have_been_received_is_not_repeated() -> None:
    slept: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            Client(url, timeout=0.2, sleep=slept.append) as client,
            pytest.raises(EndpointError, match="does not answer: timed out") as caught,
        ):
            client.predict([{}])
    assert (caught.value.reason, slept) == ("no_answer", [])


@pytest.mark.parametrize("content", ["<html>sign in</html>", [], {"predictions": []}, "null"])
def test_a_page_of_somebody_else_is_no_answer(content: Any) -> None:
    with (
        server((200, content, {})) as (url, _),
        Client(url) as client,
        pytest.raises(EndpointError, match="no endpoint of ours"),
    ):
        client.predict([{}])


def test_readiness_and_metadata() -> None:
    with server((200, {"name": "churn"}, {})) as (url, asked), Client(url) as client:
        assert client.ready()
        assert client.metadata("churn") == {"name": "churn"}
    assert [path for path, _, _ in asked] == ["/v2/health/ready", "/v2/models/churn"]
    with server((503, {}, {})) as (url, asked), Client(url, sleep=lambda _: None) as client:
        assert not client.ready()
    assert len(asked) == 1


def test_it_needs_nothing_of_the_platform() -> None:
    root = Path(__file__).parent.parent.parent
    code = (
        "import sys, mlops_assets.serving.client as c; c.Client('http://127.0.0.1:9').close()\n"
        "print(*sorted({n.partition('.')[0] for n in sys.modules}))"
    )
    env = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    assert not {"dagster", "mlflow", "numpy", "pandas", "pydantic"} & set(
        done.stdout.decode().split()
    )
