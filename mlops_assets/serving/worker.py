"""One process that serves one bundle on a socket it inherits. Started by the supervisor.

Says on a pipe when it is ready, or why not; leaves nothing unanswered and unrecorded on SIGTERM;
ends when the process that holds the other end of its life line does.
"""

import argparse
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from mlops_assets.serving import variables
from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.embedded import Embedded
from mlops_assets.serving.endpoint import Desired
from mlops_assets.serving.preparation import keys, prepare
from mlops_assets.serving.variables import SettingError

log = logging.getLogger("worker")

SWITCH_SECONDS = 0.0005
GARBAGE = 20_000
"""Objects before Python looks for cycles, which requests leave none of: a few megabytes."""


def main(arguments: list[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    desired = Desired.from_json(json.loads(asked.desired))
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(name)s[%(process)d] %(levelname)s %(message)s"
    )
    threading.Thread(target=_end_with, args=(asked.life_fd,), daemon=True).start()

    def say(**message: Any) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(asked.ready_fd, (json.dumps(message) + "\n").encode())

    # The recorder's thread gives way to requests sooner than Python's own 5 ms.
    sys.setswitchinterval(SWITCH_SECONDS)
    started = time.perf_counter()
    try:
        dimensions = variables.embedded_metrics(variables.given(os.environ, "embedded-metrics"))
        service, recorder = prepare(
            Path(desired.bundle),
            digest=desired.bundle_digest,
            version=str(desired.version),
            keys=keys(os.environ, desired.key_env),
            recording=desired.recording,
            spool=asked.spool,
            shared=asked.shared,
            max_rows=desired.max_rows,
            max_body_bytes=desired.max_body_bytes,
            max_in_flight=desired.max_in_flight,
        )
    except (BundleError, SettingError) as error:
        say(state="failed", detail=str(error))
        log.error("refused: %s", error)  # noqa: TRY400 the reason is complete
        return 3
    from mlops_assets.serving.app import Application
    from mlops_assets.serving.server import serve

    if recorder is not None:
        recorder.start()

    embedded = Embedded(service.metrics.totals, dimensions) if dimensions else None
    if embedded is not None:
        embedded.start()

    # What is loaded stays; looking for garbage among it would hold up requests.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, 20, 100)

    def on_ready() -> None:
        log.info("version %s ready after %.2f s", desired.version, time.perf_counter() - started)
        say(state="ready")

    def on_ending() -> None:
        service.draining = True

    service.ready = True
    serve(
        Application(service),
        socket.socket(fileno=asked.fd),
        on_ready=on_ready,
        on_ending=on_ending,
        on_left=lambda: say(state="draining"),
    )
    if recorder is not None:
        recorder.close()
    if embedded is not None:
        embedded.close()
    service.metrics.close()
    log.info("version %s ended", desired.version)
    return 0


def _end_with(descriptor: int) -> None:
    """Ask this process to end once nobody holds the other end of the pipe."""
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlops_assets.serving.worker", description=__doc__)
    parser.add_argument("desired", help="what to serve, as JSON")
    parser.add_argument("--fd", type=int, required=True, help="listening socket")
    parser.add_argument("--ready-fd", type=int, required=True, help="pipe for JSON lines")
    parser.add_argument("--life-fd", type=int, required=True, help="pipe whose end is ours")
    parser.add_argument("--spool", type=Path, required=True, help="for what the store refuses")
    parser.add_argument("--shared", type=Path, help="folder of counters shared with other workers")
    return parser


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    # Everything is flushed; to take the model and its libraries apart would take seconds.
    os._exit(status)
