"""A small HTTP server that takes MLflow's webhooks and leaves a mark for each. Knows no store.

It is reachable by whoever reaches its port: everything is bounded before it is believed.
"""

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime

from mlops_assets.commands.listening import SECONDS, Handler, Listener
from mlops_assets.gateways.webhooks import FRESH_SECONDS, WebhookError, verify

MOST_BYTES = 1024 * 1024
"""A version's event carries its description and tags."""
REMEMBERED = 10_000
"""Deliveries that are recognized when they come again."""
WINDOW = 2 * FRESH_SECONDS


class Receiver(Listener):
    """Answers 204 to what MLflow signed, once it is marked; a repeated delivery marks nothing."""

    def __init__(
        self,
        address: tuple[str, int],
        secret: str,
        mark: Callable[[str], None],
        *,
        tell: Callable[[str], None],
        seconds: float = SECONDS,
    ) -> None:
        """
        Args:
            address: host and port; port 0 takes a free one.
            secret: that MLflow signs with.
            mark: leaves a mark by a delivery's id, durably; whatever it raises is answered with
                503, upon which MLflow tries again.
            tell: a line for people.
            seconds: for a request to arrive.
        """
        self.secret = secret
        self.tell = tell
        self._mark = mark
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()
        super().__init__(address, _Handler, seconds=seconds)

    def take(self, delivery: str) -> bool:
        """Mark a delivery; False when it was marked before."""
        with self._lock:
            at = time.monotonic()
            while self._seen and at - next(iter(self._seen.values())) > WINDOW:
                self._seen.popitem(last=False)
            if delivery in self._seen:
                return False
            # Remembered only once it is durable: a delivery that failed comes again.
            self._mark(delivery)
            self._seen[delivery] = at
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        return True


class _Handler(Handler):
    server: Receiver
    server_version = "mlops-webhooks"

    def post(self) -> None:
        try:
            delivery = verify(
                dict(self.headers.items()),
                self._body(),
                secret=self.server.secret,
                now=datetime.now(UTC),
            )
        except WebhookError as error:
            self._answer(error.status, str(error))
            return
        try:
            new = self.server.take(delivery.id)
        except Exception as error:  # noqa: BLE001 whatever the storage raises, MLflow asks again
            self.server.tell(f"{delivery.event} could not be stored: {error}")
            self._answer(503, "not stored; try again")
            return
        self.server.tell(f"{delivery.event}{'' if new else ', which came before'}")
        self._answer(204, "")

    def get(self) -> None:
        """For whoever watches over the process."""
        self._answer(200 if self.path == "/health" else 404, "")

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]+", length) or "Transfer-Encoding" in self.headers:
            raise WebhookError(411, "a request says how long it is, in Content-Length")
        if len(length) > len(str(MOST_BYTES)) or int(length) > MOST_BYTES:
            raise WebhookError(413, f"at most {MOST_BYTES} bytes")
        body, ends = b"", time.monotonic() + self.server.seconds
        while len(body) < int(length):
            part = self.rfile.read1(int(length) - len(body))
            if not part or time.monotonic() > ends:
                raise WebhookError(408, "the body did not arrive")
            body += part
        return body

    def _answer(self, status: int, message: str) -> None:
        self.answer(status, message.encode())
