"""PagerDuty, by its Events API v2. The key of the ticket is its `dedup_key`: telling again changes
nothing, and a ticket that is re-opened after its incident was resolved becomes a new incident."""

from typing import Any, Literal

from pydantic import Field

from mlops_assets.monitoring.sinks.base import Sink, SinkContext, Variable
from mlops_assets.monitoring.sinks.http import post
from mlops_assets.monitoring.tickets.findings import Notice

MOST_IN_A_SUMMARY = 1024


class PagerDuty(Sink):
    """A service of PagerDuty."""

    kind: Literal["pagerduty"]
    routing_key_env: Variable
    """Environment variable that holds the integration key of the service."""
    url: str = Field(default="https://events.pagerduty.com", pattern=r"^https?://[^@]+$")
    """Where events are sent; of the service region EU `https://events.eu.pagerduty.com`."""

    @property
    def name(self) -> str:
        return f"pagerduty ${self.routing_key_env}"

    def render(self, notice: Notice, context: SinkContext, routing_key: str) -> dict[str, Any]:
        """The event: `trigger` while the ticket is open, `resolve` when it is closed."""
        event: dict[str, Any] = {
            "routing_key": routing_key,
            "event_action": "trigger" if notice.is_open else "resolve",
            "dedup_key": notice.key,
        }
        if not notice.is_open:
            return event
        details = {
            "words": notice.words,
            "value": notice.value,
            "threshold": notice.threshold,
            "since": notice.since,
            "next action": notice.action,
            "also failing because of it": ", ".join(notice.followers),
        }
        return {
            **event,
            "client": "mlops_assets",
            "client_url": notice.link,
            "links": [
                {"href": notice.link, "text": "Dagster"},
                {"href": notice.runbook, "text": "RUNBOOK"},
            ],
            "payload": {
                "summary": f"{notice.title}: {notice.words}"[:MOST_IN_A_SUMMARY],
                "source": context.dagster_url,
                "severity": notice.severity,
                "timestamp": notice.since,
                "component": notice.asset or notice.cause,
                "group": notice.experiment,
                "class": notice.cause.rpartition("/")[2],
                "custom_details": {name: said for name, said in details.items() if said},
            },
        }

    def send(self, notice: Notice, context: SinkContext, *, reference: str) -> str:
        key = context.secret(self.routing_key_env, self.name)
        event = self.render(notice, context, key)
        post(self.name, f"{self.url.rstrip('/')}/v2/enqueue", event, context, secrets=(key,))
        return ""
