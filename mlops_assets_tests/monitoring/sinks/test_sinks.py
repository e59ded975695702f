"""Every sink against a server that answers as its product's documentation says."""

import base64
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from mlops_assets.experiment import loader
from mlops_assets.experiment.spec import discover, kind_of
from mlops_assets.monitoring import sinks
from mlops_assets.monitoring.sinks.base import RefusedError, Sink, SinkContext, SinkDownError
from mlops_assets.monitoring.tickets.spec import TicketsSpec
from mlops_assets_tests.commands.project import CHURN
from mlops_assets_tests.contracts.sink import (
    KEY,
    SECRET,
    Asked,
    Product,
    Server,
    SinkContract,
    notice,
    server,
)

__all__ = ["server"]


class SlackProduct(Product):
    """Answers `ok` as plain text, or 400 with the reason as plain text."""

    def answer(self, asked: Asked) -> tuple[int, str]:
        content = asked.json
        if asked.method != "POST" or not content.get("text"):
            return 400, "no_text"
        if any(len(b["text"]["text"]) > 3000 for b in content["blocks"]):
            return 400, "invalid_blocks"
        return 200, "ok"


class TestSlack(SinkContract):
    kind = "slack"
    product = SlackProduct
    keys: ClassVar[dict[str, Any]] = {"url_env": "SLACK_URL"}
    variables: ClassVar[dict[str, str]] = {"SLACK_URL": "{url}/services/T0/B0/" + SECRET}

    def test_says_it_so_that_people_can_read_it(self, sink: Any) -> None:
        message = sink.render(notice())
        text = message["blocks"][0]["text"]["text"]
        assert text.splitlines()[:2] == [
            ":warning: *[churn#12] churn: serving_profile/has_not_drifted* opened",
            "3 of 9 columns &lt;drifted&gt; &amp; more",
        ]
        assert "*Next:* Look at the first column." in text
        closed = sink.render(notice("closed"))["blocks"][0]["text"]["text"]
        assert "closed: recovered, after 2 h 10 min" in closed.splitlines()[0]

    def test_long_words_are_taken(self, sink: Any, context: SinkContext) -> None:
        long = notice(words="&" * 600, followers=("x" * 60,) * 60)
        sink.send(long, context, reference="")
        text = sink.render(long)["blocks"][0]["text"]["text"]
        assert text.endswith("|RUNBOOK>")
        assert "*Next:*" in text

    def test_no_part_of_the_url_is_repeated(
        self, sink: Sink, context: SinkContext, server: Server
    ) -> None:
        server.status, server.text = 404, f"no_service: {SECRET}"
        with pytest.raises(SinkDownError, match=r"no_service: \*\*\*"):
            sink.send(notice(), context, reference="")


class TestWebhook(SinkContract):
    kind = "webhook"
    keys: ClassVar[dict[str, Any]] = {"url_env": "HOOK_URL", "secret_env": "HOOK_SECRET"}
    variables: ClassVar[dict[str, str]] = {
        "HOOK_URL": "{url}/hook?key=" + SECRET,
        "HOOK_SECRET": f"{SECRET}-too",
    }

    def test_is_signed_as_standard_webhooks_says(
        self, sink: Sink, context: SinkContext, server: Server
    ) -> None:
        sink.send(notice(), context, reference="")
        asked = server.asked[0]
        signed = f"{KEY}/7.{asked.headers['webhook-timestamp']}.".encode() + asked.body
        made = hmac.new(f"{SECRET}-too".encode(), signed, hashlib.sha256).digest()
        assert asked.headers["webhook-signature"] == f"v1,{base64.b64encode(made).decode()}"
        age = datetime.now(UTC).timestamp() - int(asked.headers["webhook-timestamp"])
        assert abs(age) < 60, "of the sending, or a receiver would refuse what waited"

    def test_the_same_telling_has_the_same_id(
        self, sink: Sink, context: SinkContext, server: Server
    ) -> None:
        for _ in range(2):
            sink.send(notice(), context, reference="")
        first, again = server.asked
        assert first.headers["webhook-id"] == again.headers["webhook-id"] == f"{KEY}/7"
        assert first.body == again.body
        assert first.json["type"] == "ticket.opened"
        assert first.json["data"]["followers"] == ["serving_profile/predictions_have_not_drifted"]

    def test_without_a_secret_nothing_is_signed(self, context: SinkContext, server: Server) -> None:
        (sink,) = TicketsSpec.model_validate(
            {"sinks": [{"kind": "webhook", "url_env": "HOOK_URL"}]}
        ).sinks
        sink.send(notice(), context, reference="")
        assert "webhook-signature" not in server.asked[0].headers


class AlertmanagerProduct(Product):
    """Keeps alerts by their labels."""

    def __init__(self) -> None:
        self.alerts: dict[str, dict[str, Any]] = {}

    def answer(self, asked: Asked) -> tuple[int, str]:
        if (asked.method, asked.path) != ("POST", "/api/v2/alerts"):
            return 404, "path not found"
        for alert in asked.json:
            begin, end = (datetime.fromisoformat(alert[k]) for k in ("startsAt", "endsAt"))
            if not alert["labels"].get("alertname") or end < begin:
                return 400, '"start time must be before end time"'
            self.alerts[json.dumps(alert["labels"], sort_keys=True)] = alert
        return 200, ""


class TestAlertmanager(SinkContract):
    kind = "alertmanager"
    product = AlertmanagerProduct
    keys: ClassVar[dict[str, Any]] = {"url": "{url}/", "token_env": "AM_TOKEN"}
    variables: ClassVar[dict[str, str]] = {"AM_TOKEN": SECRET}

    def test_one_alert_that_begins_and_ends(
        self, sink: Sink, context: SinkContext, server: Server
    ) -> None:
        kept = server.state.alerts
        told = datetime.fromisoformat(notice().at)
        for event, ends in (("opened", told + timedelta(hours=24)), ("closed", told)):
            for _ in range(2):
                sink.send(notice(event, words=event), context, reference="")
            (alert,) = kept.values()
            assert datetime.fromisoformat(alert["endsAt"]) == ends
        assert alert["labels"]["alertname"] == "has_not_drifted"
        assert server.asked[0].headers["authorization"] == f"Bearer {SECRET}"

    def test_it_is_told_again_while_it_lasts(self, sink: Sink) -> None:
        assert sink.renews is not None
        assert sink.renews < timedelta(minutes=5), "its default resolve_timeout"


class PagerDutyProduct(Product):
    """Keeps incidents by their key."""

    def __init__(self) -> None:
        self.incidents: dict[str, str] = {}

    def answer(self, asked: Asked) -> tuple[int, str]:
        event = asked.json
        if asked.path != "/v2/enqueue" or event["routing_key"] != SECRET:
            return 400, json.dumps({"status": "invalid event", "errors": ["routing_key"]})
        if event["event_action"] == "trigger":
            payload = event["payload"]
            known = payload["severity"] in ("critical", "error", "warning", "info")
            if not known or len(payload["summary"]) > 1024 or not payload["source"]:
                return 400, json.dumps({"status": "invalid event", "errors": ["payload"]})
        self.incidents[event["dedup_key"]] = event["event_action"]
        return 202, json.dumps({"status": "success", "dedup_key": event["dedup_key"]})


class TestPagerDuty(SinkContract):
    kind = "pagerduty"
    product = PagerDutyProduct
    keys: ClassVar[dict[str, Any]] = {"routing_key_env": "PD_KEY", "url": "{url}"}
    variables: ClassVar[dict[str, str]] = {"PD_KEY": SECRET}

    def test_one_incident_however_often_it_is_told(
        self, sink: Sink, context: SinkContext, server: Server
    ) -> None:
        for _ in range(2):
            sink.send(notice(words="w" * 600), context, reference="")
        assert server.state.incidents == {KEY: "trigger"}
        sink.send(notice("closed"), context, reference="")
        assert server.state.incidents == {KEY: "resolve"}


class GithubProduct(Product):
    """Keeps the issues of `acme/models`, numbered from 1."""

    def __init__(self) -> None:
        self.issues: list[dict[str, Any]] = []
        self.deleted: set[int] = set()

    def answer(self, asked: Asked) -> tuple[int, str]:
        at = urlsplit(asked.path)
        found = re.fullmatch(r"/repos/acme/models/issues(?:/(\d+))?", at.path)
        if not found:
            return 404, json.dumps({"message": "Not Found"})
        if asked.method == "GET":
            return 200, json.dumps(self._page(parse_qs(at.query)))
        content = asked.json
        if asked.method == "POST":
            labels = [{"name": name} for name in content["labels"]]
            made = {**content, "labels": labels, "number": len(self.issues) + 1, "state": "open"}
            self.issues.append(made)
            return 201, json.dumps(made)
        number = int(found[1])
        if number in self.deleted:
            return 410, json.dumps({"message": "This issue was deleted"})
        self.issues[number - 1] |= {k: v for k, v in content.items() if k != "labels"}
        return 200, json.dumps(self.issues[number - 1])

    def _page(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        (label,), (size,), (page,) = query["labels"], query["per_page"], query["page"]
        having = [i for i in self.issues if label in [each["name"] for each in i["labels"]]]
        first = (int(page) - 1) * int(size)
        return having[::-1][first : first + int(size)]


class TestGithubIssue(SinkContract):
    kind = "github_issue"
    product = GithubProduct
    keys: ClassVar[dict[str, Any]] = {
        "repository": "acme/models",
        "token_env": "GH_TOKEN",
        "url": "{url}",
        "labels": ["on-call"],
    }
    variables: ClassVar[dict[str, str]] = {"GH_TOKEN": SECRET}

    def test_one_issue_that_is_closed_and_opened_again(
        self, sink: Sink, context: SinkContext, server: Server
    ) -> None:
        issues = server.state.issues
        reference = ""
        for event, state in (("opened", "open"), ("closed", "closed"), ("reopened", "open")):
            reference = sink.send(notice(event), context, reference=reference)
            assert [issue["state"] for issue in issues] == [state]
        assert reference == "1"
        assert [label["name"] for label in issues[0]["labels"]] == ["mlops-ticket", "on-call"]
        assert len(server.asked) == 4, "looked for once"

    def test_an_answer_that_was_lost_makes_no_second_issue(
        self, sink: Sink, context: SinkContext, server: Server
    ) -> None:
        sink._find(notice(), context)
        server.state.issues += [
            {"number": n, "body": "another", "labels": [{"name": "mlops-ticket"}]}
            for n in range(1, 151)
        ]
        sink.send(notice(), context, reference="")
        for n in range(152, 260):
            server.state.issues.append(
                {"number": n, "body": "newer", "labels": [{"name": "mlops-ticket"}]}
            )
        assert sink.send(notice(), context, reference="") == "151"
        assert len(server.state.issues) == 259

    def test_what_was_over_before_it_was_told_is_closed(
        self, sink: Sink, context: SinkContext, server: Server
    ) -> None:
        sink.send(notice("closed"), context, reference="")
        assert [issue["state"] for issue in server.state.issues] == ["closed"]

    def test_words_mention_nobody(self, sink: Any) -> None:
        body = sink.render(notice(words="``` @team see #1"))["body"]
        assert body.startswith("```\n''' @team see #1\n```\n")

    def test_a_deleted_issue_is_its_own_trouble(
        self, sink: Sink, context: SinkContext, server: Server
    ) -> None:
        reference = sink.send(notice(), context, reference="")
        server.state.deleted = {1}
        with pytest.raises(RefusedError, match="410"):
            sink.send(notice("closed"), context, reference=reference)


def test_every_sink_keeps_the_contract() -> None:
    kept = {each.kind for each in SinkContract.__subclasses__()}
    assert kept == {kind_of(member) for member in discover(sinks, Sink)}


def test_nobody_is_told_twice() -> None:
    one = {"kind": "slack", "url_env": "A"}
    with pytest.raises(ValidationError, match="is there twice"):
        TicketsSpec.model_validate({"sinks": [one, one]})


@pytest.mark.parametrize(
    "sink",
    [
        {"kind": "slack", "url_env": f"https://hooks.example/{SECRET}"},
        {"kind": "alertmanager", "url": f"http://me:{SECRET}@alertmanager"},
    ],
)
def test_a_secret_in_the_yaml_is_refused_and_not_repeated(
    sink: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "churn.yaml"
    tickets = json.dumps({"tickets": {"sinks": [sink]}})
    path.write_text(re.sub(r"monitoring:[\s\S]*", f"monitoring: {tickets}\n", CHURN))
    with pytest.raises(loader.ExperimentError) as caught:
        loader.load(path)
    (problem,) = caught.value.problems
    assert "monitoring.tickets.sinks[0].url" in problem
    assert SECRET not in problem


def test_nobody_there_is_down() -> None:
    (sink,) = TicketsSpec.model_validate({"sinks": [{"kind": "slack", "url_env": "A"}]}).sinks
    context = SinkContext("", "", {"A": "http://127.0.0.1:9/x"}, timeout_s=0.5)
    with pytest.raises(SinkDownError, match=r"slack \$A does not answer: Connect"):
        sink.send(notice(), context, reference="")
