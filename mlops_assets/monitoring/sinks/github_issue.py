"""Issues of a repository on GitHub, or of a server of GitHub Enterprise. A marker in the body says
which ticket an issue is; it is looked for before one is opened, so that telling again changes
nothing.

It is looked for in the list of issues with our label, and not by GitHub's search: the search is
minutes behind, and what it does not see yet would be opened twice.
"""

import json
from typing import Any, Literal

from pydantic import Field

from mlops_assets.experiment.lengths import lasting
from mlops_assets.monitoring.sinks.base import Sink, SinkContext, SinkDownError, Variable
from mlops_assets.monitoring.sinks.http import Answer, post
from mlops_assets.monitoring.tickets.findings import Notice

LABEL = "mlops-ticket"
PAGE, MOST_PAGES = 100, 5
"""Issues asked for at once, the newest first, and how often."""


class GithubIssue(Sink):
    """A repository, in which each ticket is an issue."""

    kind: Literal["github_issue"]
    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    """`owner/name`."""
    token_env: Variable
    """Environment variable that holds a token which may read and write issues."""
    labels: tuple[str, ...] = ()
    """Labels of the issues, besides our own."""
    url: str = Field(default="https://api.github.com", pattern=r"^https?://[^@]+$")
    """Where the API is."""

    @property
    def name(self) -> str:
        return f"github_issue {self.repository}"

    def render(self, notice: Notice) -> dict[str, Any]:
        """The issue as it is to be: the whole of it, so that the last telling counts."""
        facts = {
            "severity": notice.severity,
            "value": notice.value,
            "threshold": notice.threshold,
            "since": notice.since,
            "asset": notice.asset,
            "also failing because of it": ", ".join(notice.followers),
            "next action": notice.action,
        }
        lines = [f"- {name}: {said}" for name, said in facts.items() if said]
        if not notice.is_open:
            lines.append(f"- closed: {notice.closing}, after {lasting(notice.lasted_s)}")
        links = f"[Dagster]({notice.link}) · [RUNBOOK]({notice.runbook})"
        # As code: what an error says must not mention people or other issues.
        words = "```\n" + notice.words.replace("`", "'") + "\n```"
        body = "\n\n".join([words, "\n".join(lines), links, marker(notice)])
        return {
            "title": notice.title,
            "body": body,
            "labels": sorted({LABEL, *self.labels}),
            "state": "open" if notice.is_open else "closed",
        }

    def send(self, notice: Notice, context: SinkContext, *, reference: str) -> str:
        issue = self.render(notice)
        number = reference or self._find(notice, context)
        if number:
            self._ask("PATCH", f"/{number}", issue, context)
            return number
        state = issue.pop("state")
        made = self._read(self._ask("POST", "", issue, context))
        number = str(made["number"])
        if state == "closed":
            self._ask("PATCH", f"/{number}", {"state": state}, context)
        return number

    def _find(self, notice: Notice, context: SinkContext) -> str:
        """The number of the issue of this ticket; empty when there is none."""
        for page in range(1, MOST_PAGES + 1):
            query = f"?labels={LABEL}&state=all&sort=created&per_page={PAGE}&page={page}"
            found = self._read(self._ask("GET", query, None, context))
            for issue in found:
                if marker(notice) in str(issue.get("body")):
                    return str(issue["number"])
            if len(found) < PAGE:
                break
        return ""

    def _ask(self, method: str, path: str, content: Any, context: SinkContext) -> Answer:
        token = context.secret(self.token_env, self.name)
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        url = f"{self.url.rstrip('/')}/repos/{self.repository}/issues{path}"
        return post(
            self.name,
            url,
            content,
            context,
            headers=headers,
            secrets=(token,),
            method=method,
            # Somebody deleted this one issue; of a repository that is gone nothing can be listed.
            refusals=(404, 410) if method == "PATCH" else (),
        )

    def _read(self, answer: Answer) -> Any:
        try:
            return json.loads(answer.text)
        except ValueError:
            raise SinkDownError(f"{self.name} answered no JSON: {answer.text[:80]}") from None


def marker(notice: Notice) -> str:
    """Tells the issue of this ticket from all others; people do not see it."""
    return f"<!-- {notice.key} -->"
