"""Asks an endpoint, and asks again where that is safe. Needs httpx, and nothing of the platform.

    with Client("http://127.0.0.1:8080", key="...") as client:
        answer = client.predict([{"tenure": 3, "contract": "monthly"}])
        print(answer.predictions, answer.probabilities, answer.version)

May be shared by threads.
"""

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

PROBE_HEADER = "x-mlops-probe"
"""A request that bears it is answered like any other, but is not counted as traffic."""
JSON = "application/json"
PASSING = frozenset({502, 503, 504})
"""Statuses after which the same request may succeed."""
FIRST_WAIT = 0.1
LONGEST_WAIT = 30.0
SHOWN = 300
"""Characters of an answer that an error shows."""


class EndpointError(Exception):
    """An endpoint does not answer, or refuses.

    Attributes:
        url: what was asked.
        status: of the answer; None when there was none.
        reason: one word, as the endpoint's metrics have it; empty when the answer names none.
        message: a sentence for people.
        request_id: by which the endpoint's log names the request; empty when unknown.
    """

    def __init__(
        self, url: str, *, status: int | None, reason: str, message: str, request_id: str
    ) -> None:
        self.url = url
        self.status = status
        self.reason = reason
        self.message = message
        self.request_id = request_id
        if status is None:
            said = f"{url} does not answer: {message}"
        elif status == 200:
            said = f"{url} answers what no endpoint of ours would: {message}"
        else:
            said = f"{url} answers {status}{reason and f' {reason}'}: {message}"
        super().__init__(said + (f" (request {request_id})" if request_id else ""))


@dataclass(frozen=True)
class Answer:
    """What a model says of n rows."""

    predictions: list[Any]
    """n labels, or n numbers for regression."""
    probabilities: list[list[float]]
    """n rows in the order of `classes`; empty for regression."""
    classes: list[Any]
    model: str
    version: str
    request_id: str
    explanations: Any
    """Present when they were asked for."""
    content: dict[str, Any]
    """All of it, as it came."""


def body(records: Sequence[Mapping[str, Any]]) -> str:
    """The request for predictions of these records."""
    return json.dumps({"dataframe_records": list(records)})


def read(url: str, status: int, body: str, request_id: str) -> Answer:
    """The answer that the body of a response holds.

    Args:
        url: what was asked, for errors.
        status: of the response.
        body: of the response.
        request_id: by which the endpoint's log names the request; empty when unknown.

    Raises:
        EndpointError: it refuses, or is not what an endpoint answers.
    """
    if status >= 300:
        raise refusal(url, status, body, request_id)
    try:
        content = json.loads(body)
        return Answer(
            predictions=content["predictions"],
            probabilities=content.get("probabilities", []),
            classes=content.get("classes", []),
            model=str(content.get("model", "")),
            version=str(content["version"]),
            request_id=str(content.get("request_id", "")),
            explanations=content.get("explanations"),
            content=content,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"{error!r} in {body[:SHOWN]}"
        raise EndpointError(
            url, status=status, reason="", message=said, request_id=request_id
        ) from error


def refusal(url: str, status: int | None, body: str, request_id: str) -> EndpointError:
    """What a response says that is no answer; arguments as of `read`."""
    try:
        content = json.loads(body) if status != 200 else {}
        reason, message = str(content["error"]), str(content["message"])
    except (ValueError, KeyError, TypeError):
        reason, message = "", body[:SHOWN]
    return EndpointError(url, status=status, reason=reason, message=message, request_id=request_id)


class Client:
    """Callers of one endpoint; keeps connections open between requests."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout: float = 10.0,
        retries: int = 3,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Connect when first asked.

        Args:
            url: base URL of the endpoint.
            key: where the endpoint asks for one.
            timeout: seconds for one attempt.
            retries: further attempts after one that did not connect, or was answered with 502, 503
                or 504. Nothing else is repeated.
            sleep: waits.
            jitter: between 0 and 1, so that callers do not come back all at once.
        """
        import httpx

        self.url = url.rstrip("/")
        self._retries = retries
        self._sleep = sleep
        self._jitter = jitter
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        # No proxy of the environment: it would not reach an endpoint of this machine or cluster.
        self._http = httpx.Client(timeout=timeout, headers=headers, trust_env=False)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def predict(
        self, records: Sequence[Mapping[str, Any]], *, explain: bool = False, probe: bool = False
    ) -> Answer:
        """What the model says of the records.

        Args:
            records: one mapping per row, by column.
            explain: also say how much each column contributed.
            probe: do not count this as traffic.

        Raises:
            EndpointError: there is no answer, or a refusal.
        """
        return self.ask(body(records).encode(), explain=explain, probe=probe)

    def ask(
        self, body: bytes, *, media: str = JSON, explain: bool = False, probe: bool = False
    ) -> Answer:
        """As `predict`, for a body that is ready to be sent to `/invocations`."""
        headers = {"content-type": media, **({PROBE_HEADER: "1"} if probe else {})}
        path = "/invocations?explain=true" if explain else "/invocations"
        response = self._send("POST", path, content=body, headers=headers)
        return read(self.url, response.status_code, response.text, _request_id(response))

    def ready(self) -> bool:
        """Whether it is there and would answer."""
        try:
            self._send("GET", "/v2/health/ready", retries=0)
        except EndpointError:
            return False
        return True

    def metadata(self, model: str) -> dict[str, Any]:
        """The model's description in the words of the Open Inference Protocol.

        Raises:
            EndpointError: there is no answer, or the model is not served there.
        """
        response = self._send("GET", f"/v2/models/{model}")
        try:
            content: dict[str, Any] = response.json()
        except ValueError as error:
            raise self._error(response) from error
        return content

    def metrics(self) -> str:
        """What the endpoint tells Prometheus.

        Raises:
            EndpointError: there is no answer.
        """
        return self._send("GET", "/metrics").text

    def _send(
        self, method: str, path: str, *, retries: int | None = None, **options: Any
    ) -> "httpx.Response":
        """The answer, when it is none that refuses.

        Raises:
            EndpointError: after as many attempts as are safe.
        """
        import httpx

        left = self._retries if retries is None else retries
        wait = FIRST_WAIT
        while True:
            asked = 0.0
            try:
                response = self._http.request(method, f"{self.url}{path}", **options)
            except (httpx.ConnectError, httpx.ConnectTimeout) as failure:
                error = self._silence("unreachable", failure)
            except (httpx.HTTPError, httpx.InvalidURL) as failure:
                # It may have been received: the caller decides whether to ask again.
                raise self._silence("no_answer", failure) from failure
            else:
                if response.status_code < 300:
                    return response
                error = self._error(response)
                asked = _retry_after(response)
            if left == 0 or error.status not in (None, *PASSING):
                raise error
            left -= 1
            self._sleep(min(max(asked, wait * (0.5 + self._jitter() / 2)), LONGEST_WAIT))
            wait *= 2

    def _silence(self, reason: str, error: Exception) -> EndpointError:
        message = str(error) or repr(error)
        return EndpointError(self.url, status=None, reason=reason, message=message, request_id="")

    def _error(self, response: "httpx.Response") -> EndpointError:
        return refusal(self.url, response.status_code, response.text, _request_id(response))


def _request_id(response: "httpx.Response") -> str:
    return str(response.headers.get("x-request-id", ""))


def _retry_after(response: "httpx.Response") -> float:
    """Seconds the endpoint asks to wait; 0 when it says nothing, or names a date."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else 0.0
