"""Serves a bundle in the foreground, without the platform: `python -m mlops_assets.serving.serve`.

The same supervisor and workers as behind a deployment; what a container runs. Ends on SIGTERM and
Ctrl-C, after the requests in flight. Standard library only.
"""

import argparse
import logging
import shutil
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp

from mlops_assets.serving import bundle, endpoint
from mlops_assets.serving.bundle import BundleError, Manifest
from mlops_assets.serving.endpoint import Desired, State
from mlops_assets.serving.recording import Recording
from mlops_assets.serving.supervisor import LOG_FORMAT, Supervisor

PORT = 8080


def main(arguments: list[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    try:
        manifest = bundle.verify(asked.bundle)
    except (BundleError, OSError) as error:
        return _refused(str(error))
    folder = Path(asked.state or mkdtemp(prefix="mlops-serve-")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    lock = endpoint.acquire_soon(folder / endpoint.LOCK)
    if lock is None:
        return _refused(f"{folder} is another endpoint's folder, which is running")
    endpoint.sign(lock)
    endpoint.write(folder / endpoint.DESIRED, _desired(asked, manifest, folder))
    # By hand, what was served here before is no substitute for what is asked for.
    (folder / endpoint.SERVING).unlink(missing_ok=True)

    def tell(state: State) -> None:
        print(f"{manifest.model} version {state.version} answers at {state.url}")
        print(_curl(state.url, asked.bundle, asked.key_env), flush=True)

    status = Supervisor(
        folder, clock=time.monotonic, now=lambda: datetime.now(UTC), on_live=tell
    ).run()
    if asked.state is None and not any((folder / endpoint.SPOOL).glob("*/*/*")):
        shutil.rmtree(folder, ignore_errors=True)
    return status


def _desired(asked: argparse.Namespace, manifest: Manifest, folder: Path) -> Desired:
    before = endpoint.read_state(folder)
    recording = None
    if asked.profiles_url is not None:
        url = asked.profiles_url
        url = url if "://" in url else str(Path(url).absolute())
        recording = Recording(url, asked.window_seconds)
    return Desired(
        generation=before.generation + 1 if before else 1,
        experiment=manifest.model,
        version=asked.version,
        bundle=str(asked.bundle.absolute()),
        bundle_digest=bundle.digest(asked.bundle),
        host=asked.host,
        port=asked.port or None,
        workers=asked.workers,
        recording=recording,
        key_env=asked.key_env,
        max_rows=asked.max_rows,
        max_body_bytes=int(asked.max_body_mb * 1_000_000),
        max_in_flight=asked.max_in_flight,
        startup_timeout_s=asked.startup_timeout_s,
    )


def _curl(url: str, folder: Path, key_env: str | None) -> str:
    """How to ask the first golden request."""
    import json
    import shlex

    body = json.dumps({"dataframe_records": bundle.read_golden(folder).records[:1]})
    key = f' -H "authorization: Bearer ${{{key_env}%%,*}}"' if key_env else ""
    return f"curl -sS {url}/invocations -H 'content-type: application/json'{key} " + (
        f"--data-binary {shlex.quote(body)}"
    )


def _refused(reason: str) -> int:
    print(f"Error: {reason}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlops_assets.serving.serve", description=__doc__)
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 in a container")
    parser.add_argument("--port", type=int, default=PORT, help=f"{PORT}; 0 for any free one")
    parser.add_argument("--workers", type=int, default=1, help="processes that answer; 1")
    parser.add_argument("--version", type=int, default=0, help="the version in answers; 0")
    parser.add_argument("--key-env", help="variable with the keys callers need, comma-separated")
    parser.add_argument("--profiles-url", help="folder or fsspec URL for profiles of the traffic")
    parser.add_argument("--window-seconds", type=int, default=3600, help="of a profile; 3600")
    parser.add_argument("--max-rows", type=int, default=10_000)
    parser.add_argument("--max-body-mb", type=float, default=10.0)
    parser.add_argument("--max-in-flight", type=int, default=64, help="per worker; 64")
    parser.add_argument("--startup-timeout-s", type=float, default=60.0)
    parser.add_argument("--state", help="folder that outlives this process; by default none does")
    return parser


if __name__ == "__main__":
    sys.exit(main())
