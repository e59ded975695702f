"""Any program that takes JSON over HTTP. Signed as the convention Standard Webhooks says, with
HMAC-SHA256 of `id.timestamp.body`; the id is the same when a telling is sent again."""

import json
from dataclasses import asdict
from typing import Literal

from mlops_assets.gateways.webhooks import signature
from mlops_assets.monitoring.sinks.base import Sink, SinkContext, Variable
from mlops_assets.monitoring.sinks.http import post
from mlops_assets.monitoring.tickets.findings import Notice


class Webhook(Sink):
    """A program of yours."""

    kind: Literal["webhook"]
    url_env: Variable
    """Environment variable that holds the URL."""
    secret_env: Variable | None = None
    """Environment variable that holds the secret of the signature; without it nothing is signed."""

    @property
    def name(self) -> str:
        return f"webhook ${self.url_env}"

    def render(self, notice: Notice, secret: str, *, now: float) -> tuple[dict[str, str], bytes]:
        """Headers and body; the time in the header is that of the sending, in seconds since 1970,
        so that a receiver may refuse what is old."""
        body = json.dumps(
            {"type": f"ticket.{notice.event}", "timestamp": notice.at, "data": asdict(notice)},
            sort_keys=True,
        ).encode()
        timestamp = str(int(now))
        headers = {"webhook-id": notice.id, "webhook-timestamp": timestamp}
        if secret:
            headers["webhook-signature"] = signature(secret, notice.id, timestamp, body)
        return headers, body

    def send(self, notice: Notice, context: SinkContext, *, reference: str) -> str:
        secret = context.secret(self.secret_env, self.name) if self.secret_env else ""
        headers, body = self.render(notice, secret, now=context.now())
        url = context.secret(self.url_env, self.name)
        post(self.name, url, body, context, headers=headers, secrets=(secret,))
        return ""
