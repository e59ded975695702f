"""How a request is refused: a status, a word for metrics, and a sentence for the caller."""

from typing import Any


class RequestError(Exception):
    """A request that is answered with `status`; `reason` is a word for metrics."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.headers = headers


def bad(reason: str, message: str) -> RequestError:
    return RequestError(400, reason, message)


def shown(value: Any) -> str:
    """A value as a message shows it: ASCII, at most 80 characters."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def kind(value: Any) -> str:
    """The JSON name of a value's type."""
    names = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")
