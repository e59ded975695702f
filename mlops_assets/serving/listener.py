"""The listening socket of an endpoint, which outlives every worker. Standard library only."""

import socket
from collections.abc import Callable
from typing import Any

BACKLOG = 2048
PATIENCE = 3.0


class PortTakenError(Exception):
    """The port that is asked for is in use by another program."""


def listen(
    host: str,
    *,
    asked: int | None,
    kept: int,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> socket.socket:
    """A socket that queues connections on `host`.

    Args:
        asked: the port to use; None for `kept`, or any free one when that is 0 or taken.
        kept: the port this endpoint had before; 0 for none.

    Raises:
        PortTakenError: the port that is asked for cannot be had.
    """
    wanted = kept if asked is None else asked
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    end = clock() + PATIENCE
    while True:
        try:
            listener.bind((host, wanted))
            listener.listen(BACKLOG)
        except OSError as error:
            # The worker of a supervisor that was killed lets go of the port within moments.
            if wanted == kept and clock() < end:
                sleep(0.1)
            elif asked is None and wanted:
                wanted = 0
            else:
                listener.close()
                raise PortTakenError(
                    f"port {wanted} on {host} cannot be had ({error.strerror}): end the program "
                    "that uses it, or choose another port"
                ) from error
        else:
            return listener


def address(listener: socket.socket, host: str) -> dict[str, Any]:
    """The port of a socket on `host`, and the URL of what answers there."""
    port = listener.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    return {"port": port, "url": f"http://{shown}:{port}"}
