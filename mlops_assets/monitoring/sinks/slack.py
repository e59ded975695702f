"""Slack, by an incoming webhook. It knows no idempotency: a message may come twice when the process
ends between Slack's answer and our note of it."""

from typing import Any, Literal

from mlops_assets.experiment.lengths import lasting
from mlops_assets.monitoring.sinks.base import Sink, SinkContext, Variable
from mlops_assets.monitoring.sinks.http import post
from mlops_assets.monitoring.tickets.findings import Notice

SIGNS = {"critical": ":rotating_light:", "error": ":red_circle:", "warning": ":warning:",
         "info": ":information_source:"}  # fmt: skip
MOST_IN_A_BLOCK = 2900
"""Characters; Slack takes 3000 of a section."""


class Slack(Sink):
    """A channel of Slack."""

    kind: Literal["slack"]
    url_env: Variable
    """Environment variable that holds the URL of the incoming webhook, which is a secret."""

    @property
    def name(self) -> str:
        return f"slack ${self.url_env}"

    def render(self, notice: Notice) -> dict[str, Any]:
        """The message: a text for notifications, and blocks for the channel."""
        sign = SIGNS[notice.severity] if notice.is_open else ":white_check_mark:"
        head = f"{sign} *{escaped(notice.title)}* {notice.event}"
        if not notice.is_open:
            head += f": {escaped(notice.closing)}, after {lasting(notice.lasted_s)}"
        lines = [head, escaped(notice.words)]
        tail = [f"<{escaped(notice.link)}|Dagster> · <{escaped(notice.runbook)}|RUNBOOK>"]
        if notice.is_open:
            facts = {
                "severity": notice.severity,
                "value": notice.value,
                "threshold": notice.threshold,
                "since": notice.since,
                "also failing because of it": ", ".join(notice.followers),
            }
            lines += [f"{name}: {escaped(said)}" for name, said in facts.items() if said]
            tail.insert(0, f"*Next:* {escaped(notice.action)}")
        end = "\n".join(tail)
        text = "\n".join(["\n".join(lines)[: MOST_IN_A_BLOCK - len(end)], end])
        section = {"type": "section", "text": {"type": "mrkdwn", "text": text}}
        return {"text": escaped(f"{notice.title} {notice.event}"), "blocks": [section]}

    def send(self, notice: Notice, context: SinkContext, *, reference: str) -> str:
        post(self.name, context.secret(self.url_env, self.name), self.render(notice), context)
        return ""


def escaped(text: str) -> str:
    """Slack's three control characters, as text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
