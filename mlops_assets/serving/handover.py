"""Secrets on their way to a running supervisor: through a named pipe, never through a file.

Standard library only. What is handed over becomes the environment of the workers started next.
"""

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

PIPE = "environment"
CAPACITY = 65_536


class Inbox:
    """The supervisor's end. What is written while it is busy waits in the pipe."""

    def __init__(self, folder: Path) -> None:
        path = folder / PIPE
        if not path.is_fifo():
            path.unlink(missing_ok=True)
            os.mkfifo(path, 0o600)
        # Open for writing too, so that the pipe does not end with each who wrote to it.
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def take(self) -> dict[str, str]:
        """What was handed over since the last call; empty for nothing."""
        try:
            arrived = os.read(self._descriptor, CAPACITY)
        except BlockingIOError:
            return {}
        environment: dict[str, str] = {}
        for line in arrived.splitlines():
            environment |= json.loads(line)
        return environment


def offer(folder: Path, environment: Mapping[str, str]) -> bool:
    """Hand `environment` to the supervisor in `folder`; False while none listens there."""
    try:
        descriptor = os.open(folder / PIPE, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENXIO):
            return False
        raise
    with os.fdopen(descriptor, "wb", buffering=0) as pipe:
        pipe.write(json.dumps(dict(environment)).encode() + b"\n")
    return True


def digest(environment: Mapping[str, str]) -> str:
    """Changes when the environment does; the values are not to be had from it."""
    content = json.dumps(dict(environment), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
