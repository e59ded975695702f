"""MLflow's webhooks: how a delivery is told from a forgery, and how they are asked for.

The signature is HMAC-SHA256 of `id.timestamp.body` under the shared secret, as in the convention
Standard Webhooks, in headers of MLflow's own (`mlflow.webhooks.delivery`).
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops_assets.gateways.model_registry import ModelRegistry, RegistryError
from mlops_assets.gateways.tracking_uri import shown

SIGNATURE = "X-MLflow-Signature"
DELIVERY = "X-MLflow-Delivery-Id"
TIMESTAMP = "X-MLflow-Timestamp"
VERSION = b"v1"
FRESH_SECONDS = 300
"""Between a delivery's timestamp and our clock, either way; MLflow tries again for some seconds."""
NAME = "mlops_assets"
"""Of our webhook at the server: registering it again changes it."""
EVENTS = ("model_version.created", "model_version_alias.created", "model_version_alias.deleted")
"""What the registry sensor acts on."""


class WebhookError(Exception):
    """A delivery is not accepted; `status` is the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True)
class Delivery:
    """A delivery that MLflow signed."""

    id: str
    event: str
    """For instance `model_version_alias.created`."""


def signature(secret: str, delivery: str, timestamp: str, body: bytes) -> str:
    """What MLflow writes into its header for a body."""
    signed = f"{delivery}.{timestamp}.".encode() + body
    made = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return f"{VERSION.decode()},{base64.b64encode(made).decode()}"


def verify(headers: Mapping[str, str], body: bytes, *, secret: str, now: datetime) -> Delivery:
    """The delivery, once its signature was found right.

    Args:
        headers: by name, in any case.
        body: as it came.
        secret: that MLflow was told.
        now: aware.

    Raises:
        WebhookError: 401 when the signature is missing, wrong or old; 400 when what was signed is
            no event.
    """
    sent = {name.lower(): value for name, value in headers.items()}
    given, delivery, timestamp = (
        sent.get(name.lower(), "") for name in (SIGNATURE, DELIVERY, TIMESTAMP)
    )
    # Compared as bytes: text that is not ASCII would raise.
    expected = signature(secret, delivery, timestamp, body).encode()
    if not hmac.compare_digest(expected, given.encode("utf-8", "surrogateescape")):
        raise WebhookError(401, "the signature is missing, or not made with our secret")
    if not re.fullmatch(r"[0-9]{1,12}", timestamp) or not delivery:
        raise WebhookError(400, f"{TIMESTAMP} is no Unix time, or {DELIVERY} is empty")
    if abs(now.timestamp() - int(timestamp)) > FRESH_SECONDS:
        raise WebhookError(401, f"the delivery is older than {FRESH_SECONDS} s, or of the future")
    try:
        content = json.loads(body)
        event = f"{content['entity']}.{content['action']}"
    except (ValueError, KeyError, TypeError) as error:
        raise WebhookError(400, "the body is no event of MLflow's") from error
    return Delivery(delivery, event)


def register(registry: ModelRegistry, url: str, secret: str) -> bool:
    """Have the server send its events to a URL; whether it did not know our webhook before.

    Raises:
        RegistryError: there is no server, or it refuses, with its reason.
    """
    from mlflow.exceptions import MlflowException

    if not registry.tracking_uri.startswith(("http://", "https://")):
        raise RegistryError(
            f"webhooks are sent by an MLflow server, and MLFLOW_TRACKING_URI is a database: "
            f"{shown(registry.tracking_uri)}"
        )
    client = registry.client
    events: list[Any] = [*EVENTS]
    try:
        known = _known(registry)
        if known is None:
            client.create_webhook(NAME, url, events, secret=secret)
            return True
        client.update_webhook(
            known,
            url=url,
            events=events,
            secret=secret,
            status="ACTIVE",
        )
    except MlflowException as error:
        raise RegistryError(f"MLflow does not take the webhook {url}: {error}") from error
    return False


def _known(registry: ModelRegistry) -> str | None:
    """The id of our webhook at the server."""
    token = None
    while True:
        page = registry.client.list_webhooks(page_token=token)
        for one in page:
            if one.name == NAME:
                return str(one.webhook_id)
        token = page.token
        if not token:
            return None
