"""The endpoint as an AWS Lambda function: the same application, asked by events instead of HTTP.

Handler `mlops_assets.serving.aws_lambda.handler`, configured by variables:

- `MLOPS_BUNDLE`: folder of the bundle; by default `bundle` beside the code. `MLOPS_BUNDLE_DIGEST`:
  what it must be.
- `MLOPS_VERSION`: the version in answers and profiles.
- `MLOPS_RECORDING`: a `Recording` as JSON; nothing is kept without.
- `MLOPS_KEYS`: keys of which callers need one, separated by commas.
- `MLOPS_EMBEDDED_METRICS`: dimensions as JSON, of the metrics that are written to standard output
  for CloudWatch after each event, the function's version with them; none without.
- `MLOPS_MAX_ROWS`, `MLOPS_MAX_BODY_MB`: what one event may ask.

Takes events of function URLs, API Gateway and load balancers. Anything else is taken for a body of
`/invocations` itself, as `aws lambda invoke` sends it, and answered with the body of that answer.

An answer of status 500, which is the program's own fault, is raised instead: AWS counts as an error
what is raised, and no answer, and by these errors a new version is judged.

Lambda freezes the process between two events. What is recorded is brought to the store before an
event is over, but not again within `flush_seconds` of the last time: what came since then is lost
if no event follows and Lambda gives no notice (SIGTERM, which a function with an extension gets).
"""

import functools
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.serving import variables
from mlops_assets.serving.embedded import VERSION, Embedded
from mlops_assets.serving.preparation import keys, prepare

if TYPE_CHECKING:
    from mlops_assets.serving.recorder import Recorder

log = logging.getLogger("lambda")

SPOOL = Path("/tmp/unsent")  # noqa: S108 the only place that Lambda lets a function write to
FAILED = 500
PATIENCE = 5.0
"""Seconds an event may wait for a store that does not answer."""

Handler = Callable[[dict[str, Any], Any], Any]


def __getattr__(name: str) -> Handler:
    """`handler`, made when Lambda's runtime first asks for it: in its initialisation, which has
    the processor for itself and is not billed by the request."""
    if name != "handler":
        raise AttributeError(name)
    return _of_this_process()


@functools.cache
def _of_this_process() -> Handler:
    return build(os.environ)


def build(
    environment: Mapping[str, str], *, clock: Callable[[], float] = time.monotonic
) -> Handler:
    """The function that Lambda calls with an event and its context.

    Raises:
        BundleError: the bundle is not intact, or not the one asked for.
        SettingError: a variable holds what it cannot.
    """
    from mangum import Mangum

    from mlops_assets.serving.app import Application

    recording = variables.recording(variables.given(environment, "recording"))
    dimensions = variables.embedded_metrics(variables.given(environment, "embedded-metrics"))
    beside = f"{environment.get('LAMBDA_TASK_ROOT', '.')}/bundle"
    service, recorder = prepare(
        Path(variables.given(environment, "bundle") or beside),
        digest=variables.given(environment, "bundle-digest"),
        version=variables.given(environment, "version") or "0",
        keys=keys(environment, variables.key_variable(environment)),
        recording=recording,
        spool=Path(environment["TMPDIR"]) / SPOOL.name if environment.get("TMPDIR") else SPOOL,
        shared=None,
        counts_at_once=dimensions is not None,
        **variables.limits(environment),
    )
    service.ready = True
    app: Any = Application(service)
    answer = _failing(Mangum(app, lifespan="off", custom_handlers=[Direct]))
    if dimensions is not None:
        number = environment.get("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        answer = _telling(answer, Embedded(service.metrics.totals, {**dimensions, VERSION: number}))
    if recording is None or recorder is None:
        return answer
    recorder.start()
    signal.signal(signal.SIGTERM, functools.partial(_end, recorder))
    return Recorded(answer, recorder, every=recording.flush_seconds, clock=clock)


class FailedError(Exception):
    """What this program would have answered with status 500."""


def _failing(answer: Handler) -> Handler:
    """The same, but what failed is raised; events that `Direct` takes are its own affair."""

    def answering(event: dict[str, Any], context: Any) -> Any:
        said = answer(event, context)
        if not Direct.infer(event, context, None):
            _heed(said["statusCode"], said["body"])
        return said

    return answering


def _telling(answer: Handler, embedded: Embedded) -> Handler:
    """The same, and what was counted is told before the process may be frozen."""

    def answering(event: dict[str, Any], context: Any) -> Any:
        try:
            return answer(event, context)
        except Exception:
            os.write(1, b"\n")  # AWS's runtime client ends the line of a traceback with nothing
            raise
        finally:
            embedded.write()

    return answering


def _heed(status: int, body: str | bytes) -> None:
    if status == FAILED:
        raise FailedError(body if isinstance(body, str) else body.decode())


class Recorded:
    """Answers an event, and sees to it that what was recorded reaches the store."""

    def __init__(
        self, answer: Handler, recorder: "Recorder", *, every: float, clock: Callable[[], float]
    ) -> None:
        self._answer = answer
        self._recorder = recorder
        self._every = every
        self._clock = clock
        self._flushed = float("-inf")

    def __call__(self, event: dict[str, Any], context: Any) -> Any:
        try:
            return self._answer(event, context)
        finally:
            self._keep()

    def _keep(self) -> None:
        now = self._clock()
        if now - self._flushed >= self._every:
            self._flushed = now
            if not self._recorder.flush(PATIENCE):
                log.warning("the store did not take everything; what is left waits on disk")


class Direct:
    """An event that is a scoring request itself, for Mangum."""

    def __init__(self, event: Any, context: Any, _: Any) -> None:
        self.body = json.dumps(event).encode()
        self.scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "scheme": "https",
            "path": "/invocations",
            "raw_path": None,
            "root_path": "",
            "query_string": b"",
            "headers": _headers(context),
            "server": ("lambda", 443),
            "client": None,
            "asgi": {"version": "3.0", "spec_version": "2.0"},
        }

    @classmethod
    def infer(cls, event: Any, _context: Any, _config: Any) -> bool:
        return not (isinstance(event, dict) and "requestContext" in event)

    def __call__(self, response: Any) -> Any:
        _heed(response["status"], response["body"])
        return json.loads(response["body"])


def _headers(context: Any) -> list[list[bytes]]:
    name = getattr(context, "aws_request_id", "")
    return [[b"x-request-id", name.encode()]] if name else []


def _end(recorder: "Recorder", *_: Any) -> None:
    recorder.close()
    sys.exit(0)
