"""Serves a bundle in the foreground, without the platform: `python -m mlops_assets.serving.serve`.

The same supervisor and workers as behind a deployment; what a container runs. Listens from the
beginning, so that it is seen to be alive while the bundle is fetched and loaded. Ends on SIGTERM
and Ctrl-C, after the requests in flight. Standard library only.
"""

import argparse
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from mlops_assets.serving import bundle, endpoint, fetching, variables
from mlops_assets.serving.bundle import BundleError, Manifest
from mlops_assets.serving.endpoint import Desired, State
from mlops_assets.serving.listener import PortTakenError, listen
from mlops_assets.serving.recording import Recording
from mlops_assets.serving.supervisor import LOG_FORMAT, Supervisor
from mlops_assets.serving.waiting import Waiting

PORT = 8080


def main(arguments: list[str] | None = None) -> int:
    asked = _parser(os.environ).parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    for number in (signal.SIGTERM, signal.SIGINT):
        # Until the supervisor handles them; the first process of a container would ignore them.
        signal.signal(number, lambda *_: sys.exit(0))
    folder = Path(asked.state or mkdtemp(prefix="mlops-serve-")).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _serve(asked, folder)
    except (BundleError, PortTakenError, OSError, ValueError) as error:
        return _refused(str(error))
    except subprocess.CalledProcessError:
        return 1  # it has said why
    finally:
        if asked.state is None and not any((folder / endpoint.SPOOL).glob("*/*/*")):
            shutil.rmtree(folder, ignore_errors=True)


def _serve(asked: argparse.Namespace, folder: Path) -> int:
    lock = endpoint.acquire_soon(folder / endpoint.LOCK)
    if lock is None:
        return _refused(f"{folder} is another endpoint's folder, which is running")
    endpoint.sign(lock)
    before = endpoint.read_state(folder)
    kept = before.port if before else 0
    listener = listen(
        asked.host, asked=asked.port or None, kept=kept, clock=time.monotonic, sleep=time.sleep
    )
    waiting = Waiting(listener)
    path = _obtained(asked, folder)
    manifest = fetching.check(path, asked.bundle_digest)
    desired = _desired(asked, manifest, path, generation=before.generation + 1 if before else 1)
    endpoint.write(folder / endpoint.DESIRED, desired)
    # By hand, what was served here before is no substitute for what is asked for.
    (folder / endpoint.SERVING).unlink(missing_ok=True)

    def tell(state: State) -> None:
        print(f"{manifest.model} version {state.version} answers at {state.url}")
        print(_curl(state.url, path, asked.key_env), flush=True)

    return Supervisor(
        folder,
        clock=time.monotonic,
        now=lambda: datetime.now(UTC),
        on_live=tell,
        waiting=waiting,
    ).run()


def _obtained(asked: argparse.Namespace, folder: Path) -> Path:
    """The bundle's folder on this machine; what it holds is not yet known to be right.

    Raises:
        CalledProcessError: the bundle was refused, and the reason is printed.
    """
    if fetching.is_folder_here(asked.bundle):
        return Path(asked.bundle).absolute()
    into = folder / "bundle"
    program = [sys.executable, "-P", "-m", fetching.__name__]
    subprocess.run([*program, asked.bundle, asked.bundle_digest or "", str(into)], check=True)
    return into


def _desired(
    asked: argparse.Namespace, manifest: Manifest, folder: Path, *, generation: int
) -> Desired:
    recording = variables.recording(asked.recording)
    if asked.profiles_url is not None:
        url = asked.profiles_url
        url = url if "://" in url else str(Path(url).absolute())
        recording = Recording(url, asked.window_seconds)
    return Desired(
        generation=generation,
        experiment=manifest.model,
        version=asked.version,
        bundle=str(folder),
        bundle_digest=bundle.digest(folder),
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


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mlops_assets.serving.serve",
        description=__doc__,
        epilog=f"Where an option is not given, its variable counts: {variables.named('max-rows')} "
        f"for --max-rows. Keys come from {variables.KEYS} where that is set.",
    )

    def option(name: str, default: Any, said: str, kind: Callable[[str], Any] = str) -> None:
        found = variables.given(environment, name)
        parser.add_argument(f"--{name}", type=kind, default=found or default, help=said)

    place = variables.given(environment, "bundle")
    what = f"folder, or fsspec URL of a folder or .tar.gz; or {variables.named('bundle')}"
    parser.add_argument("bundle", nargs="?" if place else None, default=place, help=what)
    option("bundle-digest", None, "what the bundle must be; any by default")
    option("host", "127.0.0.1", "0.0.0.0 in a container")
    option("port", PORT, f"{PORT}; 0 for any free one", int)
    option("workers", 1, "processes that answer; 1", int)
    option("version", 0, "the version in answers; 0", int)
    option("recording", None, "what is kept of the traffic, as JSON")
    parser.add_argument("--profiles-url", help="the same in short: folder or URL for profiles")
    parser.add_argument("--window-seconds", type=int, default=3600, help="of a profile; 3600")
    option("max-rows", 10_000, "in a request; 10000", int)
    option("max-body-mb", 10.0, "of a request; 10", float)
    option("max-in-flight", 64, "requests per worker; 64", int)
    option("startup-timeout-s", 60.0, "for a worker to be ready; 60", float)
    option("state", None, "folder that outlives this process; by default none does")
    keys = variables.key_variable(environment)
    said = "variable with the keys callers need, comma-separated"
    parser.add_argument("--key-env", default=keys, help=said)
    return parser


if __name__ == "__main__":
    sys.exit(main())
