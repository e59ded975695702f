"""One process that serves one bundle on a socket it inherits. Started by the supervisor.

Says on a pipe when it is ready, or why not; leaves nothing unanswered and unrecorded on SIGTERM;
ends when the process that holds the other end of its life line does.
"""

import argparse
import contextlib
import json
import logging
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.endpoint import Desired

if TYPE_CHECKING:
    from mlops_assets.serving.app import Service
    from mlops_assets.serving.profiler import Profiler

log = logging.getLogger("worker")


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

    started = time.perf_counter()
    try:
        service, recorder = _prepare(desired, spool=asked.spool, shared=asked.shared)
    except BundleError as error:
        say(state="failed", detail=str(error))
        log.error("refused: %s", error)  # noqa: TRY400 the reason is complete
        return 3
    from mlops_assets.serving.app import build
    from mlops_assets.serving.server import serve

    def on_ready() -> None:
        if recorder is not None:
            recorder.start()
        log.info("version %s ready after %.2f s", desired.version, time.perf_counter() - started)
        say(state="ready")

    def on_ending() -> None:
        service.draining = True

    service.ready = True
    serve(
        build(service),
        socket.socket(fileno=asked.fd),
        on_ready=on_ready,
        on_ending=on_ending,
        on_left=lambda: say(state="draining"),
    )
    if recorder is not None:
        recorder.close()
    log.info("version %s ended", desired.version)
    return 0


def _prepare(
    desired: Desired, *, spool: Path, shared: Path | None
) -> tuple["Service", "Profiler | None"]:
    from mlops_assets.serving.app import Limits, Service
    from mlops_assets.serving.metrics import Metrics
    from mlops_assets.serving.profiler import Profiler
    from mlops_assets.serving.scorer import Scorer

    keys = _keys(desired.key_env)
    scorer = Scorer.open(Path(desired.bundle))
    if scorer.digest != desired.bundle_digest:
        raise BundleError(
            f"{desired.bundle} has digest {scorer.digest}, {desired.bundle_digest} was to be served"
        )
    scorer.self_test()
    version, recording = str(desired.version), desired.recording
    recorder = None
    if recording is not None:
        recorder = Profiler(
            scorer.manifest.schema,
            url=recording.profiles_url,
            window_seconds=recording.window_seconds,
            spool=spool,
            metadata={"model": scorer.manifest.model, "version": version},
            flush_seconds=recording.flush_seconds,
        )
    limits = Limits(
        max_rows=desired.max_rows,
        max_body_bytes=desired.max_body_bytes,
        max_in_flight=desired.max_in_flight,
    )
    metrics = Metrics(scorer, version, recorder)
    service = Service(
        scorer, version=version, limits=limits, metrics=metrics, profiler=recorder, keys=keys
    )
    return service, recorder


def _keys(variable: str | None) -> frozenset[str]:
    """The keys callers may have.

    Raises:
        BundleError: keys are asked for, and there is none: nothing is served open by mistake.
    """
    if variable is None:
        return frozenset()
    parts = (part.strip() for part in os.environ.get(variable, "").split(","))
    keys = frozenset(part for part in parts if part)
    if not keys:
        raise BundleError(f"the environment variable {variable} holds no key")
    return keys


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
