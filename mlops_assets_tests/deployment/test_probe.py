"""The probe believes an endpoint only when it answers as in training, and never crashes."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.deployment.breach import NO_ANSWER, Breach
from mlops_assets.deployment.probe import Probe, probe
from mlops_assets.serving import bundle
from mlops_assets.serving.client import Client
from mlops_assets.serving.scorer import Scorer
from mlops_assets_tests.builders import Built, make_bundle


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("probe") / "bundle")


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("probe") / "bundle", task="regression")


FORM = ("answers of another form", "as in training")
SILENCE = ("HTTP 200", "answers")


@contextmanager
def endpoint(*, status: int = 200, body: Any = None, text: str | None = None) -> Iterator[Any]:
    """A server that gives one answer; yields its URL and the requests it got."""
    asked: list[tuple[str, dict[str, str], Any]] = []
    content = (text if text is not None else json.dumps(body)).encode()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["content-length"]))
            asked.append((self.path, dict(self.headers.items()), json.loads(request)))
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Nothing on the terminal."""

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def asked_over_http(url: str, built: Path, timeout: float = 10.0) -> Probe:
    """The probe of version 7, which a client of ours puts to the endpoint."""
    with Client(url, timeout=timeout, retries=0) as client:
        return probe(
            lambda records: client.predict(records, probe=True), version=7, bundle_folder=built
        )


def right(built: Built) -> dict[str, Any]:
    """What the bundle's own scorer answers to the golden requests."""
    golden = bundle.read_golden(built.folder)
    names = built.manifest.schema.names
    scores = Scorer.open(built.folder).score(
        {name: [record[name] for record in golden.records] for name in names}
    )
    body = {"version": "7", "predictions": scores.predictions}
    return body | ({"probabilities": scores.probabilities} if scores.probabilities else {})


def test_the_golden_requests_are_asked_marked_as_a_probe(binary: Built) -> None:
    with endpoint(body=right(binary)) as (url, asked):
        found = asked_over_http(url, binary.folder)
    assert found.passed
    assert found.reason == "5 golden requests answered as in training"
    assert 0 < found.milliseconds < 5000
    assert found.breach is None
    ((path, headers, body),) = asked
    assert path == "/invocations"
    assert headers["x-mlops-probe"] == "1"
    assert body == {"dataframe_records": list(bundle.read_golden(binary.folder).records)}


def test_a_regression_is_compared_by_value(regression: Built) -> None:
    body = right(regression)
    with endpoint(body=body) as (url, _):
        assert asked_over_http(url, regression.folder).passed
    body["predictions"][2] += 0.01 * max(1, abs(body["predictions"][2]))
    with endpoint(body=body) as (url, _):
        found = asked_over_http(url, regression.folder)
    assert not found.passed
    assert found.reason == "golden requests are answered 0.01 away from training"


def changed(built: Built, **changes: Any) -> dict[str, Any]:
    return right(built) | changes


def shifted(built: Built, by: float) -> dict[str, Any]:
    (first, *rest) = right(built)["probabilities"]
    return changed(built, probabilities=[[first[0] - by, first[1] + by], *rest])


@pytest.mark.parametrize(
    ("answer", "words", "breach"),
    [
        (lambda b: changed(b, version="6"), "version 6 answers, not 7", ("version 6", "version 7")),
        (
            lambda b: changed(b, predictions=["Maybe"] * 5),
            "with other labels than in training",
            ("5 of 5 labels differ", "0"),
        ),
        (lambda b: shifted(b, 1e-3), "answered 0.001 away from training", ("0.001 away", "1e-06")),
        (
            lambda b: shifted(b, float("nan")),
            "answered nan away from training",
            ("nan away", "1e-06"),
        ),
        (
            lambda b: changed(b, predictions=["No"]),
            "1 answers to 5 golden requests",
            ("1 answers", "5 answers"),
        ),
        (
            lambda b: changed(b, probabilities=right(b)["probabilities"][:2]),
            "no endpoint of ours",
            FORM,
        ),
        (lambda b: changed(b, probabilities=[[1.0]] * 5), "no endpoint of ours", FORM),
        (lambda b: {"predictions": right(b)["predictions"]}, "KeyError('version')", SILENCE),
        (
            lambda b: changed(b, version="latest"),
            "version latest answers, not 7",
            ("version latest", "version 7"),
        ),
        (lambda _: ["not", "an", "object"], "no endpoint of ours", SILENCE),
        (lambda _: None, "no endpoint of ours", SILENCE),
    ],
)
def test_any_other_answer_fails_and_says_how(
    binary: Built, answer: Any, words: str, breach: tuple[str, str]
) -> None:
    with endpoint(body=answer(binary)) as (url, _):
        found = asked_over_http(url, binary.folder)
    assert not found.passed
    assert words in found.reason
    assert found.milliseconds > 0
    assert found.breach == Breach(*breach)


def test_a_differing_row_is_allowed_what_the_tolerance_says(binary: Built) -> None:
    with endpoint(body=shifted(binary, 1e-8)) as (url, _):
        assert asked_over_http(url, binary.folder).passed


def test_a_page_of_a_proxy_is_no_answer(binary: Built) -> None:
    with endpoint(text="<html>sign in</html>") as (url, _):
        found = asked_over_http(url, binary.folder)
    assert not found.passed
    assert "<html>sign in</html>" in found.reason


def test_an_error_is_shown_with_its_text(binary: Built) -> None:
    with endpoint(status=503, text="overloaded" * 100) as (url, _):
        found = asked_over_http(url, binary.folder)
    assert not found.passed
    assert f"{url} answers 503: overloaded" in found.reason
    assert found.breach == Breach("HTTP 503", "answers")
    assert len(found.reason) < 400


def test_nobody_there_is_told_quickly(binary: Built) -> None:
    with endpoint(body={}) as (url, _):
        pass
    for address in (url, "http://127.0.0.1:notaport"):
        found = asked_over_http(address, binary.folder, timeout=2.0)
        assert not found.passed
        assert "does not answer" in found.reason
        assert found.breach == NO_ANSWER
        assert found.milliseconds == 0.0


def test_a_server_that_hangs_is_left_after_the_timeout(binary: Built) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        found = asked_over_http(url, binary.folder, timeout=0.3)
    assert not found.passed
    assert "does not answer: timed out" in found.reason
    assert found.breach == NO_ANSWER


def test_a_bundle_without_golden_requests_is_an_error_of_ours(
    binary: Built, tmp_path: Path
) -> None:
    with pytest.raises(bundle.BundleError, match="holds no golden requests"):
        asked_over_http("http://127.0.0.1:9", tmp_path)
