"""What every ticket sink promises, against a real server. A test class inherits it and names its
sink and what the product answers."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from mlops_assets.monitoring.sinks.base import RefusedError, Sink, SinkContext, SinkDownError
from mlops_assets.monitoring.tickets.findings import Notice

SECRET = "s3cret-of-the-test"
KEY = "mlops/churn/12/1750000000"


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """Answers as it is told, or like the product."""

    product: "type[Product]"
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    status: int = 0
    """Of every answer, where it is not the product's."""
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    delay: float = 0.0
    drops: int = 0
    """Connections that are closed after the product took the request, before it answers."""

    def __post_init__(self) -> None:
        self.state = self.product()


class Product:
    """A product that takes anything."""

    def answer(self, asked: Asked) -> tuple[int, str]:
        return 200, "ok"


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Of the product of the test's class, on a port of its own."""
    made = Server(request.cls.product)

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except ConnectionError:
                self.close_connection = True

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, self.rfile.read(length))
            made.asked.append(asked)
            time.sleep(made.delay)
            status, text = made.status, made.text
            if not status:
                status, text = made.state.answer(asked)
            if made.drops:
                made.drops -= 1
                self.close_connection = True
                return
            content = text.encode()
            self.send_response(status)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = answer  # noqa: N815

        def log_message(self, *_: Any) -> None: ...

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{listening.server_address[1]}"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    listening.shutdown()
    listening.server_close()
    thread.join()


def notice(event: Any = "opened", **changes: Any) -> Notice:
    usual = {
        "id": f"{KEY}/7",
        "key": KEY,
        "ticket": "churn#12",
        "event": event,
        "at": "2026-05-03T04:05:06+00:00",
        "experiment": "churn",
        "cause": "serving_profile/has_not_drifted",
        "severity": "warning",
        "words": "3 of 9 columns <drifted> & more",
        "value": "0.31",
        "threshold": "0.15",
        "since": "2026-05-03T04:05:06+00:00",
        "lasted_s": 7800,
        "closing": "recovered" if event == "closed" else "",
        "asset": "churn/serving_profile",
        "link": "http://dagster/assets/churn/serving_profile?view=checks",
        "runbook": "http://docs/RUNBOOK.md#has_not_drifted",
        "action": "Look at the first column.",
        "followers": ("serving_profile/predictions_have_not_drifted",),
    }
    return Notice(**{**usual, **changes})


class SinkContract:
    """Inherit, set `kind`, `product` and `keys` (with `{url}` for the server's address), and the
    variables in which secrets stand."""

    kind: ClassVar[str]
    product: ClassVar[type[Product]] = Product
    keys: ClassVar[dict[str, Any]]
    variables: ClassVar[dict[str, str]]
    """With `{url}` for the server's address."""

    @pytest.fixture(autouse=True)
    def _no_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    @pytest.fixture
    def sink(self, server: Server) -> Sink:
        from mlops_assets.monitoring.tickets.spec import TicketsSpec

        keys = {n: v.replace("{url}", server.url) if isinstance(v, str) else v
                for n, v in self.keys.items()}  # fmt: skip
        (made,) = TicketsSpec.model_validate({"sinks": [{"kind": self.kind, **keys}]}).sinks
        return made

    @pytest.fixture
    def context(self, server: Server) -> SinkContext:
        values = {n: v.replace("{url}", server.url) for n, v in self.variables.items()}
        return SinkContext("http://dagster", "http://docs/RUNBOOK.md", values)

    def test_tells_what_is_wrong_and_that_it_is_over(
        self, sink: Sink, context: SinkContext, server: Server
    ) -> None:
        reference = sink.send(notice(), context, reference="")
        assert server.asked
        count = len(server.asked)
        sink.send(notice("closed"), context, reference=reference)
        assert len(server.asked) > count

    def test_says_everything(self, sink: Sink, context: SinkContext, server: Server) -> None:
        sink.send(notice(), context, reference="")
        said = server.asked[-1].body.decode()
        for wanted in ("churn", "has_not_drifted", "0.31", "0.15", "warning", "columns"):
            assert wanted in said
        for wanted in ("http://dagster/assets/churn/serving_profile", "RUNBOOK.md#has_not_drifted"):
            assert wanted in said
        assert "Look at the first column." in said
        assert "predictions_have_not_drifted" in said

    @pytest.mark.parametrize("status", [500, 502, 503, 429, 401, 302])
    def test_a_sink_that_takes_nothing_is_down(
        self, sink: Sink, context: SinkContext, server: Server, status: int
    ) -> None:
        server.status, server.text = status, "out of order"
        server.headers = {"Retry-After": "77"} if status == 429 else {}
        with pytest.raises(SinkDownError, match=f"answered {status}: out of order") as caught:
            sink.send(notice(), context, reference="")
        assert str(caught.value).startswith(sink.name)
        assert caught.value.retry_after == (77 if status == 429 else 0)

    def test_what_it_cannot_read_is_refused(
        self, sink: Sink, context: SinkContext, server: Server
    ) -> None:
        server.status, server.text = 400, "invalid"
        with pytest.raises(RefusedError, match="answered 400: invalid"):
            sink.send(notice(), context, reference="")

    def test_slow_and_absent_sinks_are_down(
        self, sink: Sink, context: SinkContext, server: Server
    ) -> None:
        server.delay = 0.3
        with pytest.raises(SinkDownError, match="does not answer: ReadTimeout"):
            sink.send(notice(), replace(context, timeout_s=0.1), reference="")
        server.delay, server.drops = 0.0, 9
        with pytest.raises(SinkDownError, match="does not answer: "):
            sink.send(notice(), context, reference="")

    def test_errors_hold_no_secrets(self, sink: Sink, context: SinkContext, server: Server) -> None:
        secrets = list(context.environment.values())
        server.status, server.text = 500, f"no: {' '.join(secrets)}"
        with pytest.raises(SinkDownError) as caught:
            sink.send(notice(), context, reference="")
        for secret in secrets:
            assert secret not in str(caught.value)
            assert secret not in sink.name
            assert secret not in repr(context)

    def test_a_variable_that_is_not_set_is_named(self, sink: Sink, context: SinkContext) -> None:
        for name in context.environment:
            rest = {k: v for k, v in context.environment.items() if k != name}
            bare = SinkContext(context.dagster_url, context.runbook_url, rest)
            with pytest.raises(SinkDownError, match=f"variable {name} is not set"):
                sink.send(notice(), bare, reference="")
