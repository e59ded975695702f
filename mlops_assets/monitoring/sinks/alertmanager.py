"""Alertmanager, by its API v2. It tells alerts apart by their labels, so that telling again changes
nothing; and it forgets them when it is restarted, so that it is told again as long as they last."""

from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field

from mlops_assets.monitoring.sinks.base import Sink, SinkContext, Variable
from mlops_assets.monitoring.sinks.http import post
from mlops_assets.monitoring.tickets.findings import Notice

LASTS = timedelta(hours=24)
"""After which an alert ends by itself when it was not told again: as long as the daemon may be
down."""


class Alertmanager(Sink):
    """An Alertmanager of Prometheus, whose routes say who is told."""

    renews: ClassVar[timedelta | None] = timedelta(minutes=4)

    kind: Literal["alertmanager"]
    url: str = Field(pattern=r"^https?://[^@]+$")
    """Where it is, without `/api/v2` and without a password: `http://alertmanager:9093`."""
    token_env: Variable | None = None
    """Environment variable that holds a bearer token, where one is asked for."""

    @property
    def name(self) -> str:
        return f"alertmanager {self.url.rstrip('/')}"

    def render(self, notice: Notice, context: SinkContext) -> list[dict[str, Any]]:
        """One alert: its labels are those of the cause, its annotations what may change."""
        at = datetime.fromisoformat(notice.at)
        annotations = {
            "summary": notice.title,
            "description": notice.words,
            "value": notice.value,
            "threshold": notice.threshold,
            "runbook_url": notice.runbook,
            "next_action": notice.action,
            "followers": ", ".join(notice.followers),
        }
        return [
            {
                "labels": {
                    "alertname": notice.cause.rpartition("/")[2],
                    "experiment": notice.experiment,
                    "cause": notice.cause,
                    "severity": notice.severity,
                    "dagster": context.dagster_url,
                },
                "annotations": {name: said for name, said in annotations.items() if said},
                "startsAt": notice.since,
                "endsAt": (at + LASTS if notice.is_open else at).isoformat(),
                "generatorURL": notice.link,
            }
        ]

    def send(self, notice: Notice, context: SinkContext, *, reference: str) -> str:
        token = context.secret(self.token_env, self.name) if self.token_env else ""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"{self.url.rstrip('/')}/api/v2/alerts"
        alerts = self.render(notice, context)
        post(self.name, url, alerts, context, headers=headers, secrets=(token,))
        return ""
